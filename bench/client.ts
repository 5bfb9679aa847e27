/**
 * The flooding client (native/bench) as a function call: options in, checked result out.
 *
 * The client always runs on `clientCpu`; `core distance` uses its self test, in which a second
 * thread on `workerCpu` takes the place of the switch.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Child, run } from './process.ts';

/** The name of the client's memory files, as mappings show it. */
export const guestMemoryName = '/memfd:flood-port';

export const clientCpu = 0;
export const workerCpu = 1;

const floodProgram = fileURLToPath(new URL('../bench-native/flood', import.meta.url));
const startLimitS = 15;

export type Touch = 'headers' | 'bytes';

/** What the client's ports share with the switch. */
export type GuestMemory = 'hugetlbfs' | 'memfd';

/** More than any trial's ports take. */
export const guestHugePageBytes = 128 * 2 ** 20;

export interface ClientOptions {
  readonly sockets: readonly string[];
  readonly memory: GuestMemory;
  readonly frameBytes: number;
  readonly touch: Touch;
  readonly warmupS: number;
  readonly seconds: number;
}

/** What the client says about every measurement. */
interface ClientResult {
  readonly memory: GuestMemory;
  readonly queueSize: number;
  readonly seconds: number;
  readonly sent: number;
  readonly delivered: number;
  readonly lost: number;
  readonly errors: number;
}

export interface FloodResult extends ClientResult {
  readonly deliveredMpps: number;
  readonly deliveredMppsPerPort: readonly number[];
  readonly gbitPerSecond: number;
  readonly fastSliceMpps: number;
  readonly clientIdleShare: number;
  readonly clientCpuShare: number;
}

export interface PingpongResult extends ClientResult {
  readonly samples: number;
  readonly p50Ns: number;
  readonly p99Ns: number;
  readonly p999Ns: number;
}

export async function flood(options: ClientOptions): Promise<FloodResult> {
  return checked(await measure<FloodResult>('flood', options));
}

export async function pingpong(options: ClientOptions): Promise<PingpongResult> {
  const result = checked(await measure<PingpongResult>('pingpong', options));
  if (result.samples === 0) throw new Error('not one frame came and went within the measurement');
  return result;
}

/** A frontend per socket that is connected and learned, and sends nothing until stopped. */
export async function connectIdle(
  sockets: readonly string[],
  memory: GuestMemory,
  logFile: string,
): Promise<Child> {
  const hour = '3600';
  const args = [
    ...['--mode', 'idle', '--seconds', hour, '--cpu', String(clientCpu), '--memory', memory],
    ...socketArguments(sockets),
  ];
  const client = new Child(floodProgram, args, { logFile });
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
        ...['--mode', 'pingpong', '--json', '--warmup', '0.02', '--seconds', '0.06'],
        ...['--memory', 'memfd'],
        ...['--cpu', String(clientCpu), '--self-test-cpu', String(workerCpu)],
      ],
      { limitMs: startLimitS * 1000 },
    );
    const { samples, p50Ns } = JSON.parse(output) as PingpongResult;
    // Fewer samples mean that a thread hardly ran beside others on its CPU.
    if (samples >= 1000) return p50Ns;
    await sleep(50);
  }
  return Number.POSITIVE_INFINITY;
}

async function measure<Result>(mode: string, options: ClientOptions): Promise<Result> {
  const { sockets, memory, frameBytes, touch, warmupS, seconds } = options;
  const args = [
    ...['--mode', mode, '--json', '--cpu', String(clientCpu), '--memory', memory],
    ...['--frame', String(frameBytes), '--touch', touch],
    ...['--warmup', String(warmupS), '--seconds', String(seconds)],
    ...socketArguments(sockets),
  ];
  const limitMs = Math.ceil((startLimitS + warmupS + seconds) * 1000);
  return JSON.parse(await run(floodProgram, args, { limitMs })) as Result;
}

function socketArguments(sockets: readonly string[]): string[] {
  return sockets.flatMap((socket) => ['--socket', socket]);
}

/** A rate made of wrong frames is no rate. */
function checked<Result extends ClientResult>(result: Result): Result {
  if (result.errors > 0) {
    throw new Error(`${result.errors} of ${result.delivered} frames were wrong or out of order`);
  }
  return result;
}
