/**
 * This process as a service: what its manager gave it, and what it is told.
 *
 *     begin() ── ready() ──► running ◄── reloading(), ready()
 *                               └── stopping() ──► ended
 *
 * Where nobody started it as a service, all of this does nothing.
 *
 * The sockets of ports are kept by the manager (its FileDescriptorStoreMax= says how many) until
 * they are closed: a process that takes the place of one that was killed listens on the same ones,
 * and who connected meanwhile is served. So are sessions (session-place.ts): a frontend that was
 * connected stays so.
 */

import { native } from '../../native/addon.ts';
import { storedListeners } from '../../native/stored-listeners.ts';
import {
  type SessionPlace,
  type StoredAs,
  storedSessions,
  unkept,
} from '../../native/stored-sessions.ts';
import { Notifier } from './notifier.ts';
import { StoredPlace, sessionPrefix } from './session-place.ts';
import { type GivenFd, startedBy } from './started-by.ts';
import { Watchdog } from './watchdog.ts';

/** What the service does now. */
export interface ServiceState {
  /** In a few words, for `systemctl status`. */
  readonly status: () => string;
  /** The workers without a round since the last call (Switch.silentWorkers). */
  readonly silentWorkers: () => readonly number[];
  /** Hears of workers that hang: of those that do, when it is others; of none when it is over. */
  readonly onSilent: (workers: readonly number[], watchdogSeconds: number) => void;
}

/** Who is told of a service. */
export interface Manager {
  /** NOTIFY_SOCKET. */
  readonly socket: string;
  readonly watchdogUs?: number;
}

/** Of the names under which sockets are kept that listen; their paths follow. */
const listening = 'listening ';
/** A status is told that often at most. */
const statusMs = 1000;
const usPerSecond = 1e6;

export class Service {
  /** Who started this process, or the one that it takes over from. */
  readonly manager: Manager | undefined;
  readonly #notifier: Notifier | undefined;
  readonly #troubles: string[] = [];
  #watchdog: Watchdog | undefined;
  #state: ServiceState | undefined;
  #status: string | undefined;
  #statusTimer: NodeJS.Timeout | undefined;

  private constructor(env: NodeJS.ProcessEnv, pid: number, manager: Manager | undefined) {
    const { notifySocket, watchdogUs, fds } = startedBy(env, pid);
    const ours = notifySocket === undefined ? undefined : { socket: notifySocket };
    this.manager = manager ?? (ours && { ...ours, ...(watchdogUs && { watchdogUs }) });
    const isSession = ({ name }: GivenFd) => name.startsWith(sessionPrefix);
    for (const given of fds) if (!isSession(given)) this.#adopt(given);
    const sessions = fds.filter(isSession);
    try {
      if (this.manager !== undefined) this.#notifier = Notifier.connect(this.manager.socket);
      if (manager !== undefined) this.#notifier!.hold();
    } catch (error) {
      this.#troubles.push((error as Error).message);
    }
    const notifier = this.#notifier;
    if (notifier === undefined) {
      for (const { fd } of sessions) native().closeFd(fd);
      return;
    }
    this.#adoptSessions(sessions, notifier);
    storedSessions.keeper = { place: () => StoredPlace.make(notifier) };
    storedListeners.keeper = {
      keep: (path, fd) => notifier.store(`${listening}${path}`, fd),
      forget: (path) => notifier.forget(`${listening}${path}`),
    };
  }

  /**
   * Once in a process, before it confines itself and before anything in it listens: takes what its
   * manager gave it, and its variables out of `env`. `manager` is that of a service which this
   * process takes over: nothing is told before ready().
   */
  static begin(env: NodeJS.ProcessEnv, pid: number, manager?: Manager): Service {
    return new Service(env, pid, manager);
  }

  /** What is not as the operator wanted it, in sentences; each is told once. */
  takeTroubles(): string[] {
    return this.#troubles.splice(0);
  }

  /** Everything listens: sockets that no port has taken are a trouble, or an earlier run's. */
  ready(state: ServiceState): void {
    this.#state = state;
    for (const { path, origin } of storedListeners.all) {
      if (origin === 'kept') storedListeners.remove(path);
      else this.#troubles.push(`socket ${path}: a socket unit made it, but no port has this path`);
    }
    storedSessions.dropAll();
    this.#status = state.status();
    this.#notifier?.release();
    this.#notifier?.ready(this.#status);
    if (this.manager?.watchdogUs !== undefined && this.#notifier !== undefined) this.#watch(state);
  }

  /** Call ready() once it is done. */
  reloading(): void {
    this.#notifier?.reloading();
  }

  /** The status may be another one now. */
  changed(): void {
    if (this.#notifier === undefined || this.#state === undefined) return;
    this.#statusTimer ??= setTimeout(() => {
      this.#statusTimer = undefined;
      this.#tellStatus();
    }, statusMs).unref();
  }

  /** From now on nothing else is told, and no sign of life is wanted. */
  stopping(): void {
    this.#end();
    this.#notifier?.stopping();
  }

  /** The service is the process `pid` from now on. */
  handedOver(pid: number): void {
    this.#end();
    this.#notifier?.mainPid(pid);
  }

  /** Where a session is kept that another process has left. */
  placeOf(stored: StoredAs | undefined): SessionPlace {
    if (stored !== undefined && this.#notifier !== undefined) {
      return StoredPlace.goOn(this.#notifier, stored);
    }
    for (const fd of stored?.fds ?? []) native().closeFd(fd);
    return storedSessions.place() ?? unkept.place()!;
  }

  #end(): void {
    this.#watchdog?.close();
    clearTimeout(this.#statusTimer);
    this.#state = undefined;
  }

  #watch({ silentWorkers, onSilent }: ServiceState): void {
    const timeoutUs = this.manager!.watchdogUs!;
    this.#watchdog?.close();
    this.#watchdog = new Watchdog({
      timeoutUs,
      silentWorkers,
      onAlive: () => this.#notifier!.alive(),
      onSilent: (workers) => {
        onSilent(workers, timeoutUs / usPerSecond);
        this.#tellStatus(workers);
      },
    });
  }

  #tellStatus(silent: readonly number[] = []): void {
    const who = `${silent.length === 1 ? 'worker' : 'workers'} ${silent.join(', ')}`;
    const warning = silent.length === 0 ? '' : `${who} without rounds; `;
    const status = warning + this.#state!.status();
    if (status !== this.#status) this.#notifier!.status(status);
    this.#status = status;
  }

  /** Both ends of each have its name. */
  #adoptSessions(given: readonly GivenFd[], notifier: Notifier): void {
    for (const { fd } of given) native().adoptFd(fd);
    for (const name of new Set(given.map((each) => each.name))) {
      const fds = given.filter((each) => each.name === name).map(({ fd }) => fd);
      const session = StoredPlace.adopt(notifier, name, fds);
      if (session === undefined) continue;
      storedSessions.add(session.bundle.text.split('\n', 1)[0]!, session);
    }
  }

  #adopt({ fd, name }: GivenFd): void {
    try {
      const path = native().adoptFd(fd);
      if (path !== undefined) {
        const origin = name.startsWith(listening) ? 'kept' : 'given';
        storedListeners.add(path, { fd, origin });
        return;
      }
      this.#troubles.push(
        `fd ${fd} (${name}): the service manager passed it, but it is no unix socket that ` +
          'listens for streams; it is not used',
      );
    } catch (error) {
      this.#troubles.push((error as Error).message);
    }
  }
}
