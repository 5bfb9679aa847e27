#!/usr/bin/env node
/**
 * The command: finds out what is asked for, loads that and nothing else, and turns its errors into
 * one sentence and an exit status.
 *
 * Exit status: 0 when all is well, 1 if what was asked for cannot be done, 2 for wrong usage or a
 * wrong file of a switch. `lab ssh` and `lab exec` end with the status of what they ran in the
 * machine.
 */

import { type ErrorCode, TsvswitchError } from '../model/errors.ts';
import { checkNodeVersion } from '../runtime/node-version.ts';
import { errorPrefix, exitFailure, exitUsage, writeError } from './command.ts';

interface Subcommand {
  readonly summary: string;
  readonly load: () => Promise<{ run(args: readonly string[]): void | Promise<void> }>;
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
  check: {
    summary: 'whether the file of a switch could be run',
    load: () => import('./check.ts'),
  },
  config: {
    summary: 'the file of a switch: a first one, its schema, what was changed over it',
    load: () => import('./config.ts'),
  },
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

async function main(args: readonly string[]): Promise<void> {
  const [name = '', ...rest] = args;
  if (name === 'help') return main([...rest, '--help']);
  if (Object.hasOwn(subcommands, name)) return (await subcommands[name]!.load()).run(rest);
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
  process.exitCode = usageCodes.includes(error.code) ? exitUsage : exitFailure;
}
