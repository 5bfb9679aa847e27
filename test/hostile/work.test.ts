/**
 * Guests and frontends that make work or memory (attacks/work.ts), at a switch with one worker: the
 * frames of everybody else go on, whole and in order, and the ones who make it lose nothing that
 * breaks no rule.
 */

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Arena } from './arena.ts';
import { keepRegions, labours } from './attacks/work.ts';
import { formats } from './raw-queue.ts';

let arena: Arena;
beforeAll(async () => {
  arena = await Arena.open();
});
afterAll(() => arena.close());

const { longChains, emptyDescriptors, costlyBuffers, lateReports } = labours;

describe.each(formats)('with a %s ring', (format) => {
  test.each([longChains, emptyDescriptors])('class 25: $name hold nobody up', ({ strike }) =>
    arena.attack(async () => {
      await strike(arena, format);
      expect(arena.warnings).toEqual([]);
    }),
  );

  test(`class 25: ${costlyBuffers.name} lose their own frames only, all counted`, () =>
    arena.attack(async () => {
      const unfit = async () => {
        const { noBuffer, bufferTooSmall } = (await arena.drops()) as Record<string, number>;
        return noBuffer! + bufferTooSmall!;
      };
      const before = await unfit();
      await costlyBuffers.strike(arena, format);
      expect((await unfit()) - before).toBeGreaterThanOrEqual(400);
      expect(arena.warnings).toEqual([]);
    }));

  test('class 26: of the inflight regions a frontend keeps only the last has pages, and none when it has left', () =>
    arena.attack(async () => {
      expect(await keepRegions(arena, format)).toEqual({ kept: 64, during: 1, after: 0 });
    }));

  test(`class 27: ${lateReports.name} are served`, () =>
    arena.attack(() => lateReports.strike(arena, format)));
});
