/**
 * Connected guests that are silent: how much of a core the switch uses, all its threads added, and
 * how much memory it has.
 */

import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectIdle, type GuestMemory, guestMemoryName } from '../client.ts';
import type { RunningSwitch } from '../drivers/driver.ts';
import { cpuSeconds, residentBytes } from '../proc.ts';
import type { Child } from '../process.ts';
import type { Trial } from './trial.ts';

/** CPU time comes in hundredths of a second: this many seconds make 0.5 % readable. */
const secondsMin = 2;
/** What connecting and learning leave to do. */
const settleMs = 300;

/** Small enough for 64 guests' memory to fit where that of a few busy ones does. */
const queueSizeOfMany = 256;
const manyPorts = 16;

function connectSilent(
  { attachment }: RunningSwitch,
  memory: GuestMemory,
  folder: string,
  ports: number,
): Promise<Child> {
  const queueSize = ports > manyPorts ? queueSizeOfMany : 1024;
  return connectIdle(attachment, memory, queueSize, join(folder, 'guests.log'));
}

function processOf({ pid }: RunningSwitch): number {
  if (pid === undefined) throw new Error('the switch has no process of its own');
  return pid;
}

/** All threads of the switch with silent guests. */
export function idleTrial(ports: number): Trial {
  const name = `idle CPU, ${ports} ports`;
  return {
    name,
    ports,
    needs: ['process'],
    measures: [{ name, unit: '% of a core', decimals: 1, better: 'lower' }],
    run: async ({ subject, memory, folder, seconds }) => {
      const pid = processOf(subject);
      const guests = await connectSilent(subject, memory, folder, ports);
      try {
        await sleep(settleMs);
        const cpuBefore = cpuSeconds(pid);
        const startedMs = performance.now();
        await sleep(Math.max(seconds, secondsMin) * 1000);
        const wallSeconds = (performance.now() - startedMs) / 1000;
        return { values: [((cpuSeconds(pid) - cpuBefore) / wallSeconds) * 100] };
      } finally {
        await guests.stop();
      }
    },
  };
}

/** Connected guests: what the switch's process has in memory, not counting what guests brought. */
export function memoryTrial(ports: number): Trial {
  const name = `resident memory, ${ports} ports`;
  return {
    name,
    ports,
    needs: ['process'],
    measures: [{ name, unit: 'MB', decimals: 0, better: 'lower' }],
    run: async ({ subject, memory, folder }) => {
      const guests = await connectSilent(subject, memory, folder, ports);
      try {
        return { values: [residentBytes(processOf(subject), guestMemoryName) / 1e6] };
      } finally {
        await guests.stop();
      }
    },
  };
}
