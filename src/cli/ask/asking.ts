/**
 * What all commands have in common that ask a running switch: which switch, for how long, and how
 * they end.
 *
 * Standard output has the answer, and nothing where all went well and there is none; everything
 * else is on standard error.
 */

import { dirname, join } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import type { ControlClient } from '../../control/client.ts';
import { defaultControlPath } from '../../control/default-path.ts';
import { errorPrefix, exitTimeout, writeError } from '../command.ts';
import { addWhich, controlClient, type Which } from '../control-client.ts';

/** Options that stand before or behind the words of any of these commands. */
export interface Everywhere extends Which {
  readonly switch?: string;
  readonly json?: true;
  readonly timeout?: number;
}

const millisecondsASecond = 1000;

export function addEverywhere(program: Command): Command {
  return addWhich(program)
    .option('-s, --switch <name>', 'the same by its name: NAME.sock in the usual folder')
    .option('--json', 'print JSON, for programs')
    .option('--timeout <seconds>', 'give up after this long, with status 124', seconds);
}

/** Asks the switch that the options of `command` name, and ends the connection. */
export async function asking(
  command: Command,
  work: (client: ControlClient) => Promise<void>,
): Promise<void> {
  const { switch: name, timeout, ...which } = command.optsWithGlobals<Everywhere>();
  const timer = timeout === undefined ? undefined : giveUpAfter(timeout);
  try {
    await using client = await controlClient(whichNamed(which, name), wordsOf(command));
    await work(client);
  } finally {
    clearTimeout(timer);
  }
}

/** The switch called `name` in place of another, if there is a name. */
export function whichNamed(which: Which, name: string | undefined): Which {
  if (name === undefined) return which;
  return { ...which, control: join(dirname(defaultControlPath()), `${name}.sock`) };
}

/** Of what was changed, for programs; people are told nothing of what went well. */
export function printJson(command: Command, value: unknown): void {
  if (command.optsWithGlobals<Everywhere>().json !== true) return;
  process.stdout.write(`${JSON.stringify(value, undefined, 2)}\n`);
}

function giveUpAfter(limit: number): NodeJS.Timeout {
  return setTimeout(() => {
    writeError(`${errorPrefix}not done within ${limit} s\n`);
    process.exit(exitTimeout);
  }, limit * millisecondsASecond);
}

/** As people type it. */
function wordsOf(command: Command): string {
  return command.parent === null ? command.name() : `${wordsOf(command.parent)} ${command.name()}`;
}

export function seconds(text: string): number {
  const value = Number(text);
  if (/^\d{1,6}(\.\d{1,3})?$/.test(text) && value > 0) return value;
  throw new InvalidArgumentError('Expected seconds, such as 5 or 0.5.');
}
