/** Every transmitq full, every receiveq drained: how many frames a second arrive, all ports added. */

import { flood, type Touch } from '../client.ts';
import type { Trial } from './trial.ts';

export interface FloodShape {
  readonly frameBytes: number;
  readonly touch: Touch;
  readonly ports: number;
}

export function floodTrial({ frameBytes, touch, ports }: FloodShape): Trial {
  const name = `flood ${frameBytes} B, client touches ${touch}${ports === 2 ? '' : `, ${ports} ports`}`;
  return {
    name,
    ports,
    measures: [{ name, unit: 'Mpps', decimals: 2, better: 'higher' }],
    run: async ({ subject, sockets, memory, quiet, warmupS, seconds }) => {
      const options = { sockets, memory, frameBytes, touch, warmupS, seconds };
      const { result, ...verdict } = await quiet.measure(subject.pid, () => flood(options));
      return { values: [result.deliveredMpps], details: result, ...verdict };
    },
  };
}
