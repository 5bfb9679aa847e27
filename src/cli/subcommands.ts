/** The commands that there are, each with where it is defined. Loads none of them. */

import type { Command } from 'commander';

export interface Subcommand {
  readonly summary: string;
  readonly load: () => Promise<{ define(): Command }>;
  /** It is one of several that load() defines, by its name. */
  readonly isAmong?: true;
}

/** One of the tree of commands that ask a running switch. */
function asking(name: string, summary: string): Record<string, Subcommand> {
  return { [name]: { summary, load: () => import('./ask/program.ts'), isAmong: true } };
}

export const subcommands: Readonly<Record<string, Subcommand>> = {
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
  completion: {
    summary: 'what a shell needs to complete these commands',
    load: () => import('./completion.ts'),
  },
};

/** All of `tsvswitch`; what one of them needs is loaded when it is asked for. */
export const summaries: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(subcommands).map(([name, { summary }]) => [name, summary]),
);
