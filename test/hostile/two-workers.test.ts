/**
 * Guests that are slow, loud or stuck (attacks/endurance.ts), and frontends that take their memory
 * away, at a switch with two workers: what one of them waits for holds up neither the frames of the
 * other nor its own.
 */

import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { Arena, patience } from './arena.ts';
import { ordeals } from './attacks/endurance.ts';
import { discoveries, truncate } from './attacks/frontends.ts';
import { formats } from './raw-queue.ts';

let arena: Arena;
beforeAll(async () => {
  arena = await Arena.open(2);
});
afterAll(() => arena.close());

const { neverTakesFrames, oneBuffer, ringElsewhere, kicksForNothing, eventIndexes, addressFlood } =
  ordeals;
const bearable = [
  neverTakesFrames,
  oneBuffer,
  ringElsewhere,
  kicksForNothing,
  eventIndexes,
  addressFlood,
];

describe.each(formats)('with a %s ring', (format) => {
  test.each(bearable)('class $class: $name slows nobody down', ({ strike }) =>
    arena.attack(async () => {
      await strike(arena, format);
      expect(arena.warnings).toEqual([]);
    }),
  );

  test.each(discoveries)(
    'class 21: memory that is truncated is told of in one line, found out by %s',
    (discovery) =>
      arena.attack(async () => {
        await truncate(arena, format, discovery);
        expect(await arena.warning()).toBe(
          "port attacked: the file behind the guest's memory was truncated; its session ends",
        );
      }),
  );
});

test('class 24: an eventfd that blocks is waited for once, and costs the session', () =>
  arena.attack(async () => {
    await ordeals.fullEventfd.strike(arena, 'split');
    expect(await arena.warning()).toMatch(
      /made an eventfd blocking and filled it.*session closed$/,
    );
    await vi.waitFor(() => arena.connect(), { ...patience, interval: 100 });
  }));
