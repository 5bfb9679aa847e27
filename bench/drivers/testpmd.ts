/**
 * DPDK's testpmd in io mode: two vhost ports joined without looking at a frame. Not a switch, but
 * the least that DPDK can do, and so the yardstick for what a switch adds.
 */

import { join } from 'node:path';
import { run } from '../process.ts';
import { type Driver, findProgram, launch, listening, missingHugePages } from './driver.ts';

const program = 'dpdk-testpmd';
const buffers = 16384;
const descriptors = 1024;

export const testpmd: Driver = {
  name: 'testpmd io',
  // Debian's RTE_MAX_ETHPORTS.
  portsMax: 32,
  lacks: { 'second worker': 'measured with one worker only', 'no checks': 'not built here' },

  unavailable: () =>
    findProgram(program) === undefined ? `${program} not found` : missingHugePages(),

  version: async () => {
    const limitMs = 10_000;
    const version = await run('pkg-config', ['--modversion', 'libdpdk'], { limitMs }).catch(
      () => '(version unknown)',
    );
    return `DPDK ${version.trim()}`;
  },

  start: ({ folder, sockets, mainCpu, workerCpu, needs }) => {
    // Offloads of a frame as it comes in are those of a frame to be sent only with the old flags:
    // io forwarding translates nothing.
    const tso = needs.includes('segmentation') ? ',tso=1,legacy-ol-flags=1' : '';
    return launch(async (children) => {
      const child = children.start(
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
      return listening(child, sockets);
    });
  },
};
