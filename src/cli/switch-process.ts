/**
 * A switch as a process of its own: opens it, logs its events, takes requests, serves metrics,
 * tells a service manager, and closes it at SIGINT or SIGTERM.
 *
 * What it is to be comes from options (switch.ts) or from a file (run.ts), which SIGHUP has read
 * again.
 */

import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { defaultControlPath } from '../control/default-path.ts';
import type { SwitchProcess } from '../control/index.ts';
import { type ControlOptions, ControlServer } from '../control/server.ts';
import {
  type ListenOptions,
  type PortCounters,
  Switch,
  type SwitchEvent,
  type SwitchOptions,
  type SwitchSettings,
} from '../index.ts';
import { confineProcess, leaveCpus } from '../native/sandbox.ts';
import type { Declared } from '../operate/declared.ts';
import type { Metrics } from '../operate/metrics/metrics.ts';
import type { Service, ServiceState } from '../operate/service/service.ts';
import { isJournal } from '../operate/service/started-by.ts';
import type { ControlSettings, ServiceSettings } from '../operate/settings.ts';
import type { TakeOver } from '../operate/upgrade/take-over.ts';
import { leaveSessions, resumeSessions } from '../switch/sessions.ts';
import { type KeptState, keepState } from './kept-state.ts';
import { LogOutput } from './log-output.ts';
import { Reloads } from './reloads.ts';
import type { RemoteControl } from './remote-control.ts';
import { beginUpgrades, goOnWith, rehearse, upgradable } from './upgrades.ts';
import { EventLog } from './words/event-log.ts';

export interface Wanted {
  readonly service: ServiceSettings;
  /** Of its workers: checked in the words of the caller, before anything is opened. */
  readonly options: SwitchOptions;
  /** Makes the switch, which has been opened with these options, as it is to be. */
  readonly open: (vswitch: Switch) => void;
  /** Of ports that are added over the control socket and say nothing else. */
  readonly portSockets: ListenOptions;
  /** Where a token is kept that nobody has named a file for. */
  readonly stateFolder: string;
  /** The same, if it was given for all that is kept. */
  readonly state?: string | undefined;
  /** The file that says all this, if one does. */
  readonly declared?: Declared;
}

/** Makes the folder of a control socket at its default place, which may not be there. */
function makeFolder(path: string): void {
  if (path !== defaultControlPath()) return;
  try {
    mkdirSync(dirname(path), { recursive: true });
  } catch {
    // Listening fails for the same reason, and has a sentence for it.
  }
}

