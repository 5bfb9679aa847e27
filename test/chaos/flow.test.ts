/**
 * What a flow of numbered frames lets pass and what it does not; and that frames tell when they
 * were spoilt.
 */

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Flow } from '../../chaos/flow.ts';
import { numberedFrame, readNumbered } from '../../chaos/numbered-frame.ts';

const windowFrames = 8;

/** A flow that has sent this many, of which those below `arrived` are there. */
function flowOf(sent: number, arrived = 0): Flow {
  const flow = new Flow('from a to b', windowFrames);
  for (let i = 0; i < sent; i++) flow.take();
  for (let i = 0; i < arrived; i++) flow.arrived(i);
  return flow;
}

test('frames in their turn open the window again', () => {
  const flow = flowOf(windowFrames);
  expect(flow.room).toBe(0);
  flow.arrived(0);
  flow.arrived(1);
  expect(flow.room).toBe(2);
  expect(flow.isDrained).toBe(false);
});

test.each([
  ['a frame that is missing', 2, 'frames 1 to 1 were lost'],
  ['a frame that comes again', 0, 'frame 0 arrived after frame 0'],
  ['a frame that nobody has sent', 4, 'frame 4 arrived and was never sent'],
])('%s is a violation', (_, number, sentence) => {
  const flow = flowOf(4, 1);
  expect(() => flow.arrived(number)).toThrow(sentence);
});

test('what is under way while the flow is disturbed may be lost, and nothing sent later', () => {
  const flow = flowOf(4, 1);
  flow.disturb();
  flow.settle();
  expect(flow.room).toBe(windowFrames);
  for (let i = 0; i < 4; i++) flow.take();
  flow.arrived(4);
  expect(flow.lost).toBe(3);
  expect(() => flow.arrived(6)).toThrow('frames 5 to 5 were lost');
});

test('no disturbance excuses a frame that comes again', () => {
  const flow = flowOf(4, 3);
  flow.disturb();
  expect(() => flow.arrived(1)).toThrow('arrived after');
});

test('a partition lets pass what was sent before and after it, and nothing between', () => {
  const flow = flowOf(2);
  flow.disturb();
  flow.cut();
  flow.take();
  flow.arrived(0);
  expect(() => flow.arrived(2)).toThrow('came through a partition');
  flow.mend();
  flow.settle();
  expect(() => flow.arrived(2)).toThrow('came through a partition');
  flow.take();
  flow.arrived(3);
});

test('after a crash what was in hand may come again, once and in its turn', () => {
  const flow = flowOf(6, 4);
  flow.disturb();
  flow.crashed();
  flow.arrived(2);
  flow.arrived(3);
  expect(() => flow.arrived(3)).toThrow('arrived after');
  flow.arrived(4);
  expect(() => flow.arrived(2)).toThrow('arrived after');
  expect(flow.repeated).toBe(2);
});

test('frames say who sent them, to whom and as which, at any length', () => {
  const numbers = fc.record({ from: fc.nat(4), to: fc.nat(4), number: fc.nat(2 ** 32 - 1) });
  fc.assert(
    fc.property(numbers, (numbered) => {
      const frame = numberedFrame(numbered);
      expect(frame.length).toBeGreaterThanOrEqual(60);
      expect(frame.length).toBeLessThanOrEqual(1514);
      expect(readNumbered(frame)).toEqual(numbered);
    }),
  );
});

test('a frame of which a bit was changed, or its end is missing, is no longer one', () => {
  const frame = numberedFrame({ from: 1, to: 2, number: 77 });
  fc.assert(
    fc.property(fc.nat(8 * frame.length - 1), (bit) => {
      const spoilt = Uint8Array.from(frame);
      spoilt[bit >> 3]! ^= 1 << (bit & 7);
      expect(readNumbered(spoilt)).toBeUndefined();
    }),
  );
  expect(readNumbered(frame.subarray(0, -1))).toBeUndefined();
  expect(readNumbered(frame.subarray(0, 20))).toBeUndefined();
});
