/**
 * What happens in a run of chaos follows from its seed, and nothing in an event is at odds with the
 * rest of it.
 */

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Action, describe, eventOf, guests } from '../../chaos/event.ts';

const seeds = fc.nat(2 ** 31 - 1);
const numbers = fc.nat(100_000);

/** The guests that an action happens to. */
function guestsOf(action: Action): number[] {
  switch (action.kind) {
    case 'delay':
    case 'lose':
      return [action.from, action.to];
    case 'partition':
      return action.sides.flat();
    case 'restart':
      return Array.from({ length: guests }, (_, guest) => guest);
    case 'add-worker':
    case 'reset-machine':
    case 'kill-machine':
      return [];
    default:
      return [action.guest];
  }
}

test('an event is the same whenever it is asked for', () => {
  fc.assert(
    fc.property(seeds, numbers, fc.boolean(), (seed, number, withMachine) => {
      const event = eventOf(seed, number, withMachine);
      expect(eventOf(seed, number, withMachine)).toEqual(event);
      expect(describe(event)).toMatch(/^event \d+, \d+ frames later: [^\n]+$/);
    }),
  );
});

test('no two things happen to one guest at once', () => {
  fc.assert(
    fc.property(seeds, numbers, (seed, number) => {
      const touched = eventOf(seed, number, true).actions.flatMap(guestsOf);
      expect(new Set(touched).size).toBe(touched.length);
      for (const guest of touched) expect(guest).toBeLessThan(guests);
    }),
  );
});

test('a partition has guests on both sides', () => {
  const partitions = Array.from({ length: 1000 }, (_, number) => eventOf(1, number, false).actions)
    .flat()
    .filter((action) => action.kind === 'partition');
  expect(partitions).not.toHaveLength(0);
  for (const { sides } of partitions) {
    expect(sides.every((side) => side.length > 0)).toBe(true);
    expect(sides.flat().toSorted()).toEqual([0, 1, 2, 3]);
  }
});

test('everything happens to who waits long enough, and nothing to a machine that is not there', () => {
  const kindsOf = (withMachine: boolean) =>
    new Set(
      Array.from({ length: 1000 }, (_, number) => eventOf(7, number, withMachine).actions)
        .flat()
        .map(({ kind }) => kind),
    );
  const machine = ['kill-machine', 'reset-machine'];
  const simulated = [...kindsOf(false)].toSorted();
  expect(simulated).toHaveLength(11);
  expect([...kindsOf(true)].toSorted()).toEqual([...simulated, ...machine].toSorted());
});
