/**
 * The workers of a switch: which there are, on which CPUs, and how evenly they are loaded.
 *
 * The data plane gives a transmitq to the worker that polls fewest
 * (native/core/control/dataplane_workers.cc); what each of them moves shows only later, and is
 * evened out here by what balance.ts decides. What can be set of them is kept here as settings.
 */

import { readFileSync } from 'node:fs';
import type { WorkerSettings } from '../model/difference.ts';
import { failure } from '../model/errors.ts';
import { fields, integer } from '../model/option-checks.ts';
import { type Dataplane, native } from '../native/addon.ts';
import type { Port } from '../port/port.ts';
import { chooseMove, type TransmitqLoad } from './balance.ts';

/** How a worker is added. */
export interface WorkerOptions {
  /** Pins it to this CPU, which has no other worker; the scheduler chooses unless given. */
  readonly cpu?: number;
}

/** A polling thread, as it is now. */
export interface WorkerStatus {
  /** From 0, in the order in which they were started. */
  readonly number: number;
  /** The CPU it is pinned to. */
  readonly cpu?: number;
  /** How many transmitqs it polls. */
  readonly transmitqs: number;
}

/** What a worker has counted since it was started. */
export interface WorkerCounters {
  /** As in WorkerStatus. */
  readonly number: number;
  /** In which it slept, or polled and found nothing. */
  readonly idleSeconds: number;
  /** Times it woke up after it slept. */
  readonly wakeups: number;
  /** Frames that it moved. */
  readonly frames: number;
  /**
   * Its rounds that moved frames, by how many: each entry counts those of at most `framesMax` that
   * the entry before does not. The last is without a limit.
   */
  readonly rounds: readonly { readonly framesMax?: number; readonly count: number }[];
}

/** Of one worker; undefined: where the scheduler likes. */
type Cpu = number | undefined;

const workersMax = 64;
const cpuMax = 1023;
const anyCpu = -1;
const balanceIntervalMs = 1000;
const nsPerSecond = 1e9;

/** One entry for each worker that a switch begins with. Throws BAD_OPTION. */
export function cpusOf(workers: number, cpus: readonly number[]): Cpu[] {
  integer('workers', workers, 1, workersMax);
  for (const [at, cpu] of cpus.entries()) freeCpu('cpus', cpu, cpus.slice(0, at));
  if (cpus.length > workers) {
    throw failure('cpus-too-many', {
      cpus: cpus.length,
      workers: workers === 1 ? 'one worker' : `${workers} workers`,
    });
  }
  return Array.from({ length: workers }, (_, worker) => cpus[worker]);
}

/** Two workers that poll on one CPU are slower than one. */
function freeCpu(option: string, value: unknown, taken: readonly Cpu[]): number {
  const cpu = integer(option, value, 0, cpuMax);
  const worker = taken.indexOf(cpu);
  if (worker === -1) return cpu;
  throw failure('cpu-taken', { option, worker, cpu });
}

/** What a switch is opened with; the CPUs are those of its first workers. */
export interface WorkersOptions {
  readonly cpus: readonly Cpu[];
  readonly idleUs: number;
  readonly balance: boolean;
  /** There are no threads. */
  readonly manual: boolean;
}

export class Workers {
  readonly #dataplane: Dataplane;
  readonly #manual: boolean;
  readonly #cpus: Cpu[];
  /** The CPUs in the order in which they were asked for. */
  #listed: readonly number[];
  #idleUs: number;
  readonly #ports: () => readonly Port[];
  /** Frames that each transmitq had moved at the last look, by port and queue. */
  readonly #framesSeen = new Map<string, number>();
  /** As told last, by worker. */
  readonly #idleSeconds = new Map<number, number>();
  #balancing: NodeJS.Timeout | undefined;

  constructor(dataplane: Dataplane, options: WorkersOptions, ports: () => readonly Port[]) {
    this.#dataplane = dataplane;
    this.#manual = options.manual;
    this.#cpus = [...options.cpus];
    this.#listed = options.cpus.filter((cpu) => cpu !== undefined);
    this.#idleUs = options.idleUs;
    this.#ports = ports;
    if (options.balance) this.#balance();
  }

