/**
 * No switch at all: a thread of the client that hands each frame to the next port
 * (native/bench/reflector.h), where a switch has its worker.
 *
 * It is the ceiling of the client: a switch whose rate comes near it is not what was measured.
 */

import type { Driver } from './driver.ts';

const split = 'the reflector knows split rings and frames of one piece only';

export const reflector: Driver = {
  name: 'no switch',
  lacks: {
    process: 'a thread of the client',
    sockets: 'a thread of the client',
    machines: 'a thread of the client',
    packed: split,
    segmentation: split,
    'second worker': 'one thread',
    'no checks': 'it checks nothing',
  },

  unavailable: () => undefined,

  version: async () => 'the client alone',

  start: async ({ sockets, workerCpu }) => ({
    pid: undefined,
    attachment: { kind: 'reflector', ports: sockets.length, cpu: workerCpu },
    startMs: 0,
    stop: async () => {},
  }),
};
