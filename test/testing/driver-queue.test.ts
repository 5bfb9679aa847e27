/**
 * The driver against a device played by hand: what it publishes, when it kicks and asks for
 * interrupts, and that it notices a device that breaks the rules. What a device that keeps them
 * makes of it is in guest.test.ts.
 */

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DriverQueue, GuestMemory, ReceiveQueue } from '../../src/testing/index.ts';

const size = 8;
const headerBytes = 12;
let memory: GuestMemory;

beforeEach(() => {
  memory = GuestMemory.create({ sizeBytes: 1 << 20 });
});

afterEach(() => memory.close());

/** Writes the used ring of `driver` as a device would; the tests are the device. */
function deviceOf(driver: DriverQueue) {
  const { userAddress } = memory.regions[0]!;
  const used = Number(driver.ring.addresses.used - userAddress);
  const avail = Number(driver.ring.addresses.avail - userAddress);
  let index = 0;
  return {
    availEntry: (slot: number) => memory.view.getUint16(avail + 4 + 2 * slot, true),
    availFlags: () => memory.view.getUint16(avail, true),
    usedEvent: () => memory.view.getUint16(avail + 4 + 2 * size, true),
    setUsedFlags: (flags: number) => memory.view.setUint16(used, flags, true),
    setAvailEvent: (event: number) => memory.view.setUint16(used + 4 + 8 * size, event, true),
    setUsedIndex: (value: number) => memory.view.setUint16(used + 2, value, true),
    use(id: number, lengthBytes: number) {
      const at = used + 4 + 8 * (index % size);
      memory.view.setUint32(at, id, true);
      memory.view.setUint32(at + 4, lengthBytes, true);
      index++;
      memory.view.setUint16(used + 2, index, true);
    },
  };
}

function transmitDriver(eventIdx: boolean): DriverQueue {
  return new DriverQueue(memory, { queue: 1, size, eventIdx, direction: 'device-reads' });
}

function addChain(driver: DriverQueue, pieceCount = 1): void {
  const pieces = Array.from({ length: pieceCount }, () => ({ offset: 0, lengthBytes: 64 }));
  expect(driver.hasRoom(pieceCount, false)).toBe(true);
  driver.add(pieces, false);
}

const violation = (words: RegExp) =>
  expect.objectContaining({ code: 'PEER_VIOLATION', message: expect.stringMatching(words) });

describe('supplying buffers', () => {
  test('virtio 1.2 §2.7.13.3: a chain is not available before publish()', () => {
    const driver = transmitDriver(false);
    addChain(driver);
    expect(driver.ring.availIndex).toBe(0);
    driver.publish();
    expect(driver.ring.availIndex).toBe(1);
  });

  test('indexes wrap at 65536, long after the ring does', () => {
    const driver = transmitDriver(true);
    const device = deviceOf(driver);
    for (let i = 0; i < 65536 + 3; i++) {
      addChain(driver, 1 + (i % 3));
      driver.publish();
      device.use(device.availEntry(i % size), 0);
      if (driver.takeUsed() === undefined) expect.unreachable(`chain ${i} was not taken`);
    }
    expect(driver.ring.availIndex).toBe(3);
    expect(driver.ring.usedIndex).toBe(3);
    expect(driver.outstanding).toBe(0);
  });

  test('a full ring has no room until a chain is used', () => {
    const driver = transmitDriver(false);
    const device = deviceOf(driver);
    addChain(driver, 3);
    addChain(driver, 5);
    expect(driver.hasRoom(1, false)).toBe(false);
    driver.publish();
    device.use(device.availEntry(0), 0);
    driver.takeUsed();
    expect(driver.hasRoom(3, false)).toBe(true);
    expect(driver.hasRoom(4, false)).toBe(false);
  });

  test.each([
    ['no pieces', 0, false],
    ['more pieces than the ring has', size + 1, false],
    ['an indirect table longer than the ring (§2.7.5.3.1)', size + 1, true],
  ])('a chain of %s is refused', (_, pieceCount, indirect) => {
    expect(() => transmitDriver(false).checkLength(pieceCount, indirect)).toThrow(
      expect.objectContaining({ code: 'BAD_OPTION' }),
    );
  });
});

