/**
 * DPDK's testpmd in io mode: two vhost ports joined without looking at a frame. Not a switch, but
 * the least that DPDK can do, and so the yardstick for what a switch adds.
 */

import { join } from 'node:path';
import { Child, run } from '../process.ts';
import { allThere, type Driver, findProgram, missingHugePages, startLimitMs } from './driver.ts';

const program = 'dpdk-testpmd';
const buffers = 16384;
const descriptors = 1024;

export const testpmd: Driver = {
  name: 'testpmd io',
  // Debian's RTE_MAX_ETHPORTS.
  portsMax: 32,
  lacks: { 'second worker': 'measured with one worker only' },

  unavailable: () =>
    findProgram(program) === undefined ? `${program} not found` : missingHugePages(),

  version: async () => {
    const limitMs = 10_000;
    const version = await run('pkg-config', ['--modversion', 'libdpdk'], { limitMs }).catch(
      () => '(version unknown)',
    );
    return `DPDK ${version.trim()}`;
  },

  start: async ({ folder, sockets, mainCpu, workerCpu, needs }) => {
    // Offloads of a frame as it comes in are those of a frame to be sent only with the old flags: io
    // forwarding translates nothing.
    const tso = needs.includes('segmentation') ? ',tso=1,legacy-ol-flags=1' : '';
    const startedMs = performance.now();
    const child = new Child(
      program,
      [
        ...['-l', `${mainCpu},${workerCpu}`, '--main-lcore', String(mainCpu)],
        ...['--no-pci', '--in-memory', '-m', '256', '--file-prefix', `bench${process.pid}`],
        ...sockets.flatMap((socket, i) => ['--vdev', `net_vhost${i},iface=${socket}${tso}`]),
        ...['--', '-i', '--forward-mode=io', '--auto-start', '--nb-cores=1'],
        ...[`--total-num-mbufs=${buffers}`, `--txd=${descriptors}`, `--rxd=${descriptors}`],
      ],
      { logFile: join(folder, 'testpmd.log') },
    );
    try {
      await child.until('sockets', () => allThere(sockets), startLimitMs);
    } catch (error) {
      await child.stop();
      throw error;
    }
    const startMs = performance.now() - startedMs;
    const attachment = { kind: 'sockets', paths: sockets } as const;
    return { pid: child.pid, attachment, startMs, stop: () => child.stop() };
  },
};
