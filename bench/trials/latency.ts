/** One frame at a time: how long it takes from one guest to the other when nothing else is on. */

import { type LatencyResult, pingpong, type Span, type Traffic, wake } from '../client.ts';
import type { Attachment } from '../drivers/driver.ts';
import type { ChartPlace, Measure, Trial } from './trial.ts';

const percentiles = ['p50', 'p99', 'p99.9'];

/** The three measures of a latency; the first of them is in a chart. */
export function latencyMeasures(what: string, place: ChartPlace): Measure[] {
  return percentiles.map((percentile, i) => ({
    name: `${what}, one way, ${percentile}`,
    unit: 'ns',
    decimals: 0,
    better: 'lower',
    ...(i === 0 ? { charts: [place] } : {}),
  }));
}

export function latencyValues({ p50Ns, p99Ns, p999Ns }: LatencyResult): number[] {
  return [p50Ns, p99Ns, p999Ns];
}

function singleFrameTrial(
  name: string,
  category: string,
  measure: (to: Attachment, traffic: Traffic, span: Span) => Promise<LatencyResult>,
): Trial {
  return {
    name,
    ports: 2,
    measures: latencyMeasures(name, { id: 'latency', category }),
    run: async ({ subject, quiet, ...span }) => {
      const { result, ...verdict } = await quiet.measure(subject.pid, () =>
        measure(subject.attachment, { frame: 64 }, span),
      );
      return { values: latencyValues(result), details: result, ...verdict };
    },
  };
}

export const pingpongTrial = singleFrameTrial(
  'one frame at a time, 64 B',
  'one at a time',
  pingpong,
);

/** Twenty times as long as this switch goes on looking before it sleeps. */
const pauseUs = 1000;

export const wakeTrial = singleFrameTrial(
  'one frame after 1 ms of silence, 64 B',
  'after 1 ms of silence',
  (to, traffic, span) => wake(to, traffic, pauseUs, span),
);
