/**
 * A switch: one data plane, its bridge and its ports, embedded in this process.
 *
 * Opening it starts the workers; adding a port opens its socket; closing it ends sessions, removes
 * sockets and joins the workers. Everything that happens is an event: under its own type and, for those
 * who want all, under `event`. No globals: a process may have several switches.
 *
 * The frames themselves never come by here: the workers (native/core/worker.h) move them.
 */

import { EventEmitter } from 'node:events';
import { basename, resolve } from 'node:path';
import { chooseMove, type TransmitqLoad } from './balance.ts';
import { Bridge, formatMac } from './bridge.ts';
import { TsvswitchError } from './errors.ts';
import { type Dataplane, type DataplaneEvent, native } from './native.ts';
import type { PortEvent } from './port/port.ts';
import { type PortSocket, VhostUserPort } from './port/vhost-user.ts';

export interface SwitchOptions {
  /** Polling threads; 1 unless given. */
  readonly workers?: number;
  /** CPU of each worker in turn; fewer than workers leaves the rest to the scheduler. */
  readonly cpus?: readonly number[];
  /** How long a worker polls without work before it sleeps, in microseconds; 50 unless given. */
  readonly idleUs?: number;
  /** Moves transmitqs between workers while their load is uneven; off unless given. */
  readonly balance?: boolean;
  /** How long a silent address is remembered, in seconds; 300 unless given, 0 for ever. */
  readonly ageingSeconds?: number;
}

/**
 * A port either listens for its frontend on the unix socket `path`, with the permissions given, or
 * connects to the one that listens on the unix socket `connect`. A path has at most 107 bytes.
 */
export type PortOptions = PortSocket & {
  /** Unique on the switch; the socket's file name without `.sock` unless given. */
  readonly name?: string;
};

export type SwitchEvent =
  | PortEvent
  | { readonly type: 'mac-learned'; readonly port: string; readonly mac: string }
  | {
      readonly type: 'mac-moved';
      readonly port: string;
      readonly fromPort: string;
      readonly mac: string;
    };

type EventMap = { [Type in SwitchEvent['type']]: [Extract<SwitchEvent, { type: Type }>] } & {
  event: [SwitchEvent];
};

const balanceIntervalMs = 1000;
const idleUsDefault = 50;
const ageingSecondsDefault = 300;
const int32Max = 2 ** 31 - 1;

export class Switch extends EventEmitter<EventMap> {
  readonly bridge: Bridge;
  readonly #dataplane: Dataplane;
  readonly #ports = new Map<number, VhostUserPort>();
  readonly workers: number;
  /** Frames that each transmitq had moved at the last look, by port and queue. */
  readonly #framesSeen = new Map<string, number>();
  #balancing: NodeJS.Timeout | undefined;
  #closed = false;

