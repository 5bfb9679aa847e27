/**
 * The flooding client (native/bench) as function calls: options in, checked result out.
 *
 * The client always runs on `clientCpu`; its self tests have a second thread on `workerCpu` in the
 * place of the switch.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Attachment } from './drivers/driver.ts';
import { Child, run } from './process.ts';

/** The name of the client's memory files, as mappings show it. */
export const guestMemoryName = '/memfd:flood-port';

export const clientCpu = 0;
export const workerCpu = 1;

const floodProgram = fileURLToPath(new URL('../bench-native/flood', import.meta.url));
const startLimitS = 15;

export type Touch = 'headers' | 'bytes';
export type Ring = 'split' | 'packed';

/** What the client's ports share with the switch. */
export type GuestMemory = 'hugetlbfs' | 'memfd';

/** More than any trial's ports take. */
export const guestHugePageBytes = 160 * 2 ** 20;

/** One size, a mix of 64, 594 and 1518 B, or TCP frames of 64 KiB that the device may cut. */
export type FrameSize = number | 'imix' | 'tso';

/** What is sent; defaults are the client's own. */
export interface Traffic {
  readonly frame: FrameSize;
  readonly touch?: Touch;
  readonly ring?: Ring;
  readonly queueSize?: number;
  readonly transmitQueueSize?: number;
  /** Frames of a flow that are under way at most. */
  readonly window?: number;
}

export interface Span {
  readonly memory: GuestMemory;
  readonly warmupS: number;
  readonly seconds: number;
}

/** What the client says about every measurement. */
interface ClientResult {
  readonly delivered: number;
  readonly lost: number;
  readonly errors: number;
  readonly reordered: number;
  readonly corrupt: number;
  readonly misdelivered: number;
}

export interface FloodResult extends ClientResult {
  readonly deliveredMpps: number;
  readonly gbitPerSecond: number;
}

export interface LatencyResult extends ClientResult {
  readonly samples: number;
  readonly p50Ns: number;
  readonly p99Ns: number;
  readonly p999Ns: number;
}

export interface LoadResult extends LatencyResult {
  readonly offeredMpps: number;
  readonly sentMpps: number;
  readonly sent: number;
  readonly undelivered: number;
}

export async function flood(to: Attachment, traffic: Traffic, span: Span): Promise<FloodResult> {
  return checked(await measure<FloodResult>(to, ['--mode', 'flood'], traffic, span));
}

/** One frame at a time, in turn between two ports. */
export async function pingpong(
  to: Attachment,
  traffic: Traffic,
  span: Span,
): Promise<LatencyResult> {
  return measured(await measure(to, ['--mode', 'pingpong'], traffic, span));
}

/** The same with a pause before each frame, long enough for a switch to fall asleep. */
export async function wake(
  to: Attachment,
  traffic: Traffic,
  pauseUs: number,
  span: Span,
): Promise<LatencyResult> {
  const mode = ['--mode', 'wake', '--pause', String(pauseUs)];
  return measured(await measure(to, mode, traffic, span));
}

export async function offerLoad(
  to: Attachment,
  traffic: Traffic,
  offeredMpps: number,
  span: Span,
): Promise<LoadResult> {
  const mode = ['--mode', 'load', '--rate', offeredMpps.toFixed(4)];
  return measured(await measure<LoadResult>(to, mode, traffic, span));
}

/**
 * Gbit/s of memcpy between the two CPUs in pieces of a frame, each written and checked as frames
 * are.
 */
export async function coreCopy(traffic: Traffic, span: Span): Promise<number> {
  const args = ['--mode', 'copy', '--self-test-cpu', String(workerCpu)];
  const output = await run(
    floodProgram,
    [...args, ...trafficArguments(traffic), ...spanArguments(span)],
    { limitMs: limitMs(span) },
  );
  return (JSON.parse(output) as { gbitPerSecond: number }).gbitPerSecond;
}

/** A guest per port that is connected and learned, and sends nothing until stopped. */
export async function connectIdle(
  to: Attachment,
  memory: GuestMemory,
  queueSize: number,
  logFile: string,
): Promise<Child> {
  const hour = '3600';
  const [program, args] = command(to, [
    ...['--mode', 'idle', '--seconds', hour, '--cpu', String(clientCpu), '--memory', memory],
    ...['--queue-size', String(queueSize)],
  ]);
  const client = new Child(program, args, { logFile });
  await client.until('connected guests', () => client.logTail === 'ready', startLimitS * 1000);
  return client;
}

