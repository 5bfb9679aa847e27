/**
 * The packed driver against a device played by hand, and IN_ORDER in either format: what is
 * published when, when a kick is due across the wrap, what a used descriptor says, and what breaks
 * the rules.
 */

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  VIRTQ_DESC_F_AVAIL as AVAIL,
  DriverQueue,
  GuestMemory,
  VIRTQ_DESC_F_INDIRECT as INDIRECT,
  VIRTQ_DESC_F_NEXT as NEXT,
  type PackedRing,
  RING_EVENT_FLAGS_DESC,
  RING_EVENT_FLAGS_DISABLE,
  RING_EVENT_FLAGS_ENABLE,
  VIRTQ_DESC_F_USED as USED,
  VIRTQ_DESC_F_WRITE as WRITE,
} from '../../src/testing/index.ts';

const size = 5;
let memory: GuestMemory;

beforeEach(() => {
  memory = GuestMemory.create({ sizeBytes: 1 << 20 });
});

afterEach(() => memory.close());

type Options = Partial<ConstructorParameters<typeof DriverQueue>[1]>;

function packedDriver(options: Options = {}): DriverQueue {
  return new DriverQueue(memory, {
    ...{ queue: 1, size, packed: true, eventIdx: false, direction: 'device-reads' },
    ...options,
  });
}

const pieces = (count: number) =>
  Array.from({ length: count }, () => ({ offset: 0, lengthBytes: 64 }));

function addChain(driver: DriverQueue, count = 1, indirect = false): void {
  expect(driver.hasRoom(count, indirect)).toBe(true);
  driver.add(pieces(count), indirect);
}

/** Uses buffers of `ring` as a device would; it starts with wrap counter 1. */
function deviceOf(ring: PackedRing) {
  let index = 0;
  let wrap = 1;
  return {
    use(id: number, skip = 1, lengthBytes = 0, flags = 0) {
      const used = wrap === 1 ? AVAIL | USED : 0;
      ring.writeDescriptor(index, { address: 0n, lengthBytes, id, flags: flags | used });
      index += skip;
      if (index >= ring.size) {
        index -= ring.size;
        wrap ^= 1;
      }
    },
  };
}

const violation = (words: RegExp) =>
  expect.objectContaining({ code: 'PEER_VIOLATION', message: expect.stringMatching(words) });

describe('a packed ring', () => {
  test('virtio 1.2 §2.8.21: nothing of a batch is available before publish(), then all of it', () => {
    const driver = packedDriver();
    addChain(driver, 2);
    addChain(driver);
    const flags = () => [0, 1, 2].map((index) => driver.packedRing.flags(index));
    expect(flags()[0]).toBe(0);
    driver.publish();
    expect(flags()).toEqual([AVAIL | NEXT, AVAIL, AVAIL]);
  });

  test('virtio 1.2 §2.8.1: the flags swap their meaning with every lap', () => {
    const driver = packedDriver();
    const device = deviceOf(driver.packedRing);
    for (let lap = 0; lap < 4; lap++) {
      for (let index = 0; index < size; index++) {
        addChain(driver);
        driver.publish();
        const { flags, id } = driver.packedRing.readDescriptor(index);
        expect(flags).toBe(lap % 2 === 0 ? AVAIL : USED);
        expect(driver.takeUsed()).toBeUndefined();
        device.use(id);
        expect(driver.takeUsed()?.head).toBe(id);
      }
    }
    expect(driver.base).toBe(0x8000_8000);
  });

  test('a chain crosses the end of the ring', () => {
    const driver = packedDriver();
    const device = deviceOf(driver.packedRing);
    addChain(driver, 3);
    driver.publish();
    device.use(0, 3);
    driver.takeUsed();
    addChain(driver, 4);
    driver.publish();
    const flags = [3, 4, 0, 1].map((index) => driver.packedRing.flags(index));
    expect(flags).toEqual([AVAIL | NEXT, AVAIL | NEXT, USED | NEXT, USED]);
    expect(driver.hasRoom(2, false)).toBe(false);
    // Index 2 with the wrap counter 0, in both halves.
    device.use(driver.packedRing.readDescriptor(1).id, 4);
    expect(driver.takeUsed()?.pieces).toHaveLength(4);
    expect(driver.base).toBe(0x0002_0002);
  });

  test('virtio 1.2 §2.8.7: an indirect table takes one descriptor', () => {
    const driver = packedDriver();
    addChain(driver, 4, true);
    driver.publish();
    const { flags, lengthBytes } = driver.packedRing.readDescriptor(0);
    expect([flags, lengthBytes]).toEqual([AVAIL | INDIRECT, 64]);
    expect(driver.hasRoom(size - 1, false)).toBe(true);
  });

  test('buffers may come back in any order', () => {
    const driver = packedDriver();
    const device = deviceOf(driver.packedRing);
    for (let i = 0; i < 3; i++) addChain(driver);
    driver.publish();
    for (const id of [2, 0, 1]) device.use(id);
    expect([1, 2, 3].map(() => driver.takeUsed()?.head)).toEqual([2, 0, 1]);
    expect(driver.outstanding).toBe(0);
  });

  test.each([
    ['with WRITE is what was written', WRITE, 40],
    ['without WRITE means nothing (§2.8.4)', 0, 0],
  ])('the length of a used descriptor %s', (_, flags, writtenBytes) => {
    const driver = packedDriver({ direction: 'device-writes' });
    addChain(driver);
    driver.publish();
    deviceOf(driver.packedRing).use(0, 1, 40, flags);
    expect(driver.takeUsed()?.writtenBytes).toBe(writtenBytes);
  });

  test.each([
    ['an id that is not available', 3, 0, /used element 3 is no available chain/],
    ['more than there is room for', 0, 65, /65 bytes written to a chain with room for 64/],
  ])('a device that uses %s is caught', (_, id, lengthBytes, words) => {
    const driver = packedDriver({ direction: 'device-writes' });
    addChain(driver);
    driver.publish();
    deviceOf(driver.packedRing).use(id, 1, lengthBytes, WRITE);
    expect(() => driver.takeUsed()).toThrow(violation(words));
  });
});

