/**
 * Runs ssh with this terminal and ends as it does: how `lab ssh` and `lab exec` reach into machines.
 *
 * Ctrl-C is for what runs there: ssh gets it from the terminal itself, and this process waits for what
 * comes of it.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import { TsvswitchError } from '../../errors.ts';
import type { LabMachine } from '../../lab/lab-machine.ts';

/** The longest a timer of Node can wait: whoever asked ends it sooner if they want. */
const execLimitMs = 2 ** 31 - 1;

/** Returns its exit status, or 128 and the number of the signal that ended it. */
export async function runSsh(args: readonly string[]): Promise<number> {
  const ignore = () => {};
  process.on('SIGINT', ignore);
  try {
    const child = spawn('ssh', args, { stdio: 'inherit' });
    const [status, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
    return status ?? 128 + constants.signals[signal!];
  } catch (cause) {
    throw new TsvswitchError(
      'PROGRAM_MISSING',
      `ssh cannot be run (${(cause as Error).message}); run \`apt-get install openssh-client\` as root`,
      { cause },
    );
  } finally {
    process.off('SIGINT', ignore);
  }
}

/** Runs a program in a machine, and returns its exit status. It reads nothing. */
export async function runInMachine(machine: LabMachine, words: readonly string[]): Promise<number> {
  const { stdout, stderr, status } = await machine.exec(words, { limitMs: execLimitMs });
  process.stdout.write(stdout);
  process.stderr.write(stderr);
  return status;
}