  get settings(): WorkerSettings {
    const pinned = this.#cpus.filter((cpu) => cpu !== undefined);
    const isAsListed =
      pinned.length === this.#listed.length && pinned.every((cpu) => this.#listed.includes(cpu));
    return {
      workers: this.#cpus.length,
      cpus: isAsListed ? [...this.#listed] : pinned,
      idleUs: this.#idleUs,
      balance: this.#balancing !== undefined,
    };
  }

  get status(): WorkerStatus[] {
    const transmitqs = this.#cpus.map(() => 0);
    for (const { worker } of this.#transmitqs()) transmitqs[worker]!++;
    return this.#cpus.map((cpu, number) => ({
      number,
      ...(cpu === undefined ? {} : { cpu }),
      transmitqs: transmitqs[number]!,
    }));
  }

  get counters(): WorkerCounters[] {
    const counts = this.#dataplane.workerCounters();
    const names = native().workerCounterNames;
    return this.#cpus.map((_, number) => {
      const own = counts.subarray(number * names.length, (number + 1) * names.length);
      const of = (name: string) => Number(own[names.indexOf(name)]);
      const idle = of('idleNs') / nsPerSecond;
      // Of a sleep that ends as it is read, some nanoseconds too many may have been read before.
      const idleSeconds = Math.max(idle, this.#idleSeconds.get(number) ?? 0);
      this.#idleSeconds.set(number, idleSeconds);
      const rounds = names.flatMap((name, at) => {
        const [, limit] = /^rounds(?:UpTo(\d+)|OfMore)$/.exec(name) ?? [];
        if (!name.startsWith('rounds')) return [];
        const count = Number(own[at]);
        return [limit === undefined ? { count } : { framesMax: Number(limit), count }];
      });
      return { number, idleSeconds, wakeups: of('wakeups'), frames: of('framesMoved'), rounds };
    });
  }

  /** Throws BAD_OPTION, TOO_MANY_WORKERS, SYSTEM. */
  add(options: WorkerOptions): WorkerStatus {
    // To the last field: whoever asks over the control socket may have typed anything.
    const { cpu } = fields('worker', options, ['cpu']);
    const checked = cpu === undefined ? undefined : freeCpu('cpu', cpu, this.#cpus);
    const { cpus } = this.settings;
    this.#add(checked);
    this.#listed = checked === undefined ? cpus : [...cpus, checked];
    return this.status.at(-1)!;
  }

  /** Throws BAD_OPTION for what this switch cannot have, and SYSTEM for a CPU that is not there. */
  check({ workers, cpus }: WorkerSettings): void {
    if (this.#manual && (workers !== 1 || cpus.length > 0)) {
      throw failure('clock-manual-threadless');
    }
    const online = onlineCpus();
    const missing = cpus.find((cpu) => online?.has(cpu) === false);
    if (missing === undefined) return;
    throw failure('cpu-missing', { cpu: missing });
  }

  /**
   * As was checked: a worker keeps its CPU where that is still listed. No frame is lost and none
   * passes another one. Throws SYSTEM for a CPU that may not be used, and settings then say how far
   * it came.
   */
  change({ workers, cpus, idleUs, balance }: WorkerSettings): void {
    if (idleUs !== this.#idleUs) this.#dataplane.setIdle(idleUs);
    this.#idleUs = idleUs;
    while (this.#cpus.length > workers) {
      this.#dataplane.removeWorker();
      this.#cpus.pop();
      this.#idleSeconds.delete(this.#cpus.length);
    }
    const wanted = pinsOf(this.#cpus, workers, cpus);
    // Before somebody else gets the CPU.
    this.#pin(wanted, (cpu) => cpu === undefined);
    this.#pin(wanted, (cpu) => cpu !== undefined);
    for (const cpu of wanted.slice(this.#cpus.length)) this.#add(cpu);
    this.#listed = cpus;
    if (balance) this.#balance();
    else this.close();
  }

  #pin(wanted: readonly Cpu[], isMeant: (cpu: Cpu) => boolean): void {
    for (const [worker, present] of this.#cpus.entries()) {
      const cpu = wanted[worker];
      if (cpu === present || !isMeant(cpu)) continue;
      this.#dataplane.pinWorker(worker, cpu ?? anyCpu);
      this.#cpus[worker] = cpu;
    }
  }

  #add(cpu: Cpu): void {
    this.#dataplane.addWorker(cpu ?? anyCpu);
    this.#cpus.push(cpu);
  }

  /** From now on; before there is a second worker, there is nothing to even out. */
  #balance(): void {
    this.#balancing ??= setInterval(() => this.#evenOut(), balanceIntervalMs).unref();
  }

  /** Evens nothing out any more. */
  close(): void {
    clearInterval(this.#balancing);
    this.#balancing = undefined;
  }

  #evenOut(): void {
    const loads = this.#transmitqs().map(({ frames, ...transmitq }): TransmitqLoad => {
      const key = `${transmitq.port}/${transmitq.queue}`;
      const before = this.#framesSeen.get(key) ?? 0;
      this.#framesSeen.set(key, frames);
      // A port that was removed and added again counts from zero.
      return { ...transmitq, frames: Math.max(0, frames - before) };
    });
    const move = chooseMove(loads, this.#cpus.length);
    if (move === undefined) return;
    const port = this.#ports().find(({ number }) => number === move.port);
    port?.handle.queue(move.queue).assign(move.worker);
  }

  /** Those that run, with the frames that each has moved since its port was added. */
  #transmitqs(): TransmitqLoad[] {
    return this.#ports().flatMap(({ number: port, handle, transmitqs }) =>
      transmitqs.map(({ queue, frames }) => {
        const worker = handle.queue(queue).worker();
        return { port, queue, worker, frames };
      }),
    );
  }
}

/** Of each of `workers` workers: the CPU it has if that is wanted, else the next that is. */
function pinsOf(present: readonly Cpu[], workers: number, wanted: readonly number[]): Cpu[] {
  const kept = Array.from({ length: workers }, (_, worker) => {
    const cpu = present[worker];
    return cpu !== undefined && wanted.includes(cpu) ? cpu : undefined;
  });
  const free = wanted.filter((cpu) => !kept.includes(cpu));
  return kept.map((cpu) => cpu ?? free.shift());
}

/** Undefined where the kernel does not say. Source: Linux ABI/stable/sysfs-devices-system-cpu. */
function onlineCpus(): Set<number> | undefined {
  let list: string;
  try {
    list = readFileSync('/sys/devices/system/cpu/online', 'utf8');
  } catch {
    return undefined;
  }
  const ranges = list
    .trim()
    .split(',')
    .map((range) => range.split('-').map(Number));
  return new Set(
    ranges.flatMap(([first = 0, last = first]) =>
      Array.from({ length: last - first + 1 }, (_, index) => first + index),
    ),
  );
}
