/** Machines by the hundred (cycles.ts); `npm run survivors -- --cycles 10000` goes through thousands. */

import { afterAll, beforeAll, expect, test } from 'vitest';
import { wear } from './cycles.ts';
import { type RunningTarget, tsvswitch } from './targets.ts';

/** The first half brings every heap and cache to its size. */
const cycles = 500;
/** Less than 64 KiB for each machine of the second half. */
const growthBytesMax = 16 << 20;

let running: RunningTarget;
beforeAll(async () => {
  running = await tsvswitch().start();
});
afterAll(() => running.stop());

test(`${cycles} machines that connect, negotiate and are killed leave nothing behind`, async () => {
  const [before, half, whole] = await wear(running, cycles, 2);
  expect(half!.holdings).toEqual(before!.holdings);
  expect(whole!.holdings).toEqual(before!.holdings);
  expect(whole!.residentBytes - half!.residentBytes).toBeLessThan(growthBytesMax);
});
