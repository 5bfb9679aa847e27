/** Connected guests that are silent: how much of a core the switch uses, all its threads added. */

import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectIdle } from '../client.ts';
import { cpuSeconds } from '../proc.ts';
import type { Trial } from './trial.ts';

/** CPU time comes in hundredths of a second: this many seconds make 0.5 % readable. */
const secondsMin = 2;
/** What connecting and learning leave to do. */
const settleMs = 300;

export function idleTrial(ports: number): Trial {
  return {
    name: `idle, ${ports} ports`,
    ports,
    measures: [
      { name: `idle CPU, ${ports} ports`, unit: '% of a core', decimals: 1, better: 'lower' },
    ],
    run: async ({ subject, sockets, memory, folder, seconds }) => {
      const guests = await connectIdle(sockets, memory, join(folder, 'guests.log'));
      try {
        await sleep(settleMs);
        const cpuBefore = cpuSeconds(subject.pid);
        const startedMs = performance.now();
        await sleep(Math.max(seconds, secondsMin) * 1000);
        const wallSeconds = (performance.now() - startedMs) / 1000;
        return { values: [((cpuSeconds(subject.pid) - cpuBefore) / wallSeconds) * 100] };
      } finally {
        await guests.stop();
      }
    },
  };
}
