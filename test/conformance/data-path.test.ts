/**
 * What a driver may rely on, clause by clause, seen from the driver's side of real rings that the
 * switch works on.
 *
 * `flush()` of a sender proves that all its frames were delivered and counted
 * (test/support/network.ts).
 */

import { afterEach, describe, expect, test } from 'vitest';
import { native } from '../../src/native/addon.ts';
import type { TestGuest } from '../../src/testing/index.ts';
import { VIRTQ_DESC_F_WRITE } from '../../src/testing/split-ring.ts';
import { virtioFeatures } from '../../src/vhost-user/features.ts';
import { vringFdLayout } from '../../src/vhost-user/message.ts';
import { frameBetween } from '../support/ethernet.ts';
import { deliveredTo, expectDelivery, SwitchNetwork } from '../support/network.ts';

const {
  VIRTIO_F_VERSION_1: version1,
  VIRTIO_NET_F_MRG_RXBUF: mergeable,
  VIRTIO_F_EVENT_IDX: eventIdx,
} = virtioFeatures;
const receiveq = 0;
const transmitq = 1;

let network: SwitchNetwork;

afterEach(() => network.close());

/** Two guests; the second with a receiveq that the test fills and reads itself. */
async function connect(
  features: bigint,
  options: { receiveBuffers?: number; receiveBufferBytes?: number } = {},
): Promise<[TestGuest, TestGuest]> {
  network = SwitchNetwork.open(2);
  const a = await network.connect(0, { features: version1 });
  return [a, await network.connect(1, { features, ...options })];
}

/** Makes `count` buffers of `lengthBytes` available in the order of their descriptors. */
function offerBuffers(guest: TestGuest, count: number, lengthBytes: number): number[] {
  const { ring } = guest.receiveq.driver;
  const offsets = Array.from({ length: count }, () => guest.memory.allocate(lengthBytes, 64));
  for (const [i, offset] of offsets.entries()) {
    guest.memory.bytes.fill(0xee, offset, offset + lengthBytes);
    const address = guest.memory.guestAddress(offset);
    ring.writeDescriptor(i, { address, lengthBytes, flags: VIRTQ_DESC_F_WRITE, next: 0 });
    ring.setAvailEntry(i, i);
  }
  ring.availIndex = count;
  return offsets;
}

/** Takes the call eventfd away: nobody but the test reads the ring. */
async function hush(guest: TestGuest, index: number): Promise<void> {
  await guest.frontend.tell('SET_VRING_CALL', vringFdLayout, { index, hasFd: false });
}

describe('virtio 1.2 §2.7.8.2 the used ring', () => {
  test('len and the frame are written before idx', async () => {
    const [a, b] = await connect(version1, { receiveBuffers: 0 });
    await hush(b, receiveq);
    const { ring } = b.receiveq.driver;
    const rounds = 200;
    const offsets = offerBuffers(b, rounds, 256);
    const spinsMax = 200_000_000;
    for (let i = 0; i < rounds; i++) {
      // A new length each time, so that an old len would show.
      const frame = frameBetween(0, 1, i, 60 + (i % 128));
      a.transmitq.add(frame, {});
      a.transmitq.driver.publish();
      a.kick('transmitq');
      // Looks again and again without giving way, to see the index as early as it can be seen.
      for (let spins = 0; ring.usedIndex === i && spins < spinsMax; spins++);
      expect(ring.usedElement(i)).toEqual({ id: i, lengthBytes: 12 + frame.length });
      const at = offsets[i]! + 12;
      const written = b.memory.bytes.subarray(at, at + frame.length);
      expect(Buffer.compare(written, frame)).toBe(0);
    }
  });

  test('len is what was written, and nothing is written behind it', async () => {
    const [a, b] = await connect(version1, { receiveBuffers: 0 });
    await hush(b, receiveq);
    const [offset] = offerBuffers(b, 1, 256) as [number];
    await a.send(frameBetween(0, 1, 1, 61));
    await a.flush();
    expect(b.receiveq.driver.ring.usedElement(0)).toEqual({ id: 0, lengthBytes: 73 });
    const behind = b.memory.bytes.subarray(offset + 73, offset + 256);
    expect(behind.every((byte) => byte === 0xee)).toBe(true);
  });

  test('a transmit buffer is returned with len 0 and left as it was', async () => {
    const [a, b] = await connect(version1);
    const frame = frameBetween(0, 1, 1, 100);
    a.transmitq.add(frame, {});
    await hush(a, transmitq);
    a.transmitq.driver.publish();
    a.kick('transmitq');
    await b.receive();
    const { ring } = a.transmitq.driver;
    await expect.poll(() => ring.usedIndex).toBe(1);
    expect(ring.usedElement(0).lengthBytes).toBe(0);
    expect(a.memory.bytes.includes(Buffer.from(frame))).toBe(true);
  });
});

