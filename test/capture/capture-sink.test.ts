/**
 * Where captures go: memory up to its limit, and what is not taken beyond it.
 */

import { expect, test } from 'vitest';
import { MemorySink, memoryBytesMax, roomBytesMin } from '../../src/capture/capture-sink.ts';

test('memory takes what it says it does, up to its limit, and nothing beyond it', () => {
  const sink = new MemorySink();
  let taken = 0;
  for (;;) {
    const room = sink.room();
    expect(room.length).toBeGreaterThanOrEqual(roomBytesMin);
    if (!sink.take(room.length)) break;
    taken += room.length;
    expect(taken).toBeLessThanOrEqual(memoryBytesMax);
  }
  expect(taken).toBeGreaterThan(memoryBytesMax - (1 << 24));
  expect(sink.take(1)).toBe(false);
  expect(sink.room().length).toBeGreaterThanOrEqual(roomBytesMin);
});
