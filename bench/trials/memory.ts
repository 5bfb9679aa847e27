/** Connected guests: what the switch's process has in memory, not counting what guests brought. */

import { join } from 'node:path';
import { connectIdle, guestMemoryName } from '../client.ts';
import { residentBytes } from '../proc.ts';
import type { Trial } from './trial.ts';

export function memoryTrial(ports: number): Trial {
  return {
    name: `memory, ${ports} ports`,
    ports,
    measures: [
      { name: `resident memory, ${ports} ports`, unit: 'MB', decimals: 0, better: 'lower' },
    ],
    run: async ({ subject, sockets, memory, folder }) => {
      const guests = await connectIdle(sockets, memory, join(folder, 'guests.log'));
      try {
        return { values: [residentBytes(subject.pid, guestMemoryName) / 1e6] };
      } finally {
        await guests.stop();
      }
    },
  };
}