function socketOf(settings: string | ControlSettings): ControlOptions {
  const { path, mode, ...whose } = typeof settings === 'string' ? { path: settings } : settings;
  makeFolder(path);
  return { path, ...whose, ...(mode === undefined ? {} : { mode: Number.parseInt(mode, 8) }) };
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
async function metricsAt(
  { metrics: address }: ServiceSettings,
  takeOver: TakeOver | undefined,
): Promise<Metrics | undefined> {
  const fd = takeOver?.held('metrics');
  if (address === undefined) return undefined;
  const { Metrics } = await import('../operate/metrics/metrics.ts');
  return fd === undefined ? Metrics.listen(address) : Metrics.adopt(fd);
}

function startingOptions(settings: SwitchSettings): SwitchOptions {
  const { workers, cpus, idleUs, balance, ageingSeconds } = settings;
  return { workers, cpus, idleUs, balance, ageingSeconds };
}

/** Of a request that should bring about none. */
function unexpectedIn(log: EventLog) {
  return (error: unknown, what: string) => {
    const stack = error instanceof Error ? error.stack : undefined;
    const mistake = `${what}: the switch made a mistake: ${String(error)}`;
    const message = `${mistake}; it goes on; please report it`;
    log.line('error', 'unexpected', message, { stack });
  };
}

/** As metricsAt(). */
async function remoteAt(
  { listen }: ServiceSettings,
  stateFolder: string,
  takeOver: TakeOver | undefined,
): Promise<RemoteControl | undefined> {
  if (listen === undefined) return undefined;
  const { remoteControl } = await import('./remote-control.ts');
  return remoteControl(listen, stateFolder, takeOver?.held('control'));
}

function logOf({ log: { level, format } }: ServiceSettings): { log: EventLog; end: () => void } {
  const output = new LogOutput(process.stdout, (count) => {
    const message = `${count} lines were left out here, because nobody read this log`;
    log.line('warn', 'lines-lost', message, { count });
  });
  const log = new EventLog(level, format, (line) => output.write(line), {
    isJournal: isJournal(process.stdout.fd, process.env),
  });
  return { log, end: () => output.end() };
}

/** Where requests are taken. */
function logPlaces(log: EventLog, path: string | undefined, remote: RemoteControl | undefined) {
  if (path !== undefined) log.line('info', 'control', `taking requests on ${path}`, { path });
  if (remote === undefined) return;
  const { tokenFile: token } = remote;
  const { url } = remote.listener;
  const message = `taking requests on ${url}, with the token in ${token}`;
  log.line('info', 'control', message, { url, token });
}

/** Certificates expire before a switch ends. */
function renew(remote: RemoteControl | undefined, log: EventLog): void {
  try {
    remote?.renew();
  } catch (error) {
    log.line('error', 'listen', `the certificate stays as it was: ${(error as Error).message}`);
  }
}

function stateOf(vswitch: Switch, log: EventLog): ServiceState {
  return {
    status: () => describeSwitch(vswitch),
    silentWorkers: () => vswitch.silentWorkers(),
    onSilent: (workers, seconds) => {
      if (workers.length === 0) log.line('info', 'workers-back', 'all workers make rounds again');
      else log.line('error', 'workers-silent', describeSilence(workers, seconds), { workers });
    },
  };
}

/** As a client of the control socket asks it. */
function processOf(log: EventLog, end: () => void): SwitchProcess {
  return {
    get logLevel() {
      return log.level;
    },
    set logLevel(level) {
      log.level = level;
    },
    stop: () => {
      log.line('info', 'stop', 'a client has asked this switch to end');
      end();
    },
  };
}

/** What was said as it ends. */
function logCounters(vswitch: Switch, log: EventLog): void {
  for (const { name, counters } of vswitch.ports) {
    log.line('info', 'counters', `port ${name}: ${describeCounters(counters)}`, {
      port: name,
      ...counters,
    });
  }
}

/** Makes the switch as it is to be, or as the process has it that this one takes over from. */
function open(
  vswitch: Switch,
  wanted: Wanted,
  takeOver: TakeOver | undefined,
  state: KeptState | undefined,
): void {
  if (takeOver === undefined) {
    wanted.open(vswitch);
    resumeSessions(vswitch.ports, () => state?.addresses.recall());
    return;
  }
  vswitch.applyComplete(takeOver.settings);
  if (takeOver.declared !== undefined) wanted.declared?.goOn(takeOver.declared);
}

/**
 * `service` has begun before anything was opened: what is opened later could take the place of what
 * was given. So has `takeOver`, if this process takes over from another one.
 */
export async function runSwitch(
  wanted: Wanted,
  service: Service,
  takeOver?: TakeOver,
): Promise<void> {
  const settings = takeOver?.service ?? wanted.service;
  const { control: controlAt, sandbox } = settings;
  const metrics = await metricsAt(settings, takeOver);
  const remote = await remoteAt(settings, wanted.stateFolder, takeOver);
  const options = takeOver === undefined ? wanted.options : startingOptions(takeOver.settings);
  const { cpus = [] } = options;
  if (cpus.length > 0) leaveCpus(cpus);
  const upgrade = controlAt === undefined ? undefined : await beginUpgrades(controlAt);
  if (sandbox) confineProcess();
  const { log, end: endOutput } = logOf(settings);
  const vswitch = Switch.open({ ...options, sandbox });
  // Told once all of them are there: of a switch that does not start only its error is said.
  const started: SwitchEvent[] = [];
  const note = (event: SwitchEvent) => started.push(event);
  vswitch.on('event', note);
  let control: ControlServer | undefined;
  let kept: KeptState | undefined;
  const onStateTrouble = (sentence: string) => log.line('warn', 'state', sentence);
  const close = () => {
    metrics?.close();
    remote?.listener.close();
    control?.close();
    vswitch.close();
  };
  let isEnding = false;
  const end = () => {
    // By a signal, or as a client asks.
    if (isEnding) return;
    isEnding = true;
    service.stopping();
    upgrade?.abort();
    reloads?.close();
    kept?.addresses.close();
    log.close();
    logCounters(vswitch, log);
    leaveSessions(vswitch.ports);
    close();
    endOutput();
  };
  const state = stateOf(vswitch, log);
  const { declared } = wanted;
  const onReload = () => renew(remote, log);
  const reloads = declared && new Reloads(declared, { vswitch, log, service, state, onReload });
  // Before the first socket: whoever reads that it listens may send a signal at once. Once each: a
  // second signal ends a process that hangs.
  process.once('SIGINT', end);
  process.once('SIGTERM', end);
  if (reloads !== undefined) process.on('SIGHUP', () => reloads.onSignal());
  else if (remote !== undefined) process.on('SIGHUP', onReload);
  try {
    const { state: folder } = wanted;
    if (folder !== undefined) kept = keepState(folder, vswitch, takeOver, onStateTrouble);
    open(vswitch, wanted, takeOver, kept);
    if (controlAt !== undefined || remote !== undefined) {
      // In the same turn as the ports: nobody has connected yet, so it knows their whole past.
      control = ControlServer.listen(vswitch, {
        ...(controlAt === undefined ? {} : socketOf(controlAt)),
        ...(remote === undefined ? {} : { tcp: remote.listener }),
        portSockets: wanted.portSockets,
        onUnexpected: unexpectedIn(log),
        process: processOf(log, end),
        ...(reloads === undefined ? {} : { declared: reloads }),
        ...upgradable(upgrade, {
          ...{ vswitch, service, settings, reloads, metrics, remote, state: kept, log },
          control: () => control!,
          end: () => {
            logCounters(vswitch, log);
            close();
            endOutput();
          },
        }),
      });
    }
    if (takeOver !== undefined) {
      control?.pause();
      rehearse();
      await takeOver.take((taken) => goOnWith(taken, vswitch, service));
      control?.resume();
      kept?.lock.sign();
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
  logPlaces(log, control?.path, remote);
  if (metrics !== undefined) {
    const { port } = metrics;
    log.line('info', 'metrics', `metrics are on port ${port}`, { port });
  }
  reloads?.begin();
  service.ready(state);
  for (const trouble of service.takeTroubles()) log.line('warn', 'service', trouble);
}
