/**
 * A switch: one data plane, its bridges and their ports, embedded in this process.
 *
 * Opening it starts the workers; adding a port opens its socket; closing it ends sessions, removes
 * sockets and joins the workers. Everything that happens is an event: under its own type, for those
 * who want all under `event`, and as a stream. No globals: a process and each of its worker threads
 * may have several switches.
 *
 * With `clock: 'manual'` nothing runs by itself: step() moves frames, advance() moves time, and the
 * same calls with the same seed have the same outcome, to the bit.
 *
 * Frames never come by here: the workers (native/core/worker/worker.h) move them.
 */

import '../runtime/dispose.ts';
import { randomInt } from 'node:crypto';
import { EventEmitter } from 'node:events';
import type { Capture, CaptureOptions } from '../capture/capture.ts';
import { type CaptureTarget, Recordings, type ReplayOptions } from '../capture/recordings.ts';
import type { Replay } from '../capture/replay.ts';
import { settingsOf } from '../model/check.ts';
import { type Change, difference } from '../model/difference.ts';
import { failure } from '../model/errors.ts';
import { flag, integer } from '../model/option-checks.ts';
import type { SwitchSettings, WrittenSettings } from '../model/settings.ts';
import { type Dataplane, native } from '../native/addon.ts';
import type { Impairment } from '../policy/impairment/impairment.ts';
import { type Link, Links, type NetworkChange, type PortName } from '../policy/impairment/links.ts';
import { Schedule, type ScheduleStep } from '../policy/impairment/schedule.ts';
import type { DgramPort } from '../port/dgram/dgram-port.ts';
import type { SwitchPort } from '../port/kinds.ts';
import type { ProcessPort } from '../port/process/process-port.ts';
import type { VhostUserPort } from '../port/vhost-user/vhost-user-port.ts';
import { ManualClock, machineClock } from '../runtime/clock.ts';
import { apply, type Parts, settingsInForce } from './apply.ts';
import type { Bridge } from './bridge.ts';
import { Bridges } from './bridges.ts';
import {
  type EventStreamOptions,
  type EventsLost,
  type SwitchEvent,
  type SwitchEventMap,
  streamEvents,
} from './events.ts';
import { type Flow, flowsOf } from './flows.ts';
import type {
  AnyPortOptions,
  DgramPortOptions,
  HostPortOptions,
  PortOptions,
  ProcessPortOptions,
  SwitchOptions,
} from './options.ts';
import { wantedPort } from './port-options.ts';
import { Ports } from './ports.ts';
import {
  cpusOf,
  type WorkerCounters,
  type WorkerOptions,
  type WorkerStatus,
  Workers,
} from './workers.ts';

const idleUsDefault = 50;
const ageingSecondsDefault = 300;
const int32Max = 2 ** 31 - 1;
/** Longer than any test, and exact as a number of nanoseconds. */
const advanceMsMax = 2 ** 32;
/** As far as randomInt() goes. */
const seedMax = 2 ** 48 - 1;

/** An Ethernet switch in this process. Close it, or bind it with `await using`. */
export class Switch extends EventEmitter<SwitchEventMap> {
  /** The bridge of ports that name none. */
  readonly bridge: Bridge;
  readonly #dataplane: Dataplane;
  readonly #workers: Workers;
  /** With the same seed, the same frames meet the same fate on every link. */
  readonly seed: number;
  readonly #links: Links;
  readonly #schedules = new Set<Schedule>();
  readonly #recordings: Recordings;
  readonly #bridges: Bridges;
  readonly #ports: Ports;
  readonly #parts: Parts;
  /** What has happened since a change of settings began; undefined while none is being made. */
  #withheld: SwitchEvent[] | undefined;
  readonly #clock: ManualClock | undefined;
  #closed = false;

