/**
 * `tsvswitch capture`: records what goes over a running switch, as pcapng, into a file or a program
 * behind a pipe, until it is interrupted or that program ends.
 */

import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import type { Command } from 'commander';
import { failure } from '../model/errors.ts';
import { newCommand } from './command.ts';
import { addWhich, controlClient, type Which } from './control-client.ts';

interface Options extends Which {
  readonly to?: string;
}

/** Guests' frames are for whoever recorded them. */
const fileMode = 0o600;

export function define(): Command {
  return addWhich(
    newCommand('tsvswitch capture')
      .description('Records what goes over a running switch, as pcapng, until it is interrupted.')
      .argument('[port]', 'record this one only')
      .option('--to <file>', 'write here, anew; to standard output unless given'),
  ).action(run);
}

async function run(port: string | undefined, { to, ...which }: Options): Promise<void> {
  if (to === undefined && process.stdout.isTTY) {
    throw failure('capture-to-terminal');
  }
  const interrupted = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => interrupted.abort());
  }
  await using client = await controlClient(which, 'tsvswitch capture');
  const packets = await client.capture(port, interrupted.signal);
  const output = to === undefined ? process.stdout : createWriteStream(to, { mode: fileMode });
  try {
    await pipeline(packets, output);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    // The program behind the pipe has seen enough.
    if (to === undefined && code === 'EPIPE') return;
    throw failure('capture-incomplete', { cause: message }, { cause });
  }
}
