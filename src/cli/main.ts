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

interface Subcommand {
  readonly summary: string;
  readonly load: () => Promise<{ run(args: readonly string[]): void | Promise<void> }>;
}

/** One of the tree of commands that ask a running switch. */
function asking(name: string, summary: string): Record<string, Subcommand> {
  const load = async () => {
    const { run } = await import('./ask/program.ts');
    return { run: (args: readonly string[]) => run([name, ...args]) };
  };
  return { [name]: { summary, load } };
}

const subcommands: Readonly<Record<string, Subcommand>> = {
  run: {
    summary: 'a switch as a file says, changed with it',
    load: () => import('./run.ts'),
  },
  reload: {
    summary: 'has a running switch read its file again',
    load: () => import('./reload.ts'),
  },
  upgrade: {
    summary: 'has the version that is installed take over a running switch',
    load: () => import('./upgrade.ts'),
  },
  check: {
    summary: 'whether the file of a switch could be run',
    load: () => import('./check.ts'),
  },
  config: {
    summary: 'the file of a switch: a first one, its schema, what was changed over it',
    load: () => import('./config.ts'),
  },
  ...asking('status', 'a running switch: bridges, ports, and what is wrong'),
  ...asking('show', 'what a running switch has, as a table or JSON'),
  ...asking('port', 'adds, changes or removes ports of a running switch'),
  ...asking('bridge', 'adds, changes or removes bridges of a running switch'),
  ...asking('fdb', 'what bridges know: shows, fixes or flushes it'),
  ...asking('link', 'impairs links of a running switch, or mends them'),
  ...asking('partition', 'cuts ports of a running switch off from each other'),
  ...asking('heal', 'ends the partition'),
  ...asking('worker', 'adds a polling thread to a running switch, or removes one'),
  ...asking('log-level', 'how much a running switch logs'),
  ...asking('stop', 'ends a running switch in order'),
  ...asking('snippet', 'the options that connect a machine to a port'),
  'add-worker': {
    summary: 'one more polling thread for a running switch',
    load: () => import('./add-worker.ts'),
  },
  capture: {
    summary: 'what goes over a port of a running switch, for tcpdump and Wireshark',
    load: () => import('./capture.ts'),
  },
  doctor: {
    summary: 'why a port of a running switch carries nothing',
    load: () => import('./doctor.ts'),
  },
  lab: {
    summary: 'a network of machines, declared in a file',
    load: () => import('./lab.ts'),
  },
  demo: {
    summary: 'two virtual machines on a switch, shown talking to each other',
    load: () => import('./demo.ts'),
  },
  host: {
    summary: 'what this host has for machines, and huge pages for them',
    load: () => import('./host.ts'),
  },
};

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
    return (await subcommands[name]!.load()).run([...before, ...rest]);
  }
  const { switchOptions } = await import('./switch-options.ts');
  const summaries = Object.entries(subcommands).map(([of, { summary }]) => [of, summary] as const);
  const options = await switchOptions(args, Object.fromEntries(summaries));
  await (await import('./switch.ts')).run(options);
}

try {
  checkNodeVersion();
  await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof TsvswitchError)) throw error;
  writeError(`${errorPrefix}${error.message}\n`);
  process.exitCode = statusOf(error.code);
}
