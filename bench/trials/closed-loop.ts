/**
 * An independent client: DPDK's testpmd with two virtio-user ports, sending a fixed number of
 * bursts round in circles. Nothing is lost; the slower of the two sides sets the rate, which is
 * testpmd's own count of frames received.
 */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { clientCpu, workerCpu } from '../client.ts';
import type { Attachment } from '../drivers/driver.ts';
import { findProgram, startLimitMs } from '../drivers/driver.ts';
import { freeHugePageBytes } from '../proc.ts';
import { Child } from '../process.ts';
import type { Trial } from './trial.ts';

const program = 'dpdk-testpmd';
const queueSize = 256;
const buffers = 16384;
const memoryMiB = 256;
/** 32 frames each. */
const burstsPerPort = 4;
const macAddress = (port: number): string => `52:54:00:00:00:0${port + 1}`;

interface Loop {
  readonly frameBytes: number;
  readonly folder: string;
  readonly warmupS: number;
  readonly seconds: number;
}

function commandFile({ frameBytes, folder }: Loop): string {
  const file = join(folder, 'testpmd.commands');
  const commands = [
    'set fwd mac',
    `set eth-peer 0 ${macAddress(1)}`,
    `set eth-peer 1 ${macAddress(0)}`,
    `set txpkts ${frameBytes}`,
    `start tx_first ${burstsPerPort}`,
  ];
  writeFileSync(file, `${commands.join('\n')}\n`);
  return file;
}

/**
 * Frames a second that both ports received since they were asked last, which each asking prints.
 */
function latestRates(log: string): number[] {
  return Array.from(log.matchAll(/Rx-pps:\s+(\d+)/g), (match) => Number(match[1])).slice(-2);
}

/** Million frames a second, both ports added. */
async function loop(to: Attachment, options: Loop): Promise<number> {
  if (to.kind !== 'sockets') throw new Error('testpmd connects to sockets only');
  if (findProgram(program) === undefined) throw new Error(`${program} not found`);
  const client = new Child(
    // Statistics are wanted when they are printed, not when a buffer is full.
    'stdbuf',
    [
      ...['--output=L', program],
      // Port 0 is forwarded on the first of the two CPUs; the other one waits for commands.
      ...['-l', `${clientCpu},${workerCpu}`, '--main-lcore', String(workerCpu)],
      ...['--no-pci', '--single-file-segments', '-m', `${memoryMiB}`],
      // Huge pages as a file in a hugetlbfs would outlive it.
      freeHugePageBytes() < memoryMiB * 2 ** 20 ? '--no-huge' : '--in-memory',
      ...['--file-prefix', `benchclient${process.pid}`],
      ...to.paths.flatMap((path, port) => [
        '--vdev',
        `net_virtio_user${port},path=${path},mac=${macAddress(port)},queue_size=${queueSize}`,
      ]),
      ...['--', '-i', `--total-num-mbufs=${buffers}`],
      ...[`--txd=${queueSize}`, `--rxd=${queueSize}`, `--cmdline-file=${commandFile(options)}`],
    ],
    { logFile: join(options.folder, 'testpmd.log') },
  );
  try {
    await client.until('forwarding', () => /packet forwarding/.test(client.log), startLimitMs);
    const ask = async (seconds: number): Promise<void> => {
      await sleep(seconds * 1000);
      const known = client.log.length;
      client.type('show port stats all\n');
      const isAnswered = () => client.log.slice(known).match(/Rx-pps:/g)?.length === 2;
      await client.until('statistics', isAnswered, startLimitMs);
    };
    await ask(options.warmupS);
    await ask(options.seconds);
    const total = latestRates(client.log).reduce((sum, rate) => sum + rate, 0);
    if (total === 0) throw new Error('testpmd received nothing');
    return total / 1e6;
  } finally {
    await client.stop();
  }
}

export function closedLoopTrial(frameBytes: number): Trial {
  const name = `closed loop by testpmd, ${frameBytes} B`;
  return {
    name,
    ports: 2,
    needs: ['sockets'],
    measures: [{ name, unit: 'Mpps', decimals: 2, better: 'higher' }],
    run: async ({ subject, quiet, folder, warmupS, seconds }) => {
      const { result, ...verdict } = await quiet.measure(subject.pid, () =>
        loop(subject.attachment, { frameBytes, folder, warmupS, seconds }),
      );
      return { values: [result], ...verdict };
    },
  };
}
