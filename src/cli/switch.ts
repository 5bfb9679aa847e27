/**
 * `tsvswitch` without a subcommand: opens a switch with a port for each given socket on one bridge,
 * logs its events, and closes it at SIGINT or SIGTERM.
 */

import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { defaultControlPath } from '../control/default-path.ts';
import { ControlServer } from '../control/server.ts';
import { type PortCounters, Switch, type SwitchEvent } from '../index.ts';
import { confineProcess, leaveCpus } from '../native/sandbox.ts';
import type { Metrics } from '../operate/metrics/metrics.ts';
import { Service } from '../operate/service/service.ts';
import { isJournal } from '../operate/service/started-by.ts';
import { portsOf } from '../switch/port-options.ts';
import { LogOutput } from './log-output.ts';
import type { SwitchOptions } from './switch-options.ts';
import { EventLog } from './words/event-log.ts';

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
  const drops = Object.entries(counters.drops)
    .filter(([, count]) => count > 0)
    .map(([why, count]) => `${count} ${why}`);
  return [
    `from guest ${fromGuest.frames} frames ${fromGuest.bytes} bytes (${floodedFrames} flooded)`,
    `to guest ${toGuest.frames} frames ${toGuest.bytes} bytes`,
    `dropped ${drops.join(', ') || '0'}`,
  ].join(', ');
}

/** Such as `3 ports, 1 connected`. */
function describeSwitch({ ports }: Switch): string {
  const connected = ports.filter(
    (port) => port.kind === 'vhost-user' && port.frontendPid !== undefined,
  );
  const count = ports.length === 1 ? '1 port' : `${ports.length} ports`;
  return `${count}, ${connected.length} connected`;
}

/** As long as workers hang, the service manager gets no sign of life, and then acts. */
function describeSilence(workers: readonly number[], watchdogSeconds: number): string {
  const [who, makes, it] =
    workers.length === 1
      ? [`worker ${workers[0]}`, 'makes', 'it']
      : [`workers ${workers.join(', ')}`, 'make', 'they'];
  return (
    `${who} ${makes} no rounds; if ${it} does not go on within ${watchdogSeconds} s, the service ` +
    'manager restarts the switch'
  );
}

/** Listens before the process confines itself, which takes away the right to. */
async function metricsAt(address: string): Promise<Metrics> {
  const { Metrics } = await import('../operate/metrics/metrics.ts');
  return Metrics.listen(address);
}

export async function run(options: SwitchOptions): Promise<void> {
  // First of all: what is opened later could take the place of what was given.
  const service = Service.begin(process.env, process.pid);
  const { metrics: address } = options;
  const metrics = address === undefined ? undefined : await metricsAt(address);
  if (options.cpus !== undefined) leaveCpus(options.cpus);
  if (options.sandbox) confineProcess();
  const output = new LogOutput(process.stdout, (count) => {
    const message = `${count} lines were left out here, because nobody read this log`;
    log.line('warn', 'lines-lost', message, { count });
  });
  const log = new EventLog(options.logLevel, options.logFormat, (line) => output.write(line), {
    isJournal: isJournal(process.stdout.fd, process.env),
  });
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
    metrics?.close();
    control?.close();
    vswitch.close();
  };
  const end = () => {
    service.stopping();
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
    const mistake = `${what}: the switch made a mistake: ${String(error)}`;
    const message = `${mistake}; it goes on; please report it`;
    log.line('error', 'unexpected', message, { stack });
  };
  const portSockets = {
    mode: options.socketMode,
    ...(options.socketGroup === undefined ? {} : { group: options.socketGroup }),
  };
  try {
    const ports = portsOf([
      ...options.socket.map(({ path, rest }) => ({ ...portSockets, ...rest, path })),
      ...options.connect.map(({ path, rest }) => ({ ...rest, connect: path })),
    ]);
    // Checked option by option, in the words of the command line.
    vswitch.applyComplete({ ...vswitch.settings, ports });
    if (options.control !== undefined) {
      // In the same turn as the ports: nobody has connected yet, so it knows their whole past.
      const path = options.control === true ? defaultPath() : options.control;
      control = ControlServer.listen(vswitch, { path, portSockets, onUnexpected });
    }
  } catch (error) {
    close();
    throw error;
  }
  metrics?.serve(vswitch);
  vswitch.off('event', note);
  vswitch.on('event', (event) => {
    log.event(event);
    service.changed();
  });
  for (const event of started) log.event(event);
  if (control !== undefined) {
    log.line('info', 'control', `taking requests on ${control.path}`, { path: control.path });
  }
  if (metrics !== undefined) {
    log.line('info', 'metrics', `metrics are on port ${metrics.port}`, { port: metrics.port });
  }
  service.ready({
    status: () => describeSwitch(vswitch),
    silentWorkers: () => vswitch.silentWorkers(),
    onSilent: (workers, seconds) => {
      if (workers.length === 0) log.line('info', 'workers-back', 'all workers make rounds again');
      else log.line('error', 'workers-silent', describeSilence(workers, seconds), { workers });
    },
  });
  for (const trouble of service.takeTroubles()) log.line('warn', 'service', trouble);
}
