/**
 * A fuzzer of one's own protocol: fast-check thinks of messages and of links, the worst it can, and
 * the switch plays them with a clock of its own, thousands of simulated seconds in one.
 *
 * With a seed the same frames meet the same fate, so what fails once fails again, and fast-check
 * makes it as small as it can.
 */

import fc from 'fast-check';
import { type Impairment, Switch } from 'tsvswitch';
import { expect, test } from 'vitest';
import { transfer } from './stop-and-wait.ts';

const chance = fc.double({ min: 0, max: 0.5, noNaN: true });
const badLink: fc.Arbitrary<Impairment> = fc.record({
  loss: chance,
  duplicate: chance,
  corrupt: chance,
  reorder: fc.record({ probability: chance, lateByMs: fc.integer({ min: 1, max: 200 }) }),
});
const transfers = fc.record({
  link: badLink,
  messages: fc.array(fc.string(), { maxLength: 5 }),
  seed: fc.integer({ min: 0, max: 0x7fff_ffff }),
});

/** Whether every message arrives once and in order, with so many numbers to tell them apart. */
function arrivesWith(numbers: number) {
  return fc.property(transfers, ({ link, messages, seed }) => {
    const vswitch = Switch.open({ clock: 'manual', seed });
    try {
      const ends = [
        vswitch.addPort({ process: 'sender' }),
        vswitch.addPort({ process: 'receiver' }),
      ] as const;
      vswitch.impair({ between: ends }, link);
      expect(transfer(vswitch, ends, messages, numbers)).toEqual(messages);
    } finally {
      vswitch.close();
    }
  });
}

test('numbered messages arrive once and in order over any link', () => {
  fc.assert(arrivesWith(1000), { numRuns: 200 });
});

test('one bit is not enough: the fuzzer finds a link that mixes messages up', () => {
  const { failed, counterexample } = fc.check(arrivesWith(2), { seed: 1 });
  expect(failed).toBe(true);
  expect(counterexample![0].link.reorder!.probability).toBeGreaterThan(0);
});
