/** A measure that grows is told from one that only varies. */

import { expect, test } from 'vitest';
import { grows, trendOf } from '../../chaos/trend.ts';

/** Even noise around 0, the same each time. */
const noise = (i: number) => ((i * 37) % 11) - 5;

test('a line through samples on a line is that line', () => {
  expect(trendOf([2, 4, 6, 8])).toEqual({ mean: 5, rise: 6, standardError: 0 });
});

test('what never changes does not grow, and one more at the end of each sample does', () => {
  expect(grows(trendOf([7, 7, 7, 7, 7]), 0)).toBe(false);
  expect(grows(trendOf([7, 8, 9, 10, 11]), 0)).toBe(true);
});

test('noise is no growth, and growth is found in noise', () => {
  const samples = Array.from({ length: 60 }, (_, i) => 100 + noise(i));
  expect(grows(trendOf(samples), 0)).toBe(false);
  const growing = samples.map((sample, i) => sample + i / 2);
  expect(grows(trendOf(growing), 0)).toBe(true);
  expect(grows(trendOf(growing), 20)).toBe(true);
  expect(grows(trendOf(growing), 40)).toBe(false);
});

test('what falls does not grow', () => {
  expect(grows(trendOf([9, 7, 6, 4, 1]), 0)).toBe(false);
});
