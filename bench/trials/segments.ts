/**
 * TCP frames of 64 KiB from guest to guest, every byte written and checked, next to what memcpy
 * moves between the same two cores at the same time of day.
 */

import { coreCopy, flood, type Traffic } from '../client.ts';
import type { Trial } from './trial.ts';

/** The window leaves a receiveq of 256 pages room for what a guest has not taken yet. */
const traffic: Traffic = { frame: 'tso', touch: 'bytes', queueSize: 256, window: 12 };

const name = 'TCP frames of 64 KiB, every byte touched';

export const segmentsTrial: Trial = {
  name,
  ports: 2,
  needs: ['segmentation'],
  measures: [
    { name, unit: 'Gbit/s', decimals: 1, better: 'higher' },
    {
      name: 'the same in units of memcpy between the two cores',
      unit: 'x',
      decimals: 2,
      better: 'higher',
    },
  ],
  reference: async ({ quiet, ...span }) =>
    (await quiet.measure(undefined, () => coreCopy(traffic, span))).result,
  run: async ({ subject, quiet, reference, ...span }) => {
    const { result, ...verdict } = await quiet.measure(subject.pid, () =>
      flood(subject.attachment, traffic, span),
    );
    const { gbitPerSecond } = result;
    const details = { ...result, memcpyGbitPerSecond: reference };
    return { values: [gbitPerSecond, gbitPerSecond / reference], details, ...verdict };
  },
};
