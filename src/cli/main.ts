#!/usr/bin/env node
/**
 * The command: finds out what is asked for, loads that and nothing else, and turns its errors into
 * one sentence and an exit status.
 *
 * Exit status: 0 when all is well, 1 if what was asked for cannot be done, 2 for wrong usage or a
 * wrong file of a switch, 3 if no switch answers, 124 if --timeout ran out. `lab ssh` and `lab
 * exec` end with the status of what they ran in the machine.
 */

import { type ErrorCode, TsvswitchError } from '../model/errors.ts';
import { checkNodeVersion } from '../runtime/node-version.ts';
import { translated } from './ask/words.ts';
import { errorPrefix, exitFailure, exitNoSwitch, exitUsage, writeError } from './command.ts';
import { subcommands, summaries } from './subcommands.ts';

/** What is wrong with a command line, or the file of a switch, on any machine. */
const usageCodes: readonly ErrorCode[] = [
  ...(['BAD_OPTION', 'SOCKET_PATH_TOO_LONG', 'SOCKET_DUPLICATE'] as const),
  ...(['CONFIG_UNREADABLE', 'CONFIG_INVALID'] as const),
];

/** Options that say which switch is asked, and how; the second with a value behind it. */
const flagsBefore = ['--json'];
const optionsBefore = ['--control', '--switch', '-s', '--timeout'];

/** How many of `args` are such options, in front of the first word. */
function countBefore(args: readonly string[]): number {
  let count = 0;
  while (count < args.length) {
    const [name = ''] = args[count]!.split('=');
    if (flagsBefore.includes(args[count]!)) count++;
    else if (optionsBefore.includes(name)) count += name === args[count] ? 2 : 1;
    else break;
  }
  return count;
}

function statusOf(code: ErrorCode): number {
  if (code === 'CONTROL_UNREACHABLE') return exitNoSwitch;
  return usageCodes.includes(code) ? exitUsage : exitFailure;
}

async function main(args: readonly string[]): Promise<void> {
  const count = countBefore(args);
  const before = args.slice(0, count);
  const [name = '', ...rest] = args.slice(count);
  if (name === 'help') return main([...before, ...rest, '--help']);
  const translation = translated([name, ...rest]);
  if (translation !== undefined) {
    const { theirs, ours } = translation;
    writeError(`${errorPrefix}"${theirs.join(' ')}" is "${ours.join(' ')}" here\n`);
    return main([...before, ...ours, ...args.slice(count + theirs.length)]);
  }
  if (Object.hasOwn(subcommands, name)) {
    const { load, isAmong } = subcommands[name]!;
    const words = isAmong ? [name, ...before, ...rest] : [...before, ...rest];
    await (await load()).define().parseAsync(words, { from: 'user' });
    return;
  }
  const { define } = await import('./switch-options.ts');
  await define(summaries).parseAsync(args, { from: 'user' });
}

try {
  checkNodeVersion();
  await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof TsvswitchError)) throw error;
  writeError(`${errorPrefix}${error.message}\n`);
  process.exitCode = statusOf(error.code);
}