/**
 * How far apart the two CPUs are: nanoseconds that one frame takes between two threads that do
 * nothing but hand it over. On a virtual machine it changes by a factor of four when the hypervisor
 * moves a CPU to another cache, and every rate changes with it.
 */
export async function coreDistanceNs(): Promise<number> {
  const attempts = 3;
  for (let attempt = 1; attempt <= attempts; attempt += 1) {
    const output = await run(
      floodProgram,
      [
        ...['--mode', 'pingpong', '--self-test-cpu', String(workerCpu)],
        ...spanArguments({ memory: 'memfd', warmupS: 0.02, seconds: 0.06 }),
      ],
      { limitMs: startLimitS * 1000 },
    );
    const { samples, p50Ns } = JSON.parse(output) as LatencyResult;
    // Fewer samples mean that a thread hardly ran beside others on its CPU.
    if (samples >= 1000) return p50Ns;
    await sleep(50);
  }
  return Number.POSITIVE_INFINITY;
}

async function measure<Result extends LatencyResult | FloodResult = LatencyResult>(
  to: Attachment,
  mode: readonly string[],
  traffic: Traffic,
  span: Span,
): Promise<Result> {
  const args = [...mode, ...trafficArguments(traffic), ...spanArguments(span)];
  const output = await run(...command(to, args), { limitMs: limitMs(span) });
  return JSON.parse(output) as Result;
}

/**
 * The client's command line; where ports are tap devices it has to enter their network namespace.
 */
function command(to: Attachment, args: readonly string[]): [program: string, args: string[]] {
  switch (to.kind) {
    case 'sockets':
      return [floodProgram, [...args, ...to.paths.flatMap((path) => ['--socket', path])]];
    case 'taps': {
      const taps = to.names.flatMap((name) => ['--tap', name]);
      const [program, ...enter] = to.enter;
      return [program, [...enter, floodProgram, ...args, ...taps]];
    }
    case 'reflector': {
      const { cpu, ports } = to;
      const reflector = ['--self-test-cpu', String(cpu), '--self-test-ports', String(ports)];
      return [floodProgram, [...args, ...reflector]];
    }
  }
}

function trafficArguments(traffic: Traffic): string[] {
  const { frame, touch, ring, queueSize, transmitQueueSize, window } = traffic;
  return [
    ...(typeof frame === 'number' ? ['--frame', String(frame)] : [`--${frame}`]),
    ...(touch === undefined ? [] : ['--touch', touch]),
    ...(ring === undefined ? [] : ['--ring', ring]),
    ...(queueSize === undefined ? [] : ['--queue-size', String(queueSize)]),
    ...(transmitQueueSize === undefined
      ? []
      : ['--transmit-queue-size', String(transmitQueueSize)]),
    ...(window === undefined ? [] : ['--window', String(window)]),
  ];
}

function spanArguments({ memory, warmupS, seconds }: Span): string[] {
  return [
    ...['--json', '--cpu', String(clientCpu), '--memory', memory],
    ...['--warmup', String(warmupS), '--seconds', String(seconds)],
  ];
}

function limitMs({ warmupS, seconds }: Span): number {
  return Math.ceil((startLimitS + warmupS + seconds) * 1000);
}

/** A rate made of wrong frames is no rate. */
function checked<Result extends ClientResult>(result: Result): Result {
  if (result.errors > 0) {
    const { errors, delivered, reordered, corrupt, misdelivered } = result;
    throw new Error(
      `${errors} wrong frames beside ${delivered}: ` +
        `${reordered} out of order, ${corrupt} damaged, ${misdelivered} of other ports`,
    );
  }
  return result;
}

/** No frame came and went while the client itself was running all the time. */
export class NothingTimed extends Error {
  constructor() {
    super('not one frame came and went within the measurement');
  }
}

function measured<Result extends LatencyResult>(result: Result): Result {
  if (result.samples === 0) throw new NothingTimed();
  return checked(result);
}
