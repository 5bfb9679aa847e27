/**
 * `tsvswitch` without a subcommand: opens a switch with a port for each given socket on one bridge,
 * tells what happens, and closes it at SIGINT or SIGTERM.
 */

import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { InvalidArgumentError, Option } from 'commander';
import { defaultControlPath } from '../control/default-path.ts';
import { ControlServer } from '../control/server.ts';
import { type PortCounters, Switch, type SwitchEvent } from '../index.ts';
import { confineProcess, leaveCpus } from '../sandbox.ts';
import { version } from '../version.ts';
import { newCommand, wholeNumber } from './command.ts';
import { EventLog, type LogFormat, type LogLevel, logFormats, logLevels } from './event-log.ts';
import { LogOutput } from './log-output.ts';
import { collectPort, type PortArgument } from './port-argument.ts';

interface Options {
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
  readonly sandbox: boolean;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
}

const portHelp = `
Behind a path, for that port alone, each as often as needed:
  ,allow=USER           let in this user's processes only; a group is :GROUP
  ,mac=MAC              drop what the machine sends from other MAC addresses
  ,address=IP[/LENGTH]  drop what it sends from other IP addresses
  ,ring-reset=on        let it reset single queues; not behind QEMU, which tells nobody
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

function parse(args: readonly string[], subcommands: string): Options {
  const command = newCommand('tsvswitch')
    .description('Joins virtual machines into one Ethernet network over vhost-user sockets.')
    .version(version)
    .option('--socket <path>', 'listen here for one machine; repeat it', collectPort, [])
    .option(
      '--connect <path>',
      'connect to one machine that listens here; repeat it',
      collectPort,
      [],
    )
    .option('--workers <n>', 'polling threads', wholeNumber, 1)
    .option(
      '--cpus <list>',
      'pin the workers to these CPUs, such as 1,3 or 2-5, and keep off them otherwise',
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
    .addOption(
      new Option('--log-level <level>', 'how much to tell').choices(logLevels).default('info'),
    )
    .addOption(
      new Option('--log-format <format>', 'how to tell it').choices(logFormats).default('text'),
    )
    .addHelpText('after', portHelp + subcommands)
    .allowExcessArguments()
    .parse(args, { from: 'user' });
  const options = command.opts<Options>();
  if (command.args.length > 0) command.error(`error: unknown command '${command.args[0]}'`);
  if (options.socket.length + options.connect.length === 0 && options.control === undefined) {
    command.error(
      "error: a port is needed: '--socket <path>' or '--connect <path>', or '--control' to add some later",
    );
  }
  return options;
}

/** The default place of the control socket, with its folder. */
function defaultPath(): string {
  const path = defaultControlPath();
  try {
    mkdirSync(dirname(path), { recursive: true });
  } catch {
    // Listening fails for the same reason, and has a sentence for it.
  }
  return path;
}

function describeCounters(counters: PortCounters): string {
  const { fromGuest, toGuest, floodedFrames } = counters;
  const drops = Object.entries(counters.drops).filter(([, count]) => count > 0);
  return [
    `from guest ${fromGuest.frames} frames ${fromGuest.bytes} bytes (${floodedFrames} flooded)`,
    `to guest ${toGuest.frames} frames ${toGuest.bytes} bytes`,
    `dropped ${drops.length === 0 ? '0' : drops.map(([why, count]) => `${count} ${why}`).join(', ')}`,
  ].join(', ');
}

/** `subcommands` is what --help says of them. */
export function run(args: readonly string[], subcommands: string): void {
  const options = parse(args, subcommands);
  if (options.cpus !== undefined) leaveCpus(options.cpus);
  if (options.sandbox) confineProcess();
  const output = new LogOutput(process.stdout, (count) => {
    const message = `${count} lines were left out here, because nobody read this log`;
    log.line('warn', 'lines-lost', message, { count });
  });
  const log = new EventLog(options.logLevel, options.logFormat, (line) => output.write(line));
  const vswitch = Switch.open({
    workers: options.workers,
    ...(options.cpus === undefined ? {} : { cpus: options.cpus }),
    balance: options.balance,
    idleUs: options.idleUs,
    ageingSeconds: options.ageing,
    sandbox: options.sandbox,
  });
  // Told once all of them are there: of a switch that does not start only its error is said.
  const started: SwitchEvent[] = [];
  const note = (event: SwitchEvent) => started.push(event);
  vswitch.on('event', note);
  let control: ControlServer | undefined;
  const close = () => {
    control?.close();
    vswitch.close();
  };
  const end = () => {
    log.close();
    for (const port of vswitch.ports) {
      const counters = port.counters;
      log.line('info', 'counters', `port ${port.name}: ${describeCounters(counters)}`, {
        port: port.name,
        ...counters,
      });
    }
    close();
    output.end();
  };
  // Before the first socket: whoever reads that it listens may send a signal at once. Once each: a
  // second signal ends a process that hangs.
  process.once('SIGINT', end);
  process.once('SIGTERM', end);
  const onUnexpected = (error: unknown, what: string) => {
    const stack = error instanceof Error ? error.stack : undefined;
    const message = `${what}: the switch made a mistake: ${String(error)}; it goes on; please report it`;
    log.line('error', 'unexpected', message, { stack });
  };
  const portSockets = {
    mode: options.socketMode,
    ...(options.socketGroup === undefined ? {} : { group: options.socketGroup }),
  };
  try {
    for (const { path, rest } of options.socket) {
      vswitch.addPort({ ...portSockets, ...rest, path });
    }
    for (const { path, rest } of options.connect) vswitch.addPort({ ...rest, connect: path });
    if (options.control !== undefined) {
      // In the same turn as the ports: nobody has connected yet, so it knows their whole past.
      const path = options.control === true ? defaultPath() : options.control;
      control = ControlServer.listen(vswitch, { path, portSockets, onUnexpected });
    }
  } catch (error) {
    close();
    throw error;
  }
  vswitch.off('event', note);
  vswitch.on('event', (event) => log.event(event));
  for (const event of started) log.event(event);
  if (control !== undefined) {
    log.line('info', 'control', `taking requests on ${control.path}`, { path: control.path });
  }
}
