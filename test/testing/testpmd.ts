/**
 * DPDK's testpmd as the backend of two vhost ports that forwards each frame from one to the other:
 * an independent implementation to hold a frontend and driver against.
 *
 * It runs without huge pages, and polls a core from start to stop: every run has a time limit.
 */

import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const program = 'dpdk-testpmd';
const limitMs = 600_000;

/** Why testpmd cannot run here, or undefined if it can. */
export function testpmdMissing(): string | undefined {
  try {
    execFileSync('which', [program]);
  } catch {
    return `${program} is not installed (Debian: dpdk-dev librte-net-vhost23)`;
  }
  return undefined;
}

export interface Testpmd {
  readonly paths: readonly [string, string];
  stop(): Promise<void>;
}

/** Each port has so many queue pairs, which a guest should have, too. */
export async function startTestpmd(queuePairs = 1): Promise<Testpmd> {
  const folder = mkdtempSync(join(tmpdir(), 'testpmd-'));
  const paths = [join(folder, 'a.sock'), join(folder, 'b.sock')] as const;
  const devices = paths.flatMap((path, i) => [
    '--vdev',
    `net_vhost${i},iface=${path},queues=${queuePairs}`,
  ]);
  const eal = ['-l', '0,1', '--main-lcore', '0', '--no-pci', '--no-huge', '--no-shconf'];
  const testpmd = spawn(
    program,
    [
      ...eal,
      ...['--no-telemetry', '-m', '256', ...devices],
      ...['--', '-i', '--forward-mode=io', '--auto-start', '--disable-link-check'],
      ...['--total-num-mbufs=4096', `--rxq=${queuePairs}`, `--txq=${queuePairs}`],
    ],
    { stdio: ['pipe', 'pipe', 'pipe'] },
  );
  const limit = setTimeout(() => testpmd.kill('SIGKILL'), limitMs);
  const exited = new Promise<void>((resolve) => testpmd.once('exit', () => resolve()));
  let output = '';
  // Apart from the output, or they would stand in the middle of the prompt.
  let errors = '';
  const prompted = new Promise<void>((resolve, reject) => {
    testpmd.stdout.on('data', (chunk: Buffer) => {
      output += chunk;
      // The prompt comes once both ports listen and forwarding has started.
      if (output.includes('testpmd> ')) resolve();
    });
    testpmd.stderr.on('data', (chunk: Buffer) => {
      errors += chunk;
    });
    testpmd.once('error', reject);
    testpmd.once('exit', () => reject(new Error(`testpmd did not start:\n${output}${errors}`)));
  });
  const stop = async () => {
    // Asked politely it removes its sockets; the limit ends it in any case.
    testpmd.stdin.write('stop\nquit\n');
    await exited;
    clearTimeout(limit);
    rmSync(folder, { recursive: true });
  };
  try {
    await prompted;
  } catch (error) {
    clearTimeout(limit);
    testpmd.kill('SIGKILL');
    rmSync(folder, { recursive: true });
    throw error;
  }
  return { paths, stop };
}