describe('virtio 1.2 §2.7.14 receiving used buffers', () => {
  test('buffers are used in the order in which they were made available', async () => {
    const [a, b] = await connect(version1, { receiveBuffers: 0 });
    await hush(b, receiveq);
    offerBuffers(b, 100, 256);
    for (let i = 0; i < 100; i++) await a.send(frameBetween(0, 1, i));
    await a.flush();
    const { ring } = b.receiveq.driver;
    const ids = Array.from({ length: 100 }, (_, slot) => ring.usedElement(slot).id);
    expect(ids).toEqual(Array.from({ length: 100 }, (_, i) => i));
  });
});

describe('virtio 1.2 §2.7.7 used buffer notifications', () => {
  test.each([
    ['VIRTQ_AVAIL_F_NO_INTERRUPT', version1],
    ['a used_event that is far ahead', version1 | eventIdx],
  ])('none is sent with %s', async (_, features) => {
    const [a, b] = await connect(features);
    const { driver } = b.receiveq;
    driver.disarmInterrupt();
    for (let i = 0; i < 100; i++) await a.send(frameBetween(0, 1, i));
    await a.flush();
    expect(deliveredTo(b)).toBe(100);
    expect(network.port(1).counters.toGuest.notifications).toBe(0);
  });

  test('one is sent when the used index passes used_event, and not again', async () => {
    const [a, b] = await connect(version1 | eventIdx, { receiveBuffers: 0 });
    const { ring } = b.receiveq.driver;
    const callFd = native().eventfdCreate();
    const payload = { index: receiveq, hasFd: true };
    await b.frontend.tell('SET_VRING_CALL', vringFdLayout, payload, [callFd]);
    // A new call eventfd is signalled once, for what was used while there was none.
    expect(native().eventfdDrain(callFd)).toBe(1);
    offerBuffers(b, 20, 256);
    ring.usedEvent = 9;
    for (let i = 0; i < 20; i++) {
      await a.send(frameBetween(0, 1, i));
      await a.flush();
      expect(native().eventfdDrain(callFd)).toBe(i === 9 ? 1 : 0);
    }
    native().closeFd(callFd);
  });
});

describe('virtio 1.2 §2.7.10 available buffer notifications', () => {
  test.each([
    ['avail_event', version1 | eventIdx],
    ['VIRTQ_USED_F_NO_NOTIFY', version1],
  ])('a driver that only kicks when %s asks for it is always served', async (_, features) => {
    network = SwitchNetwork.open(2, { idleUs: 0 });
    const [a, b] = (await network.connectAll({ features })) as [TestGuest, TestGuest];
    // The worker sleeps between any two of them, so a kick not asked for would be a frame stuck.
    for (let i = 0; i < 200; i++) await expectDelivery(a, b, [frameBetween(0, 1, i)]);
  });
});

describe('virtio 1.2 §5.1.6.2 packet transmission', () => {
  test('the header may share a descriptor with the frame, or be cut anywhere', async () => {
    network = SwitchNetwork.open(2);
    const [a, b] = (await network.connectAll()) as [TestGuest, TestGuest];
    for (let cut = 1; cut <= 40; cut++) {
      await expectDelivery(a, b, [frameBetween(0, 1, cut)], { pieces: [cut] });
    }
  });
});

