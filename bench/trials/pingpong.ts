/** One frame at a time: how long it takes from one guest to the other when nothing else is on. */

import { pingpong } from '../client.ts';
import type { Trial } from './trial.ts';

export function pingpongTrial(frameBytes: number): Trial {
  const name = `one frame at a time, ${frameBytes} B`;
  const measure = (percentile: string) =>
    ({
      name: `${name}, one way, ${percentile}`,
      unit: 'ns',
      decimals: 0,
      better: 'lower',
    }) as const;
  return {
    name,
    ports: 2,
    measures: [measure('p50'), measure('p99'), measure('p99.9')],
    run: async ({ subject, sockets, memory, quiet, warmupS, seconds }) => {
      const options = { sockets, memory, frameBytes, touch: 'headers', warmupS, seconds } as const;
      const { result, ...verdict } = await quiet.measure(subject.pid, () => pingpong(options));
      return { values: [result.p50Ns, result.p99Ns, result.p999Ns], details: result, ...verdict };
    },
  };
}