  private constructor(options: SwitchOptions) {
    super();
    const workers = integer('workers', options.workers ?? 1, 1, 64);
    const cpus = options.cpus ?? [];
    for (const cpu of cpus) integer('cpus', cpu, 0, 1023);
    if (cpus.length > workers) {
      throw new TsvswitchError(
        'BAD_OPTION',
        `cpus: ${cpus.length} CPUs for ${workers} workers; give at most one each`,
      );
    }
    const idleUs = integer('idleUs', options.idleUs ?? idleUsDefault, 0, int32Max);
    const ageingSeconds = integer(
      'ageingSeconds',
      options.ageingSeconds ?? ageingSecondsDefault,
      0,
      int32Max,
    );
    this.#dataplane = native().openDataplane({
      workers,
      cpus,
      idleUs,
      onEvent: (event) => this.#onDataplaneEvent(event),
    });
    this.#dataplane.configureBridge({ ageingSeconds });
    this.workers = workers;
    if (options.balance === true && workers > 1) {
      this.#balancing = setInterval(() => this.#balance(), balanceIntervalMs).unref();
    }
    this.bridge = new Bridge(this.#dataplane, (number) => this.#ports.get(number)?.name);
  }

  /** Starts the workers. Throws BAD_OPTION, SYSTEM (a CPU that is not there) or NATIVE_UNAVAILABLE. */
  static open(options: SwitchOptions = {}): Switch {
    return new Switch(options);
  }

  get ports(): readonly VhostUserPort[] {
    return [...this.#ports.values()];
  }

  /**
   * Adds a vhost-user port. One that connects keeps trying until a frontend is there. Throws the SOCKET_* codes of errors.ts, BAD_OPTION for a name that is
   * taken, TOO_MANY_PORTS, CLOSED.
   */
  addPort(options: PortOptions): VhostUserPort {
    if (this.#closed) throw new TsvswitchError('CLOSED', 'the switch is closed');
    const path = options.connect ?? options.path;
    if (this.ports.some((port) => resolve(port.path) === resolve(path))) {
      throw new TsvswitchError(
        'SOCKET_DUPLICATE',
        `socket ${path} is given twice; every port needs a socket of its own`,
      );
    }
    const name = options.name ?? this.#nameFor(path);
    if (this.ports.some((port) => port.name === name)) {
      throw new TsvswitchError('BAD_OPTION', `a port named ${name} exists; names are unique`);
    }
    const port = new VhostUserPort(this.#dataplane, { ...options, name }, (event) =>
      this.#emitEvent(event),
    );
    this.#ports.set(port.number, port);
    return port;
  }

  /** Closes a port and forgets it; the others go on. */
  removePort(port: VhostUserPort): void {
    port.close();
    this.#ports.delete(port.number);
  }

  /** Closes all ports and ends the workers. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#balancing);
    for (const port of this.ports) this.removePort(port);
    this.#dataplane.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  /** The file name, or the whole path where two sockets have the same file name. */
  #nameFor(path: string): string {
    const name = basename(path, '.sock');
    return this.ports.some((port) => port.name === name) ? path : name;
  }

  #balance(): void {
    const loads: TransmitqLoad[] = [];
    for (const port of this.ports) {
      for (const { queue, frames } of port.transmitqs) {
        const key = `${port.number}/${queue}`;
        const before = this.#framesSeen.get(key) ?? 0;
        this.#framesSeen.set(key, frames);
        const worker = this.#dataplane.workerOf(port.number, queue);
        // A port that was removed and added again counts from zero.
        loads.push({ port: port.number, queue, worker, frames: Math.max(0, frames - before) });
      }
    }
    const move = chooseMove(loads, this.workers);
    if (move !== undefined) this.#dataplane.assignWorker(move.port, move.queue, move.worker);
  }

  #onDataplaneEvent(event: DataplaneEvent): void {
    const port = this.#ports.get(event.port);
    // It was on its way when the port was removed.
    if (port === undefined) return;
    switch (event.type) {
      case 'mac-learned':
        this.#emitEvent({ type: event.type, port: port.name, mac: formatMac(event.mac) });
        break;
      case 'mac-moved': {
        const fromPort = this.#ports.get(event.fromPort)?.name ?? `${event.fromPort}`;
        const mac = formatMac(event.mac);
        this.#emitEvent({ type: event.type, port: port.name, fromPort, mac });
        break;
      }
      case 'queue-broken':
        port.queueBroken(event.queue, event.reason);
        break;
      case 'memory-lost':
        port.memoryLost();
        break;
    }
  }

  #emitEvent(event: SwitchEvent): void {
    // The map says that each type carries its own event; TypeScript cannot follow it through a union.
    const emitter = this as unknown as EventEmitter;
    emitter.emit(event.type, event);
    emitter.emit('event', event);
  }
}

function integer(name: string, value: unknown, min: number, max: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
    throw new TsvswitchError(
      'BAD_OPTION',
      `${name}: ${String(value)} is not an integer from ${min} to ${max}`,
    );
  }
  return value;
}
