/** How much a switch logs, for its log, its file and its API. Does nothing. */

/** From the least on; each has all before it. */
export const logLevels = ['error', 'warn', 'info', 'debug'] as const;

export type LogLevel = (typeof logLevels)[number];
