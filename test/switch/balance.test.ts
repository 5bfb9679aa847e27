/** Which transmitq moves to which worker, and when none does. */

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { chooseMove, type TransmitqLoad } from '../../src/switch/balance.ts';

const load = (queue: number, worker: number, frames: number): TransmitqLoad => ({
  port: 0,
  queue,
  worker,
  frames,
});

test('the queue that evens out two workers best moves to the idler one', () => {
  const loads = [load(1, 0, 100), load(3, 0, 40), load(5, 0, 60), load(7, 1, 80)];
  expect(chooseMove(loads, 2)).toEqual({ port: 0, queue: 5, worker: 1 });
});

test('a single busy queue stays where it is: moving it would only move the load', () => {
  expect(chooseMove([load(1, 0, 1000), load(3, 1, 10)], 2)).toBeUndefined();
});

test('workers that are nearly even are left alone', () => {
  expect(chooseMove([load(1, 0, 60), load(3, 0, 50), load(5, 1, 100)], 2)).toBeUndefined();
});

test('nothing moves where nothing runs, and with one worker', () => {
  expect(chooseMove([], 4)).toBeUndefined();
  expect(chooseMove([load(1, 0, 5), load(3, 0, 5)], 1)).toBeUndefined();
});

test('every move makes the busiest pair more even, and moves come to an end', () => {
  const someLoads = fc.array(fc.tuple(fc.nat(3), fc.nat(1000)), { maxLength: 20 });
  fc.assert(
    fc.property(someLoads, (pairs) => {
      let loads = pairs.map(([worker, frames], i) => load(2 * i + 1, worker, frames));
      const spread = () => {
        const totals = [0, 0, 0, 0];
        for (const { worker, frames } of loads) totals[worker]! += frames;
        return totals.reduce((sum, total) => sum + total * total, 0);
      };
      for (let moves = 0; ; moves += 1) {
        expect(moves).toBeLessThan(1000);
        const move = chooseMove(loads, 4);
        if (move === undefined) return;
        const before = spread();
        loads = loads.map((l) => (l.queue === move.queue ? { ...l, worker: move.worker } : l));
        expect(spread()).toBeLessThan(before);
      }
    }),
  );
});
