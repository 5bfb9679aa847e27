/** A series that fails is cut down to what makes it fail. */

import { expect, test } from 'vitest';
import { shortest } from '../../chaos/shortest.ts';

const series = Array.from({ length: 100 }, (_, i) => i);
const triesMax = 1000;

test.each([
  ['the last event alone', [99]],
  ['one far from the end', [3]],
  ['three that need each other', [10, 50, 98]],
])('%s is found', async (_, guilty) => {
  const fails = async (part: readonly number[]) => guilty.every((item) => part.includes(item));
  expect(await shortest(series, fails, triesMax)).toEqual(guilty);
});

test('what does not fail again stays as it was', async () => {
  expect(await shortest(series, async () => false, triesMax)).toEqual(series);
});

test('tries come to an end', async () => {
  let tries = 0;
  const fails = async (part: readonly number[]) => {
    tries++;
    return part.includes(10) && part.includes(50);
  };
  const found = await shortest(series, fails, 20);
  expect(tries).toBe(20);
  expect(found).toContain(10);
  expect(found).toContain(50);
});
