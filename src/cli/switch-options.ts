/**
 * The command line of `tsvswitch` without a subcommand. Reading it loads no switch, so that --help,
 * --version and mistakes are answered at once.
 */

import { type Command, InvalidArgumentError, Option } from 'commander';
import { defaultControlPath } from '../control/default-path.ts';
import { type LogLevel, logLevels } from '../model/log-levels.ts';
import { logFormats } from '../operate/settings.ts';
import { version } from '../runtime/version.ts';
import { newCommand, wholeNumber } from './command.ts';
import { collectPort, type PortArgument } from './port-argument.ts';
import type { LogFormat } from './words/event-log.ts';

export interface SwitchOptions {
  readonly socket: readonly PortArgument[];
  readonly connect: readonly PortArgument[];
  readonly workers: number;
  readonly cpus?: readonly number[];
  readonly balance: boolean;
  readonly idleUs: number;
  readonly ageing: number;
  readonly socketMode: number;
  readonly socketGroup?: string | number;
  /** true: at its default place. */
  readonly control?: string | true;
  readonly controlMode?: number;
  readonly controlGroup?: string | number;
  readonly controlReaders?: string | number;
  readonly listen?: string;
  readonly listenCert?: string;
  readonly listenKey?: string;
  readonly listenToken?: string;
  readonly listenReadToken?: string;
  readonly metrics?: string;
  readonly state?: string;
  readonly sandbox: boolean;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
}

const portHelp = `
Behind a path, for that port alone, each as often as needed:
  ,allow=USER           let in this user's processes only; a group is :GROUP
  ,mac=MAC              drop what the machine sends from other MAC addresses
  ,address=IP[/LENGTH]  drop what it sends from other IP addresses, and all that is not IP or ARP
  ,ring-reset=on        let it reset single queues; not behind QEMU, which tells nobody
  ,in-band=on           for frontends without eventfds: kicks and calls as messages, which is slower
A comma that is part of a path is written twice.
`;

function nameOrNumber(text: string): string | number {
  return /^\d{1,10}$/.test(text) ? Number(text) : text;
}

function cpuList(text: string): number[] {
  return text.split(',').flatMap((part) => {
    const range = /^(\d{1,4})(?:-(\d{1,4}))?$/.exec(part);
    const first = Number(range?.[1]);
    const last = Number(range?.[2] ?? first);
    if (range === null || last < first) {
      throw new InvalidArgumentError('Expected CPU numbers and ranges, such as 1,3 or 2-5.');
    }
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
}

function fileMode(text: string): number {
  if (!/^0?[0-7]{3}$/.test(text)) {
    throw new InvalidArgumentError('Expected three octal digits, such as 660.');
  }
  return Number.parseInt(text, 8);
}

const noPorts = { socket: [], connect: [] };

/** The summaries of the other commands, by name. */
export type Summaries = Readonly<Record<string, string>>;

export function define(summaries: Summaries): Command {
  return newCommand('tsvswitch')
    .description('Joins virtual machines into one Ethernet network over vhost-user sockets.')
    .version(version)
    .option('--socket <path>', 'listen here for one machine; repeat it', collectPort)
    .option('--connect <path>', 'connect to one machine that listens here; repeat it', collectPort)
    .option('--workers <n>', 'polling threads, 1 to 64', wholeNumber, 1)
    .option(
      '--cpus <list>',
      'pin the workers to these CPUs, such as 1,3 or 2-5; all other threads run elsewhere',
      cpuList,
    )
    .option('--balance', 'move queues between workers while their load is uneven', false)
    .option('--idle-us <us>', 'poll this long without work before sleeping', wholeNumber, 50)
    .option('--ageing <s>', 'forget silent MAC addresses after this; 0: never', wholeNumber, 300)
    .addOption(
      new Option('--socket-mode <octal>', 'permissions of the sockets')
        .argParser(fileMode)
        .default(0o660, '660'),
    )
    .option('--socket-group <group>', 'group of the sockets, by name or number', nameOrNumber)
    .option('--no-sandbox', 'leave this process all system calls')
    .option('--control [path]', `take requests here (default: ${defaultControlPath()})`)
    .option('--control-mode <octal>', 'permissions of the control socket', fileMode)
    .option('--control-group <group>', 'let this group ask and change everything', nameOrNumber)
    .option('--control-readers <group>', 'let this group ask, and change nothing', nameOrNumber)
    .option('--listen <address>', 'take requests over TCP, by a token, such as on 127.0.0.1:9443')
    .option('--listen-cert <file>', 'certificate for that; without, plain HTTP on loopback')
    .option('--listen-key <file>', 'key of the certificate')
    .option('--listen-token <file>', 'the token, made if it is not there')
    .option('--listen-read-token <file>', 'a token that may ask, and change nothing')
    .option('--state <folder>', 'keep what was learned here, for the next start')
    .option('--metrics <address>', 'serve metrics for Prometheus here, such as 127.0.0.1:9477')
    .addOption(
      new Option('--log-level <level>', 'how much to tell').choices(logLevels).default('info'),
    )
    .addOption(
      new Option('--log-format <format>', 'how to tell it').choices(logFormats).default('text'),
    )
    .addHelpText('after', portHelp + commandsHelp(summaries))
    .allowExcessArguments()
    .action(async (given: SwitchOptions, command: Command) => {
      const options = { ...noPorts, ...given };
      await check(options, command, summaries);
      await (await import('./switch.ts')).run(options);
    });
}

/** Ends the process at a mistake. */
async function check(
  { socket, connect, control, listen }: SwitchOptions,
  command: Command,
  summaries: Summaries,
): Promise<void> {
  const [surplus] = command.args;
  if (surplus !== undefined) command.error(await strayWord(surplus, Object.keys(summaries)));
  const takesRequests = control !== undefined || listen !== undefined;
  if (socket.length + connect.length === 0 && !takesRequests) {
    command.error(
      "a port is needed: '--socket <path>' or '--connect <path>', or '--control' to add some later",
    );
  }
}

function commandsHelp(summaries: Summaries): string {
  const rows = Object.entries(summaries).map(
    ([name, summary]) => `  ${name.padEnd(22)}${summary}\n`,
  );
  return `\nCommands:\n${rows.join('')}\ntsvswitch COMMAND --help tells more.`;
}

/** What is wrong with a word that belongs to no option. */
async function strayWord(word: string, names: readonly string[]): Promise<string> {
  if (/[/,]|\.sock$/.test(word)) {
    return `${word} stands alone; the path of a socket stands behind its option: --socket ${word}`;
  }
  const { closest, distance } = await import('fastest-levenshtein');
  const meant = closest(word, [...names]);
  const isNear = distance(word, meant) <= Math.max(1, word.length / 3);
  return `unknown command '${word}'${isNear ? `; did you mean ${meant}?` : ''}`;
}
