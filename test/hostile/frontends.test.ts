/**
 * Frontends that lie (attacks/frontends.ts) and guests that wear the switch out
 * (attacks/endurance.ts). A lie ends the session of who told it, in one sentence; being slow, loud
 * or many costs nobody else anything.
 *
 * Sizes and indexes of queues are in test/guests/misconfigured.test.ts, too, the codes of refusals
 * in test/guests/frontend-faults.test.ts.
 */

import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { Arena, patience } from './arena.ts';
import { addresses, framesNeverTaken, ordeals } from './attacks/endurance.ts';
import { discoveries, lie, liesIn, truncate } from './attacks/frontends.ts';
import { formats } from './raw-queue.ts';

let arena: Arena;
beforeAll(async () => {
  arena = await Arena.open();
});
afterAll(() => arena.close());

const expectNobodyThere = () =>
  vi.waitFor(async () => expect((await arena.status()).frontend).toBeUndefined(), patience);

describe.each(formats)(
  'with %s rings a frontend loses its session, and only that, for',
  (format) => {
    const punished = liesIn(format).filter(({ said }) => said !== undefined);
    test.each(punished)('$name', (each) =>
      arena.attack(async () => {
        await lie(arena, format, each);
        const [, sentence] =
          /^port attacked: (.+); session closed$/.exec(await arena.warning()) ?? [];
        expect(sentence).toMatch(each.said!);
        await expectNobodyThere();
      }),
    );
  },
);

describe.each(formats)('class 21: memory that is truncated under a %s ring', (format) => {
  test.each(discoveries)('is found out by %s', (discovery) =>
    arena.attack(async () => {
      await truncate(arena, format, discovery);
      await vi.waitFor(
        () =>
          expect(arena.warnings).toContain(
            "port attacked: the file behind the guest's memory was truncated; its session ends",
          ),
        patience,
      );
      await expectNobodyThere();
    }),
  );
});

describe.each(formats)('with a %s ring', (format) => {
  test('class 20: a guest that never takes a frame slows nobody down', () =>
    arena.attack(async () => {
      const before = (await arena.drops()).noBuffer!;
      await ordeals.neverTakesFrames.strike(arena, format);
      expect((await arena.drops()).noBuffer).toBe(before + framesNeverTaken);
    }));

  test('class 20: kicks without anything to find slow nobody down', () =>
    arena.attack(() => ordeals.kicksForNothing.strike(arena, format)));

  test('class 20: an event index of any value costs calls and nothing else', () =>
    arena.attack(async () => {
      await ordeals.eventIndexes.strike(arena, format);
      expect(arena.warnings).toEqual([]);
    }));

  test('class 22: a storm of frontends that leave at any point leaves nothing behind', () =>
    arena.attack(async () => {
      await ordeals.reconnectStorm.strike(arena, format);
      await expectNobodyThere();
    }));

  test('class 23: a guest with more addresses than a port may have takes no entry from others', () =>
    arena.attack(async () => {
      const entriesPerPortMax = 4096;
      expect(addresses).toBeGreaterThan(entriesPerPortMax);
      const others = async () =>
        (await arena.control.fdb()).filter(({ port }) => port !== 'attacked').map(({ mac }) => mac);
      const before = (await others()).sort();
      expect(before.length).toBeGreaterThanOrEqual(3);
      await ordeals.addressFlood.strike(arena, format);
      expect((await others()).sort()).toEqual(before);
      const own = (await arena.control.fdb()).filter(({ port }) => port === 'attacked');
      expect(own).toHaveLength(entriesPerPortMax);
    }));

  test('class 24: a call fd that is no eventfd is refused', () =>
    arena.attack(async () => {
      await expect(ordeals.fullPipe.strike(arena, format)).rejects.toMatchObject({
        code: 'REFUSED',
      });
      expect(await arena.warning()).toBe(
        'port attacked: SET_VRING_CALL for queue 1: what was passed is no eventfd and no stream socket; ' +
          'session closed',
      );
    }));

  test('class 24: an eventfd that blocks is waited for once, and costs the session', () =>
    arena.attack(async () => {
      const since = performance.now();
      await ordeals.fullEventfd.strike(arena, format);
      expect(await arena.warning()).toBe(
        'port attacked: the frontend made an eventfd blocking and filled it, which held up the switch; ' +
          'nobody is served here for 2 s; session closed',
      );
      await expectNobodyThere();
      await vi.waitFor(() => arena.connect(), { ...patience, interval: 100 });
      expect(performance.now() - since).toBeGreaterThan(2000);
    }));
});
