/** The variable that says to a process where the one is that it takes over from. */
export const placeVariable = 'TSVSWITCH_TAKE_OVER';
