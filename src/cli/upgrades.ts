/**
 * The switch of this process, as it is handed over to the next one (operate/upgrade) and gone on
 * with there.
 */

import { resolve } from 'node:path';
import type { ControlServer } from '../control/server.ts';
import type { Switch } from '../index.ts';
import { type LeftSession, storedSessions, unkept } from '../native/stored-sessions.ts';
import type { Metrics } from '../operate/metrics/metrics.ts';
import type { Service } from '../operate/service/service.ts';
import type { ControlSettings, ServiceSettings } from '../operate/settings.ts';
import { placeVariable } from '../operate/upgrade/place.ts';
import type { Taken, TakeOver } from '../operate/upgrade/take-over.ts';
import type { Present, Upgrade } from '../operate/upgrade/upgrade.ts';
import { learnAgain, learnedAddresses } from '../switch/addresses.ts';
import { handOverSessions, resumeSessions } from '../switch/sessions.ts';
import type { KeptState } from './kept-state.ts';
import type { Reloads } from './reloads.ts';
import type { RemoteControl } from './remote-control.ts';
import type { EventLog } from './words/event-log.ts';

export interface UpgradeParts {
  readonly vswitch: Switch;
  readonly service: Service;
  readonly settings: ServiceSettings;
  readonly reloads: Reloads | undefined;
  readonly metrics: Metrics | undefined;
  readonly remote: RemoteControl | undefined;
  readonly state: KeptState | undefined;
  readonly log: EventLog;
  readonly control: () => ControlServer;
  /** Another process is the switch. */
  readonly end: () => void;
}

/**
 * Before the process confines itself. All of it is loaded now: later there may be another version
 * in its place.
 */
export async function beginUpgrades(control: string | ControlSettings): Promise<Upgrade> {
  const { Upgrade } = await import('../operate/upgrade/upgrade.ts');
  if (!storedSessions.hasKeeper) storedSessions.keeper = unkept;
  return Upgrade.begin(resolve(typeof control === 'string' ? control : control.path));
}

/** As an option of the control socket. */
export function upgradable(upgrade: Upgrade | undefined, parts: UpgradeParts) {
  if (upgrade === undefined) return {};
  const { log, end } = parts;
  const run = async () => {
    try {
      const done = await upgrade.run(presentOf(parts));
      const { version, pid, sessions, pauseMs } = done;
      const how = `${sessions} sessions went along, after a pause of ${pauseMs} ms`;
      log.line('info', 'upgraded', `process ${pid} of version ${version} took over: ${how}`, done);
      return done;
    } catch (error) {
      log.line('error', 'upgrade-failed', (error as Error).message);
      throw error;
    }
  };
  return { upgrade: { run, end } };
}

function presentOf(parts: UpgradeParts): Present {
  const { vswitch, service, settings, reloads, metrics, remote, state, control, log } = parts;
  const machines = () => vswitch.ports.filter((port) => port.kind === 'vhost-user');
  return {
    settings: () => vswitch.settings,
    service: { ...settings, log: { ...settings.log, level: log.level } },
    declared: () => reloads?.settings,
    manager: service.manager,
    sockets: () => [control(), ...machines()].flatMap((listening) => listening.copySocket() ?? []),
    held: () => [
      ...(metrics === undefined ? [] : [['metrics', metrics.copySocket()] as const]),
      ...(remote === undefined ? [] : [['control', remote.listener.copySocket()] as const]),
      ...(state === undefined ? [] : [['lock', state.lock.copy()] as const]),
    ],
    addresses: () => learnedAddresses(vswitch),
    isSettled: () => machines().every((port) => port.isBetweenMessages),
    pause: () => {
      control().pause();
      // The next process keeps what is changed there.
      reloads?.close();
      state?.addresses.write();
    },
    resume: () => control().resume(),
    leave: () => handOverSessions(vswitch.ports),
    takeBack: (left) => {
      store(left, service);
      resumeSessions(vswitch.ports);
      storedSessions.dropAll();
    },
    handedOver: (pid) => service.handedOver(pid),
  };
}

/** In the next process, before machines wait for it. */
export { rehearse } from '../switch/rehearsal.ts';

/** In the next process. */
export function goOnWith({ sessions, addresses }: Taken, vswitch: Switch, service: Service): void {
  store(sessions, service);
  resumeSessions(vswitch.ports, () => learnAgain(vswitch, addresses));
}

function store(sessions: readonly LeftSession[], service: Service): void {
  for (const { name, bundle, stored } of sessions) {
    storedSessions.add(name, { place: service.placeOf(stored), bundle, isUnsettled: false });
  }
}

/**
 * Runs a switch, which may take over from another one; that learns why it does not.
 *
 * Loads nothing for it where nobody is to be taken over from.
 */
export async function asSuccessor(
  run: (takeOver: TakeOver | undefined) => Promise<void>,
): Promise<void> {
  if (process.env[placeVariable] === undefined) return run(undefined);
  const { TakeOver } = await import('../operate/upgrade/take-over.ts');
  const takeOver = await TakeOver.begin(process.env);
  try {
    await run(takeOver);
  } catch (error) {
    await takeOver?.fail((error as Error).message);
    throw error;
  }
}
