/**
 * Where captures go: memory up to its limit, and what is not taken beyond it.
 */

import { expect, test } from 'vitest';
import { MemorySink, memoryBytesMax, roomBytesMin } from '../../src/capture/capture-sink.ts';

/** Has one block at a time, as long as there is room for it. */
class Ring {
  bytes = 0;
  #given = true;

  fill(): void {
    this.#given = false;
  }

  read(room: Uint8Array): number {
    expect(room.length).toBeGreaterThanOrEqual(roomBytesMin);
    if (this.#given) return 0;
    this.#given = true;
    new DataView(room.buffer, room.byteOffset).setUint32(4, room.length, true);
    this.bytes += room.length;
    return room.length;
  }

  writeTo(): number {
    throw new Error('memory is no file');
  }
}

test('memory takes what it says it does, up to its limit, and nothing beyond it', () => {
  const sink = new MemorySink();
  const ring = new Ring();
  while (sink.refused === 0) {
    expect(ring.bytes).toBeLessThanOrEqual(memoryBytesMax);
    ring.fill();
    sink.takeFrom(ring);
  }
  expect(ring.bytes).toBeGreaterThan(memoryBytesMax - (1 << 24));
  const kept = sink.read().length;
  expect(kept).toBeLessThanOrEqual(memoryBytesMax);
  ring.fill();
  sink.takeFrom(ring);
  sink.append(new Uint8Array(4));
  expect(sink.refused).toBe(2);
  expect(sink.read().length).toBe(kept);
});
