/**
 * A load below the limit: how long frames take under it, and whether all of them arrive.
 *
 * Each load is a share of what the very same process of the switch just delivered when flooded, so that
 * each switch is loaded alike. Frames are sent evenly in time; the time that counts is from when a
 * frame was due. They are of 1500 B, since of small ones the client cannot offer evenly what the fastest
 * switches take.
 */

import { flood, offerLoad, type Traffic } from '../client.ts';
import { latencyMeasures, latencyValues } from './latency.ts';
import type { Sample, Trial, TrialContext } from './trial.ts';

/** A receiveq has room for all that gathers in a transmitq while a switch does not run for a moment. */
const frame = 1500;
const traffic: Traffic = { frame, transmitQueueSize: 256 };
const floodS = 0.5;

async function ownRateMpps({ subject, warmupS, memory }: TrialContext): Promise<number> {
  const span = { memory, warmupS, seconds: floodS };
  return (await flood(subject.attachment, traffic, span)).deliveredMpps;
}

/** Latency at several shares, in percent, of the switch's own rate. */
export function loadTrial(percents: readonly number[]): Trial {
  return {
    name: `latency under load, ${frame} B`,
    ports: 2,
    measures: percents.flatMap((percent) =>
      latencyMeasures(`${frame} B at ${percent} % load`, {
        id: 'latency',
        category: `${percent} % load`,
      }),
    ),
    run: async (context) => {
      const { subject, quiet, memory, warmupS, seconds } = context;
      const span = { memory, warmupS, seconds };
      const samples: Sample[] = [];
      for (const percent of percents) {
        const rateMpps = await ownRateMpps(context);
        const { result, ...verdict } = await quiet.measure(subject.pid, () =>
          offerLoad(subject.attachment, traffic, (rateMpps * percent) / 100, span),
        );
        const details = { floodMpps: rateMpps, ...result };
        samples.push({ values: latencyValues(result), details, ...verdict });
      }
      const disturbed = samples.find((sample) => sample.disturbed !== undefined)?.disturbed;
      return {
        values: samples.flatMap(({ values }) => values),
        details: samples.map(({ details }) => details),
        ...(disturbed === undefined ? {} : { disturbed }),
      };
    },
  };
}

/** How many frames of a steady load are lost. */
export function lossTrial(percent: number, seconds: number): Trial {
  const name = `frames lost in ${seconds} s at ${percent} % load, ${frame} B`;
  return {
    name,
    ports: 2,
    roundsMax: 1,
    measures: [
      { name, unit: 'frames', decimals: 0, better: 'lower' },
      { name: 'the load that was', unit: 'Mpps', decimals: 2, better: 'higher' },
    ],
    run: async (context) => {
      const { subject, quiet, memory, warmupS } = context;
      const rateMpps = await ownRateMpps(context);
      const { result, ...verdict } = await quiet.measure(subject.pid, () =>
        offerLoad(subject.attachment, traffic, (rateMpps * percent) / 100, {
          memory,
          warmupS,
          seconds,
        }),
      );
      return { values: [result.undelivered, result.sentMpps], details: result, ...verdict };
    },
  };
}
