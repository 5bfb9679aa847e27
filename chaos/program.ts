/**
 * How the programs of this folder begin and end: `main` gives the exit status, a wrong command line
 * is told in a sentence and ends with 2, anything that was not expected with 1. A signal ends them
 * at once; what they have started goes with them.
 */

/** The command line is wrong. */
export class UsageError extends Error {}

/** The value of option `name`. Throws UsageError. */
export function whole(name: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw new UsageError(`--${name} ${text}: expected a whole number from ${min} to ${max}`);
}

export async function runProgram(main: () => Promise<number>): Promise<void> {
  for (const [signal, status] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    process.once(signal, () => process.exit(status));
  }
  try {
    process.exitCode = await main();
  } catch (error) {
    const isUsage =
      error instanceof UsageError ||
      (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS');
    if (!isUsage) throw error;
    console.error((error as Error).message);
    process.exitCode = 2;
  }
}