describe('notifications of a packed ring, virtio 1.2 §2.8.10', () => {
  test.each([
    ['ENABLE: always', RING_EVENT_FLAGS_ENABLE, true],
    ['DISABLE: never', RING_EVENT_FLAGS_DISABLE, false],
  ])('%s', (_, flags, due) => {
    const driver = packedDriver();
    driver.packedRing.deviceEvent = { offWrap: 0, flags };
    addChain(driver);
    expect(driver.publish()).toBe(due);
  });

  test('DESC: a kick is due when that descriptor is made available, and in its lap only', () => {
    const driver = packedDriver({ eventIdx: true });
    const device = deviceOf(driver.packedRing);
    const kicks: number[] = [];
    // Descriptor 3 of the second lap, whose wrap counter is 0.
    driver.packedRing.deviceEvent = { offWrap: 3, flags: RING_EVENT_FLAGS_DESC };
    for (let i = 0; i < 3 * size; i++) {
      addChain(driver);
      if (driver.publish()) kicks.push(i);
      device.use(driver.packedRing.readDescriptor(i % size).id);
      driver.takeUsed();
    }
    expect(kicks).toEqual([size + 3]);
  });

  test('an interrupt is asked for at the next used buffer, with EVENT_IDX by its place', () => {
    const driver = packedDriver({ eventIdx: true });
    const device = deviceOf(driver.packedRing);
    expect(driver.packedRing.driverEvent.flags).toBe(RING_EVENT_FLAGS_DISABLE);
    for (let i = 0; i < size + 1; i++) {
      addChain(driver);
      driver.publish();
      expect(driver.armInterrupt()).toBe(true);
      const wrap = i < size ? 0x8000 : 0;
      const offWrap = (i % size) | wrap;
      expect(driver.packedRing.driverEvent).toEqual({ offWrap, flags: RING_EVENT_FLAGS_DESC });
      device.use(driver.packedRing.readDescriptor(i % size).id);
      expect(driver.armInterrupt()).toBe(false);
      driver.takeUsed();
    }
  });
});

describe.each([
  ['split', false],
  ['packed', true],
])('IN_ORDER, %s: virtio 1.2 §2.7.9, §2.8.8', (_, packed) => {
  /** The device says that everything up to the buffer `id`, `count` of them, is used. */
  function useUpTo(driver: DriverQueue, id: number, count: number, lengthBytes: number): void {
    if (packed) deviceOf(driver.packedRing).use(id, count, lengthBytes, WRITE);
    else {
      driver.ring.setUsedElement(0, { id, lengthBytes });
      driver.ring.usedIndex = count;
    }
  }

  test('one used element stands for a batch, whose other buffers are full', () => {
    const driver = packedDriver({ packed, size: 4, inOrder: true, direction: 'device-writes' });
    for (let i = 0; i < 4; i++) addChain(driver);
    driver.publish();
    useUpTo(driver, 2, 3, 10);
    const used = [1, 2, 3].map(() => driver.takeUsed());
    expect(used.map((chain) => chain?.head)).toEqual([0, 1, 2]);
    expect(used.map((chain) => chain?.writtenBytes)).toEqual([64, 64, 10]);
    expect(driver.takeUsed()).toBeUndefined();
    expect(driver.outstanding).toBe(1);
  });

  test('while some of a batch is not taken, no interrupt is waited for', () => {
    const driver = packedDriver({ packed, size: 4, inOrder: true });
    for (let i = 0; i < 2; i++) addChain(driver);
    driver.publish();
    useUpTo(driver, 1, 2, 0);
    driver.takeUsed();
    expect(driver.armInterrupt()).toBe(false);
    driver.takeUsed();
    expect(driver.armInterrupt()).toBe(true);
  });

  test('descriptors are taken in ring order, also after many laps', () => {
    const driver = packedDriver({ packed: false, size: 4, inOrder: true });
    for (let i = 0; i < 20; i++) {
      addChain(driver, 1 + (i % 2));
      driver.publish();
      const head = driver.ring.availEntry(i % 4);
      expect(head).toBe((Math.floor(i / 2) * 3 + (i % 2)) % 4);
      driver.ring.setUsedElement(i % 4, { id: head, lengthBytes: 0 });
      driver.ring.usedIndex = i + 1;
      driver.takeUsed();
    }
  });
});
