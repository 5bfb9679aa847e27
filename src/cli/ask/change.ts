/**
 * Commands that change a running switch: its ports, bridges, links, partitions and workers. Those
 * of bridges and `port set` change its settings, which it checks whole before it makes a change.
 */

import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { ControlClient } from '../../control/client.ts';
import type { NamedNetworkChange, NewPort } from '../../control/protocol.ts';
import type { NamedLink } from '../../index.ts';
import { failure, TsvswitchError } from '../../model/errors.ts';
import { wholeNumber } from '../command.ts';
import { asking, type Everywhere, printJson } from './asking.ts';
import { addFdb } from './fdb.ts';
import { edit, ifExists, mayExist, noun } from './nouns.ts';
import { impairmentOf, pairsOf, setPort, sidesOf } from './values.ts';

export function addChanges(program: Command): void {
  addPortCommands(program);
  addBridgeCommands(program);
  addLinkCommands(program);
  addFdb(program);
  program
    .command('partition <sides...>')
    .description('Cuts sides off from each other: A,B / C,D.')
    .action((words: string[], _: object, command: Command) =>
      change(command, { partition: sidesOf(words) }),
    );
  program
    .command('heal')
    .description('Ends the partition.')
    .action((_: object, command: Command) => change(command, { heal: true }));
  const worker = noun(program, 'worker', 'Shows, adds or removes workers.', 'workers');
  worker
    .command('remove')
    .description('end the one that was started last; the others take its queues')
    .action((_: object, command: Command) => asking(command, removeWorker));
  worker
    .command('add')
    .description('start one more, which takes its share of the queues')
    .option('--cpu <n>', 'pin it to this CPU', wholeNumber)
    .action((options: { readonly cpu?: number }, command: Command) =>
      asking(command, async (client) => printJson(command, await client.addWorker(options))),
    );
}

/** With the CPU that it is pinned to. */
async function removeWorker(client: ControlClient): Promise<void> {
  await client.edit(async (settings) => {
    if (settings.workers === 1) throw failure('worker-last');
    const last = (await client.workers()).at(-1);
    settings.workers--;
    settings.cpus = settings.cpus.filter((cpu) => cpu !== last?.cpu);
  });
}

interface AddOptions {
  readonly connect?: true;
  readonly name?: string;
  readonly mayExist?: true;
}

function addPortCommands(program: Command): void {
  const port = noun(program, 'port', 'Shows, adds, changes or removes ports.', 'ports');
  port
    .command('add <path> [settings...]')
    .description('add one: bridge=B mtu=9000 mac=MAC,... allow=USER,... and others')
    .option('--connect', 'a machine listens on the path; connect to it')
    .option('--name <name>', "its name; the socket's without .sock unless given")
    .option('--may-exist', `one with this path ${mayExist}`)
    .action((path: string, words: string[], options: AddOptions, command: Command) =>
      asking(command, (client) => addPort(client, resolve(path), words, options, command)),
    );
  port
    .command('set <port> <settings...>')
    .description('change settings while it runs; one without a value has its default again')
    .action((name: string, words: string[], _: object, command: Command) =>
      edit(command, (settings) => setPort(existing('port', settings.ports, name), pairsOf(words))),
    );
  for (const [word, what] of [
    ['up', 'let frames through again'],
    ['down', 'let nothing through; its machine stays connected'],
  ] as const) {
    port
      .command(`${word} <port>`)
      .description(what)
      .action((name: string, _: object, command: Command) =>
        edit(command, ({ ports }) => {
          const settings = existing('port', ports, name);
          if (word === 'down') settings.down = true;
          else delete settings.down;
        }),
      );
  }
  port
    .command('remove <port>')
    .description('remove one; its machine loses its network')
    .option('--if-exists', `a port that ${ifExists}`)
    .action((name: string, options: { readonly ifExists?: true }, command: Command) =>
      asking(command, async (client) => {
        try {
          await client.removePort(name);
        } catch (error) {
          if (!(options.ifExists && codeOf(error) === 'NO_SUCH_PORT')) throw error;
        }
      }),
    );
}

async function addPort(
  client: ControlClient,
  path: string,
  words: readonly string[],
  { connect, name, mayExist: isWelcome }: AddOptions,
  command: Command,
): Promise<void> {
  if (isWelcome) {
    const ports = await client.ports();
    const same = ports.find((port) => port.kind === 'vhost-user' && port.path === path);
    if (same !== undefined && (name ?? same.name) === same.name) {
      printJson(command, same);
      return;
    }
  }
  const port = { ...(connect ? { connect: path } : { path }), ...(name !== undefined && { name }) };
  setPort(port, pairsOf(words));
  printJson(command, await client.addPort(port as NewPort));
}

