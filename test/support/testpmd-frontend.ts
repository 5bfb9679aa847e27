/**
 * DPDK's testpmd as two virtual machines: two virtio-user ports of one process that throw a fixed
 * number of frames back at each other, each through the switch, for as long as wanted.
 *
 * The loop is closed, so nothing may be lost for want of buffers, and its end is exact: forwarding is
 * stopped, then both ports only receive until everything that is under way has arrived.
 *
 * It polls CPU 0 for the ports and CPU 1 for its prompt, and has a time limit. It runs without huge
 * pages where none are free; `--single-file-segments` keeps its memory within few regions either way.
 */

import { execFileSync, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { macOf } from './ethernet.ts';

const program = 'dpdk-testpmd';
const startLimitMs = 20_000;
const memoryMiB = 256;
/** Frames under way in each direction: bursts of 32. */
const bursts = 4;
const queueSize = 256;

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
  readonly paths: readonly [string, string];
  readonly seconds: number;
  /** Appended to both devices, such as `mrg_rxbuf=0`. */
  readonly device: string;
  readonly frameBytes: number;
}

export interface LoopResult {
  readonly ports: readonly [PortStatistics, PortStatistics];
  /** What forwarding itself dropped because a transmitq was full. */
  readonly forwardingDrops: number;
}

function freeHugePages(): number {
  const line = /^HugePages_Free:\s+(\d+)/m.exec(readFileSync('/proc/meminfo', 'utf8'));
  return Number(line?.[1] ?? 0);
}

/** A prompt to write commands to; the answer is everything up to the next prompt. */
class Prompt {
  #output = '';
  #onOutput: () => void = () => {};
  readonly #process: ReturnType<typeof spawn>;
  readonly exited: Promise<void>;
  #ended = false;

  constructor(args: readonly string[], limitMs: number) {
    // Its prompts are written past the buffer of its standard output: by lines, answers come first.
    const command = ['-oL', program, ...args];
    this.#process = spawn('stdbuf', command, { stdio: ['pipe', 'pipe', 'pipe'] });
    const limit = setTimeout(() => this.#process.kill('SIGKILL'), limitMs);
    for (const stream of [this.#process.stdout!, this.#process.stderr!]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#output += text;
        this.#onOutput();
      });
    }
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
      if (this.#ended) throw new Error(`testpmd ended:\n${this.#output}`);
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

function statistics(answer: string): [PortStatistics, PortStatistics] {
  const [, one, other] = answer.split(/NIC statistics for port \d/);
  const read = (text: string | undefined): PortStatistics => {
    const value = (name: string) => Number(new RegExp(`${name}:\\s*(\\d+)`).exec(text ?? '')?.[1]);
    return {
      received: value('RX-packets'),
      transmitted: value('TX-packets'),
      errors: value('RX-missed') + value('RX-errors') + value('RX-nombuf') + value('TX-errors'),
    };
  };
  return [read(one), read(other)];
}

export async function runTestpmdLoop(options: LoopOptions): Promise<LoopResult> {
  const macs = [macOf(1), macOf(2)];
  const devices = options.paths.flatMap((path, i) => [
    '--vdev',
    `net_virtio_user${i},path=${path},mac=${macs[i]},queue_size=${queueSize},${options.device}`,
  ]);
  const eal = ['-l', '0,1', '--main-lcore', '1', '--no-pci', '--no-telemetry'];
  const memory = ['--single-file-segments', '-m', `${memoryMiB}`];
  if (freeHugePages() < memoryMiB / 2) memory.push('--no-huge');
  const prompt = new Prompt(
    [
      ...eal,
      `--file-prefix=loop${process.pid}`,
      ...memory,
      ...devices,
      ...['--', '-i', '--total-num-mbufs=16384', `--txd=${queueSize}`, `--rxd=${queueSize}`],
    ],
    startLimitMs + 2 * options.seconds * 1000,
  );
  try {
    await prompt.answer();
    await prompt.tell('set fwd mac');
    await prompt.tell(`set eth-peer 0 ${macs[1]}`);
    await prompt.tell(`set eth-peer 1 ${macs[0]}`);
    await prompt.tell(`set txpkts ${options.frameBytes}`);
    await prompt.tell(`start tx_first ${bursts}`);
    await new Promise((resolve) => setTimeout(resolve, options.seconds * 1000));
    const stopped = await prompt.tell('stop');
    const drops = Array.from(stopped.matchAll(/TX-dropped:\s*(\d+)/g), ([, n]) => Number(n));
    await prompt.tell('set fwd rxonly');
    await prompt.tell('start');
    const ports = await drained(prompt);
    await prompt.tell('stop');
    await prompt.quit();
    return { ports, forwardingDrops: Math.max(0, ...drops) };
  } catch (error) {
    prompt.kill();
    throw error;
  }
}

/** Looks until each port has received what the other has sent, or nothing more comes. */
async function drained(prompt: Prompt): Promise<[PortStatistics, PortStatistics]> {
  const looksMax = 100;
  let ports = statistics(await prompt.tell('show port stats all'));
  for (let looks = 0; looks < looksMax; looks++) {
    const [one, other] = ports;
    if (one.received === other.transmitted && other.received === one.transmitted) break;
    await new Promise((resolve) => setTimeout(resolve, 20));
    ports = statistics(await prompt.tell('show port stats all'));
  }
  return ports;
}