  private constructor(options: SwitchOptions) {
    super();
    const cpus = cpusOf(options.workers ?? 1, options.cpus ?? []);
    const idleUs = integer('idleUs', options.idleUs ?? idleUsDefault, 0, int32Max);
    const ageing = options.ageingSeconds ?? ageingSecondsDefault;
    const ageingSeconds = integer('ageingSeconds', ageing, 0, int32Max);
    const clock: unknown = options.clock ?? 'machine';
    if (clock !== 'machine' && clock !== 'manual') {
      throw failure('clock-unknown', { clock: String(clock) });
    }
    const manual = clock === 'manual';
    const sandbox = options.sandbox === true;
    if (manual && (cpus.length > 1 || cpus[0] !== undefined || sandbox)) {
      throw failure('clock-manual-no-workers');
    }
    this.seed = integer('seed', options.seed ?? randomInt(seedMax), 0, Number.MAX_SAFE_INTEGER);
    this.#clock = manual ? new ManualClock() : undefined;
    this.#dataplane = native().openDataplane({
      workers: cpus.length,
      cpus: cpus.filter((cpu) => cpu !== undefined),
      idleUs,
      manual,
      sandbox,
      fragmentId: this.seed % 2 ** 32,
    });
    const balance = flag('balance', options.balance ?? false);
    this.#workers = new Workers(
      this.#dataplane,
      { cpus, idleUs, balance, manual },
      () => this.ports,
    );
    this.#bridges = new Bridges(this.#dataplane, ageingSeconds);
    this.bridge = this.#bridges.byDefault;
    this.#ports = new Ports(
      {
        onEvent: (event) => this.#emitEvent(event),
        deliverReports: () => this.#dataplane.drainEvents(),
      },
      this.#bridges,
    );
    this.#recordings = new Recordings(this, this.#clock);
    this.#links = new Links(
      this.#dataplane,
      this.seed,
      (name) => this.port(name),
      (event) => this.#emitEvent(event),
    );
    this.#parts = {
      bridges: this.#bridges,
      ports: this.#ports,
      links: this.#links,
      workers: this.#workers,
      forgetPorts: () => this.#recordings.forgetPorts(),
      onRemoved: (port) => this.#emitEvent({ type: 'port-removed', port }),
    };
  }

  /**
   * Starts the workers, and opens what the settings name. Throws BAD_OPTION, SYSTEM (a CPU that is
   * not there), NATIVE_UNAVAILABLE, and what apply() throws.
   */
  static open(options: SwitchOptions = {}): Switch {
    const vswitch = new Switch(options);
    const { bridges, ports, fdb, links, partition } = options;
    const given = Object.entries({ bridges, ports, fdb, links, partition }).filter(
      ([, value]) => value !== undefined,
    );
    if (given.length === 0) return vswitch;
    try {
      vswitch.apply({ ...vswitch.settings, ...Object.fromEntries(given) });
    } catch (error) {
      vswitch.close();
      throw error;
    }
    return vswitch;
  }

  /**
   * All that is set and can be changed, as one document of the caller's own: it can be saved,
   * changed and applied.
   */
  get settings(): SwitchSettings {
    return structuredClone(settingsInForce(this.#parts));
  }

  /**
   * Makes the switch as a document says, while frames go on, and returns what was changed; what did
   * not change is not touched. What the document leaves out has its default. Everything is checked
   * before the first change is made, and what fails all the same is taken back. Throws BAD_OPTION
   * (a SettingsError, with the path to everything that is wrong), the SOCKET_* codes of
   * model/errors.ts, TOO_MANY_PORTS, SYSTEM, CLOSED.
   */
  apply(wanted: WrittenSettings): readonly Change[] {
    this.#checkOpen();
    // Whoever is told may keep and change it.
    const changes = structuredClone(this.applyComplete(settingsOf(wanted)));
    if (changes.length > 0) this.#emitEvent({ type: 'settings-applied', changes });
    return changes;
  }

  /**
   * As apply(), of settings that are complete and fit together.
   *
   * @internal
   */
  applyComplete(wanted: SwitchSettings): readonly Change[] {
    const withheld: SwitchEvent[] = [];
    // Who hears of a change may make the next one: not in the midst of this.
    this.#withheld = withheld;
    try {
      return apply(this.#parts, wanted);
    } finally {
      this.#withheld = undefined;
      for (const event of withheld) this.#emitEvent(event);
    }
  }

  /** What apply() would do. Looks at the document alone. Throws BAD_OPTION, CLOSED. */
  plan(wanted: WrittenSettings): readonly Change[] {
    this.#checkOpen();
    return structuredClone(difference(settingsInForce(this.#parts), settingsOf(wanted)));
  }

  /** All workers, in the order in which they were started. */
  get workers(): readonly WorkerStatus[] {
    return this.#workers.status;
  }

  /**
   * Starts a worker more, which takes over its share of the queues without a frame being lost or
   * passing another one. It stays until the switch is closed. Throws BAD_OPTION, also for a CPU
   * that has a worker, SYSTEM for one that is not there, TOO_MANY_WORKERS, CLOSED.
   */
  addWorker(options: WorkerOptions = {}): WorkerStatus {
    this.#checkOpen();
    if (this.#clock !== undefined) {
      throw failure('clock-manual-no-more-workers');
    }
    const worker = this.#workers.add(options);
    this.#emitEvent({ type: 'worker-added', worker });
    return worker;
  }

  /**
   * What each worker has counted of itself since it was started: for how loaded it is. Waits for
   * none of them. Throws CLOSED.
   */
  workerCounters(): WorkerCounters[] {
    this.#checkOpen();
    return this.#workers.counters;
  }

  /**
   * What was delivered from port to port, the busiest pair first. Waits for no worker. Throws
   * CLOSED.
   */
  flows(): Flow[] {
    this.#checkOpen();
    return flowsOf(this.#dataplane, this.ports);
  }

  /**
   * The numbers of the workers that have made no round since the last call, which waits for none of
   * them: those that hang. One that sleeps is woken to make one. For watchdogs; ask again after
   * some seconds. Throws CLOSED.
   */
  silentWorkers(): number[] {
    this.#checkOpen();
    return this.#dataplane.silentWorkers();
  }

  /** All ports, in the order of their numbers' first use. */
  get ports(): readonly SwitchPort[] {
    return this.#ports.all;
  }

  /** The port called `name`, if there is one. */
  port(name: string): SwitchPort | undefined {
    return this.#ports.named(name);
  }

  /**
   * All bridges that a port has been on, and the default one. They stay until the switch is closed.
   */
  get bridges(): readonly Bridge[] {
    return this.#bridges.all;
  }

  /**
   * Every event from now on, until the switch is closed. At most 16384 wait for their reader; what
   * came when there were so many is one `events-lost` that counts it. Throws CLOSED.
   */
  events(options: EventStreamOptions = {}): AsyncIterableIterator<SwitchEvent | EventsLost> {
    this.#checkOpen();
    return streamEvents(this, options);
  }

  /**
   * Adds a port: of a machine, over a vhost-user or dgram socket, or of this process. One that
   * connects keeps trying until a frontend is there. Throws the SOCKET_* codes of model/errors.ts,
   * BAD_OPTION for a name that is taken, TOO_MANY_PORTS, CLOSED.
   */
  addPort(options: PortOptions): VhostUserPort;
  addPort(options: ProcessPortOptions): ProcessPort;
  /** @deprecated Write `process` for `host`. */
  addPort(options: HostPortOptions): ProcessPort;
  addPort(options: DgramPortOptions): DgramPort;
  addPort(options: AnyPortOptions): SwitchPort {
    this.#checkOpen();
    return this.#ports.add(wantedPort(options));
  }

  /**
   * Makes a link as bad as said from now on, in place of what it was; `{}` makes it whole. What it
   * holds back already still arrives when it is due. Throws BAD_OPTION, NO_SUCH_PORT, CLOSED.
   */
  impair(link: Link, impairment: Impairment): void {
    this.change({ link, impairment });
  }

  /**
   * Cuts ports on different sides off from each other, in place of an earlier partition; ports on
   * no side hear all. Frames that are under way beyond their bridge still arrive. Throws as
   * impair() does.
   */
  partition(...sides: readonly (readonly PortName[])[]): void {
    this.change({ partition: sides });
  }

  /** Ends the partition. */
  heal(): void {
    this.change({ heal: true });
  }

  /** Makes one change, whichever it is. Throws as impair() does. */
  change(change: NetworkChange): void {
    this.#checkOpen();
    this.#links.prepare(change)();
  }

  /**
   * Begins to change links and partitions over time. All steps are checked before the first is
   * made. Throws as impair() does. Ends with the switch.
   */
  schedule(steps: readonly ScheduleStep[]): Schedule {
    this.#checkOpen();
    const schedule = new Schedule(this.#links, this.#clock ?? machineClock, steps);
    this.#schedules.add(schedule);
    void schedule.done.then(() => this.#schedules.delete(schedule));
    return schedule;
  }

  /**
   * Begins to record a port or a bridge, until the capture or the switch is closed. Throws
   * BAD_OPTION, NO_SUCH_PORT, CLOSED, and SYSTEM if the file cannot be made.
   */
  capture(options: CaptureTarget & CaptureOptions = {}): Capture {
    this.#checkOpen();
    return this.#recordings.capture(options);
  }

  /**
   * Sends the frames of a capture from a port of this process. Throws BAD_CAPTURE, BAD_FRAME for a
   * frame that was cut, BAD_OPTION, CLOSED. Ends with the switch.
   */
  replay(options: ReplayOptions): Replay {
    this.#checkOpen();
    return this.#recordings.replay(options);
  }

  /**
   * Runs up to `rounds` rounds of a manual clock's switch, fewer if one moves nothing; returns
   * frames.
   */
  step(rounds = 1): number {
    this.#manualClock();
    this.#serveControl();
    const moved = this.#dataplane.step(integer('rounds', rounds, 1, int32Max));
    this.#drainEvents();
    return moved;
  }

  /**
   * Moves a manual clock by `ms`, which may have fractions: everything that is due on the way
   * happens, each thing at its time, and rounds are run before and after it until they move
   * nothing.
   */
  advance(ms: number): void {
    const clock = this.#manualClock();
    if (typeof ms !== 'number' || !(ms >= 0 && ms <= advanceMsMax)) {
      throw failure('advance-ms', { ms: String(ms), max: advanceMsMax });
    }
    clock.advance(ms, (ns) => {
      this.#serveControl();
      this.#dataplane.advance(ns);
      this.#drainEvents();
    });
  }

  /** Closes a port and forgets it; the others go on. */
  removePort(port: SwitchPort): void {
    this.#recordings.forgetPorts();
    const isOurs = this.#ports.has(port);
    if (isOurs) this.#ports.remove(port);
    else port.close();
    if (isOurs) this.#links.forget(port.name);
    if (isOurs && !this.#closed) this.#emitEvent({ type: 'port-removed', port: port.name });
  }

  /** Closes all ports and ends the workers. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#workers.close();
    for (const schedule of this.#schedules) schedule.end();
    this.#recordings.end();
    for (const port of this.ports) this.removePort(port);
    this.#dataplane.close();
    this.emit('closed');
  }

  /** As close(). */
  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  #manualClock(): ManualClock {
    this.#checkOpen();
    if (this.#clock !== undefined) return this.#clock;
    throw failure('clock-not-manual');
  }

  #drainEvents(): void {
    this.#recordings.drainSteps();
    this.#dataplane.drainEvents();
  }

  /** What drivers have said on their control queues is in force before the next frame. */
  #serveControl(): void {
    for (const port of this.ports) if (port.kind === 'vhost-user') port.serveControl();
  }

  #checkOpen(): void {
    if (this.#closed) throw failure('switch-closed');
  }

  #emitEvent(event: SwitchEvent): void {
    if (this.#withheld !== undefined) {
      this.#withheld.push(event);
      return;
    }
    // The map says that each type carries its own event; TypeScript cannot follow it through a
    // union.
    const emitter = this as unknown as EventEmitter;
    emitter.emit(event.type, event);
    emitter.emit('event', event);
  }
}
