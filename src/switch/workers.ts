/**
 * The workers of a switch: which there are, on which CPUs, and how evenly they are loaded.
 *
 * The data plane gives a transmitq to the worker that polls fewest
 * (native/core/control/dataplane_workers.cc); what each of them moves shows only later, and is
 * evened out here by what balance.ts decides.
 */

import { TsvswitchError } from '../model/errors.ts';
import { fields, integer } from '../model/option-checks.ts';
import type { Dataplane } from '../native/addon.ts';
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

/** Of one worker; undefined: where the scheduler likes. */
type Cpu = number | undefined;

const workersMax = 64;
const cpuMax = 1023;
const anyCpu = -1;
const balanceIntervalMs = 1000;

/** One entry for each worker that a switch begins with. Throws BAD_OPTION. */
export function cpusOf(workers: number, cpus: readonly number[]): Cpu[] {
  integer('workers', workers, 1, workersMax);
  for (const [at, cpu] of cpus.entries()) freeCpu('cpus', cpu, cpus.slice(0, at));
  if (cpus.length > workers) {
    throw new TsvswitchError(
      'BAD_OPTION',
      `cpus: ${cpus.length} CPUs for ${workers === 1 ? 'one worker' : `${workers} workers`}; ` +
        'give at most one each',
    );
  }
  return Array.from({ length: workers }, (_, worker) => cpus[worker]);
}

/** Two workers that poll on one CPU are slower than one. */
function freeCpu(option: string, value: unknown, taken: readonly Cpu[]): number {
  const cpu = integer(option, value, 0, cpuMax);
  const worker = taken.indexOf(cpu);
  if (worker === -1) return cpu;
  throw new TsvswitchError(
    'BAD_OPTION',
    `${option}: worker ${worker} is pinned to CPU ${cpu} already; give each worker a CPU of its ` +
      'own',
  );
}

export class Workers {
  readonly #dataplane: Dataplane;
  readonly #cpus: Cpu[];
  readonly #ports: () => readonly Port[];
  /** Frames that each transmitq had moved at the last look, by port and queue. */
  readonly #framesSeen = new Map<string, number>();
  #balancing: NodeJS.Timeout | undefined;

  constructor(dataplane: Dataplane, cpus: readonly Cpu[], ports: () => readonly Port[]) {
    this.#dataplane = dataplane;
    this.#cpus = [...cpus];
    this.#ports = ports;
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

  /** Throws BAD_OPTION, TOO_MANY_WORKERS, SYSTEM. */
  add(options: WorkerOptions): WorkerStatus {
    // To the last field: whoever asks over the control socket may have typed anything.
    const { cpu } = fields('worker', options, ['cpu']);
    const checked = cpu === undefined ? undefined : freeCpu('cpu', cpu, this.#cpus);
    this.#dataplane.addWorker(checked ?? anyCpu);
    this.#cpus.push(checked);
    return this.status.at(-1)!;
  }

  /** From now on; before there is a second worker, there is nothing to even out. */
  balance(): void {
    this.#balancing = setInterval(() => this.#evenOut(), balanceIntervalMs).unref();
  }

  close(): void {
    clearInterval(this.#balancing);
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
