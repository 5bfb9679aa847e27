/**
 * A load below the limit: how long frames take under it, and whether all of them arrive.
 *
 * A load is a share of what the very same process of the switch just delivered when flooded, which
 * for a fast switch is more than for a slow one, or the same for all. Frames are sent evenly in
 * time; the time that counts is from when a frame was due. They are of 1500 B, since of small ones
 * the client cannot offer evenly what the fastest switches take.
 */

import { flood, type LoadResult, NothingTimed, offerLoad, type Traffic } from '../client.ts';
import { latencyMeasures, latencyValues } from './latency.ts';
import type { Sample, Trial, TrialContext } from './trial.ts';

/**
 * A receiveq has room for all that gathers in a transmitq while a switch does not run for a moment.
 */
const frame = 1500;
const traffic: Traffic = { frame, transmitQueueSize: 256 };
const floodS = 0.5;

async function ownRateMpps({ subject, warmupS, memory }: TrialContext): Promise<number> {
  const span = { memory, warmupS, seconds: floodS };
  return (await flood(subject.attachment, traffic, span)).deliveredMpps;
}

/** A share of the switch's own rate, or the same for every switch. */
type Load = { readonly percent: number } | { readonly mpps: number };

function nameOf(load: Load): string {
  return 'mpps' in load ? `${load.mpps} Mpps` : `${load.percent} % load`;
}

interface Offered {
  readonly floodMpps: number | undefined;
  readonly result: LoadResult;
  readonly disturbed?: string;
}

/**
 * On a machine that slows down after the rate was taken the client is behind its load from start to
 * end, and no frame can be timed: the rate is taken, and the load offered, again.
 */
async function offer(context: TrialContext, load: Load): Promise<Offered> {
  const { subject, quiet, memory, warmupS, seconds } = context;
  const attempts = 3;
  for (let attempt = 1; ; attempt += 1) {
    const floodMpps = 'mpps' in load ? undefined : await ownRateMpps(context);
    const loadMpps = 'mpps' in load ? load.mpps : (floodMpps! * load.percent) / 100;
    try {
      const measured = await quiet.measure(subject.pid, () =>
        offerLoad(subject.attachment, traffic, loadMpps, { memory, warmupS, seconds }),
      );
      return { floodMpps, ...measured };
    } catch (error) {
      if (!(error instanceof NothingTimed) || attempt === attempts) throw error;
    }
  }
}

/** Latency under several loads. */
export function loadTrial(loads: readonly Load[]): Trial {
  return {
    name: `latency at ${loads.map(nameOf).join(', ')}, ${frame} B`,
    ports: 2,
    measures: loads.flatMap((load) =>
      latencyMeasures(`${frame} B at ${nameOf(load)}`, { id: 'latency', category: nameOf(load) }),
    ),
    run: async (context) => {
      const samples: Sample[] = [];
      for (const load of loads) {
        const { floodMpps, result, ...verdict } = await offer(context, load);
        samples.push({
          values: latencyValues(result),
          details: { floodMpps, ...result },
          ...verdict,
        });
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