describe('virtio 1.2 §5.1.6.4.1 processing of incoming packets', () => {
  test('without MRG_RXBUF num_buffers is 1 and the rest of the header 0', async () => {
    const [a, b] = await connect(version1);
    await expectDelivery(a, b, [frameBetween(0, 1, 1)]);
    expect([...b.receiveq.lastHeader]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
  });

  test('without VERSION_1 and MRG_RXBUF (§5.1.6.1) the header has 10 bytes', async () => {
    const [a, b] = await connect(0n);
    await expectDelivery(a, b, [frameBetween(0, 1, 1)]);
    expect([...b.receiveq.lastHeader]).toEqual(Array(10).fill(0));
  });

  test('§5.1.6.3.1: with MRG_RXBUF all buffers but the last are full, and counted', async () => {
    const [a, b] = await connect(version1 | mergeable, { receiveBuffers: 0 });
    await hush(b, receiveq);
    const [offset] = offerBuffers(b, 10, 256) as [number];
    const frame = frameBetween(0, 1, 1, 900);
    await a.send(frame);
    await a.flush();
    const { ring } = b.receiveq.driver;
    expect(ring.usedIndex).toBe(4);
    const lengths = [0, 1, 2, 3].map((slot) => ring.usedElement(slot).lengthBytes);
    expect(lengths).toEqual([256, 256, 256, 12 + 900 - 3 * 256]);
    expect(b.memory.view.getUint16(offset + 10, true)).toBe(4);
  });

  test('the used index moves over all buffers of a frame at once', async () => {
    const [a, b] = await connect(version1 | mergeable, { receiveBuffers: 0 });
    await hush(b, receiveq);
    offerBuffers(b, 256, 64);
    const { ring } = b.receiveq.driver;
    const perFrame = Math.ceil((12 + 1000) / 64);
    const spinsMax = 200_000_000;
    for (let frames = 0; frames < 10; frames++) {
      a.transmitq.add(frameBetween(0, 1, frames, 1000), {});
      a.transmitq.driver.publish();
      a.kick('transmitq');
      const before = frames * perFrame;
      for (let spins = 0; ring.usedIndex === before && spins < spinsMax; spins++);
      expect(ring.usedIndex).toBe((frames + 1) * perFrame);
    }
  });
});

describe('vhost-user "Ring states", with frames', () => {
  /** Starts the transmitq again where it stopped, with eventfds nobody has signalled. */
  async function restart(guest: TestGuest, base: number): Promise<() => void> {
    const [callFd, kickFd] = [native().eventfdCreate(), native().eventfdCreate()];
    const { size, addresses } = guest.transmitq.driver.ring;
    await guest.frontend.startRing(transmitq, { size, base, addresses, callFd, kickFd });
    return () => {
      for (const fd of [callFd, kickFd]) native().closeFd(fd);
    };
  }

  test('a stopped ring is not touched; started, it needs no kick', async () => {
    network = SwitchNetwork.open(3);
    const [a, b, c] = (await network.connectAll()) as [TestGuest, TestGuest, TestGuest];
    const base = await a.frontend.stopRing(transmitq);
    a.transmitq.add(frameBetween(0, 1, 1), {});
    a.transmitq.driver.publish();
    // The worker goes round for others meanwhile.
    await expectDelivery(c, b, [frameBetween(2, 1, 7)]);
    expect(a.transmitq.driver.ring.usedIndex).toBe(base);
    const release = await restart(a, base);
    expect(Buffer.compare(await b.receive(), frameBetween(0, 1, 1))).toBe(0);
    release();
  });

  test('a disabled receiveq is supplied no frame', async () => {
    network = SwitchNetwork.open(2);
    const [a, b] = (await network.connectAll()) as [TestGuest, TestGuest];
    await b.frontend.enableRing(receiveq, false);
    await a.send(frameBetween(0, 1, 1));
    await a.flush();
    expect(deliveredTo(b)).toBe(0);
    expect(network.port(1).counters.drops.notReady).toBe(1);
    await b.frontend.enableRing(receiveq, true);
    await expectDelivery(a, b, [frameBetween(0, 1, 2)]);
  });

  test('a disabled transmitq is processed and its frames are discarded', async () => {
    network = SwitchNetwork.open(2);
    const [a, b] = (await network.connectAll()) as [TestGuest, TestGuest];
    await a.frontend.enableRing(transmitq, false);
    await a.send(frameBetween(0, 1, 1));
    await a.flush();
    expect(deliveredTo(b)).toBe(0);
    expect(network.port(0).counters.drops.disabled).toBe(1);
    await a.frontend.enableRing(transmitq, true);
    await expectDelivery(a, b, [frameBetween(0, 1, 2)]);
  });

  test('GET_VRING_BASE is the index of the next buffer, whichever direction', async () => {
    network = SwitchNetwork.open(2);
    const [a, b] = (await network.connectAll()) as [TestGuest, TestGuest];
    await expectDelivery(
      a,
      b,
      Array.from({ length: 37 }, (_, i) => frameBetween(0, 1, i)),
    );
    expect(await a.frontend.stopRing(transmitq)).toBe(37);
    expect(await b.frontend.stopRing(receiveq)).toBe(37);
    // Of a stopped ring too.
    expect(await a.frontend.stopRing(transmitq)).toBe(37);
  });
});
