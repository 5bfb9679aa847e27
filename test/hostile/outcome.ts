/** How an attack ends that cannot be made on a backend, or that finds it too careful. */

/** The backend does not offer what the attack needs. */
export class NotOffered extends Error {}

/** Something that breaks no rule did not arrive. */
export class NotForwarded extends Error {}
