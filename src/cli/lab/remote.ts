/**
 * Runs ssh with this terminal and ends as it does: how `lab ssh` and `lab exec` reach into
 * machines. User-mode Linux has no ssh; a program in it is run over its console, with Ctrl-C for
 * this process alone.
 *
 * Ctrl-C is for what runs there: ssh gets it from the terminal itself, and this process waits for
 * what comes of it.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import type { LabMachine } from '../../lab/machine.ts';
import { shellWord } from '../../machine/ssh.ts';
import { failure } from '../../model/errors.ts';

/** `words` are for ssh, as if they stood behind its destination. Returns the exit status. */
export async function shell(machine: LabMachine, words: readonly string[]): Promise<number> {
  return runSsh([...(await machine.sshArguments()), ...words]);
}

/** Runs a program, whose arguments arrive as they are. Returns the exit status. */
export async function execute(machine: LabMachine, words: readonly string[]): Promise<number> {
  if (!machine.hasSsh) return executeWithoutSsh(machine, words);
  const options = ['-T', '-o', 'BatchMode=yes'];
  return runSsh([
    ...options,
    ...(await machine.sshArguments()),
    '--',
    words.map(shellWord).join(' '),
  ]);
}

/** Standard input is read to its end first, unless it is a terminal. */
async function executeWithoutSsh(machine: LabMachine, words: readonly string[]): Promise<number> {
  const chunks: Buffer[] = [];
  if (!process.stdin.isTTY) for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return machine.execWithoutSsh(words, Buffer.concat(chunks), (stream, bytes) => {
    process[stream].write(bytes);
  });
}

async function runSsh(args: readonly string[]): Promise<number> {
  const ignore = () => {};
  process.on('SIGINT', ignore);
  try {
    const child = spawn('ssh', args, { stdio: 'inherit' });
    const [status, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
    return status ?? 128 + constants.signals[signal!];
  } catch (cause) {
    throw failure('ssh-cannot-run', { cause: (cause as Error).message }, { cause });
  } finally {
    process.off('SIGINT', ignore);
  }
}