function addBridgeCommands(program: Command): void {
  const bridge = noun(program, 'bridge', 'Shows, adds, changes or removes bridges.', 'bridges');
  const seconds = 'forget silent addresses after this; 0: never';
  bridge
    .command('add <name>')
    .description('add one; a port that names one adds it, too')
    .option('--ageing <seconds>', seconds, wholeNumber)
    .option('--may-exist', `a bridge that ${mayExist}`)
    .action((name: string, options: { ageing?: number; mayExist?: true }, command: Command) =>
      edit(command, ({ bridges }) => {
        if (Object.hasOwn(bridges, name)) {
          if (options.mayExist) return;
          throw failure('bridge-there', { bridge: name });
        }
        bridges[name] = options.ageing === undefined ? {} : { ageingSeconds: options.ageing };
      }),
    );
  bridge
    .command('set <bridge>')
    .description('change one while it runs')
    .requiredOption('--ageing <seconds>', seconds, wholeNumber)
    .action((name: string, { ageing }: { readonly ageing: number }, command: Command) =>
      edit(command, ({ bridges }) => {
        existing('bridge', bridges, name).ageingSeconds = ageing;
      }),
    );
  bridge
    .command('remove <bridge>')
    .description('remove one that no port is on')
    .option('--if-exists', `a bridge that ${ifExists}`)
    .action((name: string, options: { readonly ifExists?: true }, command: Command) =>
      edit(command, ({ bridges, ports }) => {
        if (!Object.hasOwn(bridges, name) && options.ifExists) return;
        existing('bridge', bridges, name);
        const on = Object.entries(ports).filter(([, port]) => port.bridge === name);
        if (name === 'default' || on.length > 0) {
          const names = on.map(([port]) => port).join(', ');
          const why = on.length === 0 ? 'it is always there' : `ports are on it: ${names}`;
          throw failure('bridge-stays', { bridge: name, why });
        }
        delete bridges[name];
      }),
    );
}

/** One a line, as in the settings. */
function showLinks(command: Command): Promise<void> {
  return asking(command, async (client) => {
    const { links } = await client.settings();
    const { json } = command.optsWithGlobals<Everywhere>();
    const lines = links.map((link) => `${JSON.stringify(link)}\n`);
    process.stdout.write(json ? `${JSON.stringify(links, undefined, 2)}\n` : lines.join(''));
  });
}

interface LinkOptions {
  readonly to?: string;
  readonly both?: true;
}

function addLinkCommands(program: Command): void {
  const link = noun(program, 'link', 'Shows, impairs or mends links.', showLinks);
  const to = 'the way from the port to this one, in place of that between it and its machine';
  link
    .command('set <port> <impairments...>')
    .description('impair one: delay=20ms jitter=5ms loss=1% rate=100Mbit and others')
    .option('--to <port>', to)
    .option('--both', 'also the way back')
    .action((port: string, words: string[], options: LinkOptions, command: Command) =>
      change(command, { link: linkOf(port, options), impairment: impairmentOf(pairsOf(words)) }),
    );
  link
    .command('clear <port>')
    .description('make one as good as new')
    .option('--to <port>', to)
    .option('--both', 'also the way back')
    .action((port: string, options: LinkOptions, command: Command) =>
      change(command, { link: linkOf(port, options), impairment: {} }),
    );
}

function linkOf(port: string, { to, both }: LinkOptions): NamedLink {
  if (to === undefined) return { port };
  return both ? { between: [port, to] } : { from: port, to };
}

function change(command: Command, wanted: NamedNetworkChange): Promise<void> {
  return asking(command, (client) => client.change(wanted));
}

/** Throws NO_SUCH_PORT or NO_SUCH_BRIDGE. */
function existing<Value>(
  noun: 'port' | 'bridge',
  all: Readonly<Record<string, Value>>,
  name: string,
): Value {
  if (Object.hasOwn(all, name)) return all[name]!;
  const names = Object.keys(all).join(', ') || 'none';
  throw noun === 'port'
    ? failure('port-unknown-of', { port: name, names })
    : failure('bridge-unknown-of', { bridge: name, names });
}

function codeOf(error: unknown): string | undefined {
  return error instanceof TsvswitchError ? error.code : undefined;
}
