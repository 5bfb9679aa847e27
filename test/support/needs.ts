/**
 * What a test, or a suite of them, needs from the machine it runs on. `npm test` ends with one line
 * for what could not run, which gives the reason (scripts/test-results.mjs).
 */

declare module 'vitest' {
  interface TaskMeta {
    missing?: string;
  }
}

export interface Needs {
  readonly skip?: boolean;
  readonly meta?: { readonly missing: string };
}

/** For what only root may do, such as being somebody else for a while. */
export const needsRoot = needs(process.getuid?.() === 0 ? undefined : 'needs root');

/**
 * Options of a test or suite: it is skipped if something is missing, which is said in so many
 * words.
 */
export function needs(missing: string | undefined): Needs {
  return missing === undefined ? {} : { skip: true, meta: { missing } };
}
