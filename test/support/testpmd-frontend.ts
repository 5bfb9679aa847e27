/**
 * DPDK's testpmd as pairs of virtual machines: two virtio-user ports of one process throw a fixed
 * number of frames back at each other, each through the switch, for as long as wanted. Port 2k
 * plays with port 2k + 1. Every queue sends on what it has received; with several queues the frames
 * are of many flows, so that the switch has something to spread. Several pairs introduce themselves
 * to the switch first, so that no frame of the game is flooded to the others.
 *
 * The loop is closed, so nothing may be lost for want of buffers, and its end is exact: forwarding
 * is stopped, then both ports only receive until everything that is under way has arrived.
 *
 * It polls CPU 0 for the ports and CPU 1 for its prompt, and has a time limit. It runs without huge
 * pages where none are free; `--single-file-segments` keeps its memory within few regions either
 * way.
 */

import { execFileSync, spawn } from 'node:child_process';
import { macOf } from './ethernet.ts';
import { freeHugePages } from './huge-pages.ts';

const program = 'dpdk-testpmd';
const startLimitMs = 120_000;
/** Beside its buffers. */
const ownMemoryMiB = 64;
/**
 * A buffer of 2 KiB with its headers crosses no page, since pages need not lie side by side: where
 * pages are small, it takes one of its own.
 */
const bytesPerBuffer = 4096;
/** Frames under way in each direction and queue: bursts of 32. */
const bursts = 4;
const queueSize = 256;
/** Of 2 KiB: what the receiveqs hold and what is under way, with room to spare. */
const buffersPerQueue = 1024;

/** Why it cannot run here, or undefined if it can. */
export function testpmdFrontendMissing(): string | undefined {
  try {
    execFileSync('which', [program], { stdio: 'ignore' });
    return undefined;
  } catch {
    return `${program} is not installed (Debian: dpdk-dev librte-net-virtio23)`;
  }
}

export interface PortStatistics {
  readonly received: number;
  readonly transmitted: number;
  /** Whatever it counts as lost or wrong. */
  readonly errors: number;
}

export interface LoopOptions {
  /** A switch's sockets, two for each pair. */
  readonly paths: readonly string[];
  /** What the device on each path is asked for, such as `mrg_rxbuf=0`. */
  readonly devices: readonly string[];
  /** 1 unless given. */
  readonly queuePairs?: number;
  readonly seconds: number;
  readonly frameBytes: number;
}

export interface LoopResult {
  /** In the order of the paths. */
  readonly ports: readonly PortStatistics[];
  /** Frames that each receiveq of each port has received while they were sent on. */
  readonly receivedByQueue: readonly (readonly number[])[];
  /** Frames that each port has flooded to all others beforehand; not in the statistics. */
  readonly introductions: number;
  /** What forwarding itself dropped because a transmitq stayed full. */
  readonly forwardingDrops: number;
}

/** A prompt to write commands to; the answer is everything up to the next prompt. */
class Prompt {
  #output = '';
  /** Apart from the output, or they would stand in the middle of a prompt. */
  #errors = '';
  #onOutput: () => void = () => {};
  readonly #process: ReturnType<typeof spawn>;
  readonly exited: Promise<void>;
  #ended = false;

  constructor(args: readonly string[], limitMs: number) {
    // Its prompts are written past the buffer of its standard output: by lines, answers come first.
    const command = ['-oL', program, ...args];
    this.#process = spawn('stdbuf', command, { stdio: ['pipe', 'pipe', 'pipe'] });
    const limit = setTimeout(() => this.#process.kill('SIGKILL'), limitMs);
    this.#process.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.#output += text;
      this.#onOutput();
    });
    this.#process.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.#errors += text;
    });
    this.exited = new Promise((resolve, reject) => {
      this.#process.once('error', reject);
      this.#process.once('close', () => {
        clearTimeout(limit);
        this.#ended = true;
        this.#onOutput();
        resolve();
      });
    });
  }

  /** Everything it says up to and with its next prompt. */
  async answer(): Promise<string> {
    const prompt = 'testpmd> ';
    while (!this.#output.includes(prompt)) {
      if (this.#ended) throw new Error(`testpmd ended:\n${this.#output}${this.#errors}`);
      await new Promise<void>((resolve) => {
        this.#onOutput = resolve;
      });
    }
    const end = this.#output.indexOf(prompt) + prompt.length;
    const answer = this.#output.slice(0, end);
    this.#output = this.#output.slice(end);
    return answer;
  }

  tell(command: string): Promise<string> {
    this.#process.stdin!.write(`${command}\n`);
    return this.answer();
  }

  async quit(): Promise<void> {
    this.#process.stdin!.end('quit\n');
    await this.exited;
  }

  kill(): void {
    this.#process.kill('SIGKILL');
  }
}

