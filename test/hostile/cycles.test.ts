/**
 * Machines by the hundred (cycles.ts); `npm run survivors -- --cycles 10000` goes through
 * thousands.
 */

import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { wear } from './cycles.ts';
import { type RunningTarget, tsvswitch } from './targets.ts';

/** The first half brings every heap and cache to its size. */
const cycles = 500;
/** Less than 16 KiB for each machine of the second half. */
const growthBytesMax = 4 << 20;

let running: RunningTarget;
beforeAll(async () => {
  // V8 lets young objects take tens of megabytes before it looks after them; a leak would hide in
  // there.
  vi.stubEnv('NODE_OPTIONS', '--max-semi-space-size=1');
  running = await tsvswitch().start();
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await running.stop();
});

test(`${cycles} machines that connect, negotiate and are killed leave nothing behind`, async () => {
  const [before, half, whole] = await wear(running, cycles, 2);
  expect(half!.holdings).toEqual(before!.holdings);
  expect(whole!.holdings).toEqual(before!.holdings);
  expect(whole!.residentBytes - half!.residentBytes).toBeLessThan(growthBytesMax);
});