describe('notifications', () => {
  test('virtio 1.2 §2.7.10: without EVENT_IDX a kick is due unless NO_NOTIFY is set', () => {
    const driver = transmitDriver(false);
    const device = deviceOf(driver);
    addChain(driver);
    expect(driver.publish()).toBe(true);
    device.setUsedFlags(1);
    addChain(driver);
    expect(driver.publish()).toBe(false);
  });

  test('virtio 1.2 §2.7.10: with EVENT_IDX a kick is due when avail_event is passed', () => {
    const driver = transmitDriver(true);
    const device = deviceOf(driver);
    device.setAvailEvent(2);
    addChain(driver);
    addChain(driver);
    expect(driver.publish()).toBe(false);
    addChain(driver);
    expect(driver.publish()).toBe(true);
    addChain(driver);
    expect(driver.publish()).toBe(false);
  });

  test('publishing nothing kicks nobody', () => {
    expect(transmitDriver(false).publish()).toBe(false);
  });

  test('interrupts are off until armed, and arming tells of what was missed', () => {
    const driver = transmitDriver(false);
    const device = deviceOf(driver);
    expect(device.availFlags()).toBe(1);
    expect(driver.armInterrupt()).toBe(true);
    expect(device.availFlags()).toBe(0);
    addChain(driver);
    driver.publish();
    device.use(device.availEntry(0), 0);
    expect(driver.armInterrupt()).toBe(false);
    driver.disarmInterrupt();
    expect(device.availFlags()).toBe(1);
  });

  test('with EVENT_IDX arming asks for the very next used chain', () => {
    const driver = transmitDriver(true);
    const device = deviceOf(driver);
    addChain(driver);
    driver.publish();
    device.use(device.availEntry(0), 0);
    driver.takeUsed();
    driver.armInterrupt();
    expect(device.usedEvent()).toBe(1);
  });
});

describe('a device that breaks the rules is caught', () => {
  test('using more chains than are available', () => {
    const driver = transmitDriver(false);
    addChain(driver);
    driver.publish();
    deviceOf(driver).setUsedIndex(2);
    expect(() => driver.takeUsed()).toThrow(violation(/queue 1: used index jumps by 2 with 1/));
  });

  test('using a chain that is not available', () => {
    const driver = transmitDriver(false);
    addChain(driver);
    driver.publish();
    deviceOf(driver).use(5, 0);
    expect(() => driver.takeUsed()).toThrow(violation(/used element 5 is no available chain/));
  });

  test('claiming to have written to a chain it may only read', () => {
    const driver = transmitDriver(false);
    addChain(driver);
    driver.publish();
    deviceOf(driver).use(0, 1);
    expect(() => driver.takeUsed()).toThrow(
      violation(/1 bytes written to a chain with room for 0/),
    );
  });
});

describe('a device that delivers frames wrongly is caught', () => {
  function receiver(mergeable = true) {
    const queue = new ReceiveQueue(memory, {
      queue: 0,
      size,
      eventIdx: false,
      headerBytes,
      mergeable,
      bufferBytes: 128,
      bufferCount: size,
    });
    queue.driver.publish();
    const device = deviceOf(queue.driver);
    let delivered = 0;
    /** Writes a buffer's header and length into the next available chain. */
    const deliver = (lengthBytes: number, bufferCount: number) => {
      const head = device.availEntry(delivered % size);
      // Buffers were allocated in the order of their heads, 128 bytes apart.
      const [{ userAddress, guestAddress }] = memory.regions as [(typeof memory.regions)[0]];
      const descriptor = Number(queue.driver.ring.addresses.desc - userAddress) + 16 * head;
      const offset = Number(memory.view.getBigUint64(descriptor, true) - guestAddress);
      memory.view.setUint16(offset + 10, bufferCount, true);
      device.use(head, lengthBytes);
      delivered++;
    };
    return { queue, deliver };
  }

  test('shorter than its header', () => {
    const { queue, deliver } = receiver();
    deliver(headerBytes - 1, 1);
    expect(() => queue.take()).toThrow(violation(/a frame of 11 bytes where the header alone/));
  });

  test('in more bytes than the buffer has', () => {
    const { queue, deliver } = receiver();
    deliver(129, 1);
    expect(() => queue.take()).toThrow(violation(/129 bytes written .* room for 128/));
  });

  test('in no buffers', () => {
    const { queue, deliver } = receiver();
    deliver(72, 0);
    expect(() => queue.take()).toThrow(violation(/in 0 buffers/));
  });

  test('virtio 1.2 §5.1.6.4.1: in buffers that are not used all at once', () => {
    const { queue, deliver } = receiver();
    deliver(128, 2);
    expect(() => queue.take()).toThrow(violation(/1 of the 2 buffers of a frame were used/));
  });

  test('while one that keeps the rules gets its buffers back and its header shown', () => {
    const { queue, deliver } = receiver();
    for (let i = 0; i < 3 * size; i++) {
      deliver(128, 2);
      deliver(20, 1);
      expect(queue.take()?.length).toBe(128 - headerBytes + 20);
      expect(queue.lastHeader[10]).toBe(2);
      expect(queue.driver.publish()).toBe(true);
    }
  });
});