function statistics(answer: string): PortStatistics[] {
  const [, ...ports] = answer.split(/NIC statistics for port \d+/);
  return ports.map((text) => {
    const value = (name: string) => Number(new RegExp(`${name}:\\s*(\\d+)`).exec(text)?.[1]);
    return {
      received: value('RX-packets'),
      transmitted: value('TX-packets'),
      errors: value('RX-missed') + value('RX-errors') + value('RX-nombuf') + value('TX-errors'),
    };
  });
}

/** What `stop` says of each stream, by port and queue; of a single queue it says nothing. */
function streams(answer: string, ports: number): number[][] {
  const received: number[][] = Array.from({ length: ports }, () => []);
  const stream = /Forward Stats for RX Port=\s*(\d+)\/Queue=\s*(\d+) [^\n]*\n\s*RX-packets: (\d+)/g;
  for (const [, port, queue, frames] of answer.matchAll(stream)) {
    received[Number(port)]![Number(queue)] = Number(frames);
  }
  return received;
}

function testpmdArguments({ paths, devices, queuePairs = 1 }: LoopOptions): string[] {
  const buffers = buffersPerQueue * queuePairs * Math.max(paths.length, 8);
  const memoryMiB = ownMemoryMiB + (buffers * bytesPerBuffer) / 2 ** 20;
  const memory = ['--single-file-segments', '-m', `${memoryMiB}`];
  // Huge pages as a file in a hugetlbfs would outlive it.
  memory.push(freeHugePages() < Math.ceil(memoryMiB / 2) ? '--no-huge' : '--in-memory');
  const queueCounts =
    queuePairs === 1 ? [] : [`--rxq=${queuePairs}`, `--txq=${queuePairs}`, '--txonly-multi-flow'];
  return [
    ...['-l', '0,1', '--main-lcore', '1', '--no-pci', '--no-telemetry'],
    `--file-prefix=loop${process.pid}`,
    ...memory,
    ...paths.flatMap((path, i) => [
      '--vdev',
      `net_virtio_user${i},path=${path},mac=${macOf(i)},queues=${queuePairs},` +
        `queue_size=${queueSize},${devices[i]}`,
    ]),
    ...['--', '-i', `--txd=${queueSize}`, `--rxd=${queueSize}`, ...queueCounts],
    `--total-num-mbufs=${buffers}`,
  ];
}

export async function runTestpmdLoop(options: LoopOptions): Promise<LoopResult> {
  const limitMs = startLimitMs + 2 * options.seconds * 1000;
  const prompt = new Prompt(testpmdArguments(options), limitMs);
  try {
    await prompt.answer();
    await prompt.tell(`set txpkts ${options.frameBytes}`);
    const introductions = options.paths.length > 2 ? await introduce(prompt, options) : 0;
    // A switch that is held up leaves transmitqs full for a while; they are waited for, up to a
    // second.
    await prompt.tell('set fwd mac retry');
    await prompt.tell('set burst tx delay 100 retry 10000');
    for (const port of options.paths.keys()) {
      await prompt.tell(`set eth-peer ${port} ${macOf(port ^ 1)}`);
    }
    await prompt.tell(`start tx_first ${bursts}`);
    await new Promise((resolve) => setTimeout(resolve, options.seconds * 1000));
    const stopped = await prompt.tell('stop');
    const drops = Array.from(stopped.matchAll(/TX-dropped:\s*(\d+)/g), ([, n]) => Number(n));
    await prompt.tell('set fwd rxonly');
    await prompt.tell('start');
    const ports = await drained(prompt);
    await prompt.tell('stop');
    await prompt.quit();
    const receivedByQueue = streams(stopped, options.paths.length);
    return { ports, receivedByQueue, introductions, forwardingDrops: Math.max(0, ...drops) };
  } catch (error) {
    prompt.kill();
    throw error;
  }
}

/** One frame from each queue to an address that nobody has; returns how many each port has sent. */
async function introduce(prompt: Prompt, { paths, queuePairs = 1 }: LoopOptions): Promise<number> {
  await prompt.tell('set fwd rxonly');
  await prompt.tell('set burst 1');
  await prompt.tell('start tx_first 1');
  const fromOthers = (paths.length - 1) * queuePairs;
  await looked(prompt, (ports) => ports.every(({ received }) => received === fromOthers));
  await prompt.tell('stop');
  await prompt.tell('set burst 32');
  await prompt.tell('clear port stats all');
  return queuePairs;
}

/** Looks until each port has received what its peer has sent, or nothing more comes. */
function drained(prompt: Prompt): Promise<PortStatistics[]> {
  return looked(prompt, (ports) =>
    ports.every(({ received }, port) => received === ports[port ^ 1]?.transmitted),
  );
}

/** The statistics as soon as they are as wanted, or after a minute as they are. */
async function looked(
  prompt: Prompt,
  wanted: (ports: readonly PortStatistics[]) => boolean,
): Promise<PortStatistics[]> {
  const looksMax = 3000;
  const look = async () => statistics(await prompt.tell('show port stats all'));
  let ports = await look();
  for (let looks = 0; looks < looksMax && !wanted(ports); looks++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    ports = await look();
  }
  return ports;
}
