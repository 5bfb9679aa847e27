/**
 * What a driver of packed rings may rely on, clause by clause, seen from the driver's side of real
 * rings that the switch works on. What is the same in both formats is in data-path.test.ts.
 *
 * `flush()` of a sender proves that all its frames were delivered and counted
 * (test/support/network.ts).
 */

import { afterEach, describe, expect, test } from 'vitest';
import { native } from '../../src/native/addon.ts';
import {
  VIRTQ_DESC_F_AVAIL as AVAIL,
  VIRTQ_DESC_F_NEXT as NEXT,
  type PackedRing,
  RING_EVENT_FLAGS_DESC,
  RING_EVENT_FLAGS_DISABLE,
  type TestGuest,
  VIRTQ_DESC_F_USED as USED,
  type VirtioFeatureName,
  VIRTQ_DESC_F_WRITE as WRITE,
} from '../../src/testing/index.ts';
import { vringFdLayout } from '../../src/vhost-user/message.ts';
import { frameBetween } from '../support/ethernet.ts';
import { expectDelivery, SwitchNetwork } from '../support/network.ts';

const packed: VirtioFeatureName[] = ['VIRTIO_F_VERSION_1', 'VIRTIO_F_RING_PACKED'];
const eventIdx: VirtioFeatureName[] = [...packed, 'VIRTIO_F_EVENT_IDX'];
const mergeable: VirtioFeatureName[] = [...packed, 'VIRTIO_NET_F_MRG_RXBUF'];
const receiveq = 0;
const transmitq = 1;
const headerBytes = 12;

let network: SwitchNetwork;
let callFds: number[] = [];

afterEach(async () => {
  await network.close();
  for (const fd of callFds) native().closeFd(fd);
  callFds = [];
});

interface Receiver {
  readonly sender: TestGuest;
  readonly guest: TestGuest;
  readonly ring: PackedRing;
  /** Signalled for the receiveq, and read by nobody else. */
  readonly callFd: number;
}

/** A guest with a receiveq that the test fills and reads itself, and one that sends to it. */
async function connectReceiver(features: VirtioFeatureName[], queueSize = 8): Promise<Receiver> {
  network = SwitchNetwork.open(2);
  const sender = await network.connect(0, { features: packed });
  const guest = await network.connect(1, { features, queueSize, receiveBuffers: 0 });
  const callFd = native().eventfdCreate();
  callFds.push(callFd);
  const payload = { index: receiveq, hasFd: true };
  await guest.frontend.tell('SET_VRING_CALL', vringFdLayout, payload, [callFd]);
  // A new call eventfd is signalled once, for what was used while there was none.
  expect(native().eventfdDrain(callFd)).toBe(1);
  return { sender, guest, ring: guest.raw.packedRing(receiveq), callFd };
}

/** Makes descriptors available from `index` on in the first lap; returns their offsets. */
function offer(
  guest: TestGuest,
  index: number,
  lengths: readonly number[],
  chained = false,
): number[] {
  const ring = guest.raw.packedRing(receiveq);
  const offsets = lengths.map((lengthBytes) => guest.memory.allocate(lengthBytes, 64));
  // Last to first, so that the device finds nothing before it finds all.
  for (const i of [...lengths.keys()].reverse()) {
    const next = chained && i < lengths.length - 1 ? NEXT : 0;
    ring.writeDescriptor(index + i, {
      address: guest.memory.guestAddress(offsets[i]!),
      lengthBytes: lengths[i]!,
      id: chained ? 7 : 20 + index + i,
      flags: AVAIL | WRITE | next,
    });
  }
  return offsets;
}

async function send({ sender }: Receiver, ...lengths: number[]): Promise<void> {
  for (const length of lengths) await sender.send(frameBetween(0, 1, length, length));
  await sender.flush();
}

describe('virtio 1.2 §2.8.6 and §2.8.22: used descriptors', () => {
  test('say the id and the length, with WRITE, and are marked for their lap', async () => {
    const receiver = await connectReceiver(packed);
    const [offset] = offer(receiver.guest, 0, [256, 256]) as [number, number];
    await send(receiver, 61, 90);
    const used = [0, 1].map((index) => receiver.ring.readDescriptor(index));
    expect(used).toMatchObject([
      { id: 20, lengthBytes: headerBytes + 61, flags: AVAIL | USED | WRITE },
      { id: 21, lengthBytes: headerBytes + 90, flags: AVAIL | USED | WRITE },
    ]);
    const frame = receiver.guest.memory.bytes.subarray(offset + headerBytes, offset + 73);
    expect(Buffer.compare(frame, frameBetween(0, 1, 61, 61))).toBe(0);
  });

  test('of a chain are one, and the next is behind the whole chain', async () => {
    const receiver = await connectReceiver(packed);
    offer(receiver.guest, 0, [30, 40, 200], true);
    offer(receiver.guest, 3, [256]);
    await send(receiver, 100, 60);
    const { ring } = receiver;
    expect(ring.readDescriptor(0)).toMatchObject({ id: 7, lengthBytes: headerBytes + 100 });
    expect(ring.flags(0) & (AVAIL | USED)).toBe(AVAIL | USED);
    for (const index of [1, 2]) expect(ring.flags(index) & USED).toBe(0);
    expect(ring.readDescriptor(3)).toMatchObject({ id: 23, lengthBytes: headerBytes + 60 });
  });

  test('of a transmitq have no WRITE, and the buffer is left as it was', async () => {
    network = SwitchNetwork.open(2);
    const [a, b] = (await network.connectAll({ features: packed })) as [TestGuest, TestGuest];
    const frame = frameBetween(0, 1, 1, 100);
    await expectDelivery(a, b, [frame]);
    expect(a.raw.packedRing(transmitq).flags(0)).toBe(AVAIL | USED);
    expect(a.memory.bytes.includes(Buffer.from(frame))).toBe(true);
  });

  test('of a frame in several buffers are seen all at once', async () => {
    const receiver = await connectReceiver(mergeable, 64);
    const { sender, guest, ring } = receiver;
    const perFrame = Math.ceil((headerBytes + 1000) / 64);
    const [offset] = offer(guest, 0, Array(3 * perFrame).fill(64)) as [number];
    const spinsMax = 200_000_000;
    for (let frame = 0; frame < 3; frame++) {
      const first = frame * perFrame;
      sender.transmitq.add(frameBetween(0, 1, frame, 1000));
      sender.transmitq.driver.publish();
      sender.kick('transmitq');
      // Looks again and again without giving way, to see the flags as early as they can be seen.
      for (let spins = 0; (ring.flags(first) & USED) === 0 && spins < spinsMax; spins++);
      const lengths = Array.from({ length: perFrame }, (_, i) => ring.lengthBytes(first + i));
      const flags = Array.from({ length: perFrame }, (_, i) => ring.flags(first + i));
      expect(new Set(flags)).toEqual(new Set([AVAIL | USED | WRITE]));
      expect(lengths.reduce((sum, bytes) => sum + bytes)).toBe(headerBytes + 1000);
    }
    expect(guest.memory.view.getUint16(offset + 10, true)).toBe(perFrame);
  });
});

describe('virtio 1.2 §2.8.10: event suppression', () => {
  test('with DISABLE there is no used buffer notification', async () => {
    const receiver = await connectReceiver(packed);
    receiver.ring.driverEvent = { offWrap: 0, flags: RING_EVENT_FLAGS_DISABLE };
    offer(receiver.guest, 0, Array(8).fill(256));
    await send(receiver, 60, 61, 62);
    expect(native().eventfdDrain(receiver.callFd)).toBe(0);
  });

  test('with DESC there is one when that descriptor is used, and no other', async () => {
    const receiver = await connectReceiver(eventIdx);
    // Descriptor 5 in the first lap, whose wrap counter is 1.
    receiver.ring.driverEvent = { offWrap: 0x8005, flags: RING_EVENT_FLAGS_DESC };
    offer(receiver.guest, 0, Array(8).fill(256));
    for (let index = 0; index < 8; index++) {
      await send(receiver, 60 + index);
      expect(native().eventfdDrain(receiver.callFd), `descriptor ${index}`).toBe(
        index === 5 ? 1 : 0,
      );
    }
  });

  test.each([
    ['DESC', eventIdx],
    ['ENABLE and DISABLE', packed],
  ])('a driver that only kicks when %s asks for it is always served', async (_, features) => {
    network = SwitchNetwork.open(2, { idleUs: 0 });
    const [a, b] = (await network.connectAll({ features, queueSize: 30 })) as [
      TestGuest,
      TestGuest,
    ];
    // The worker sleeps between any two of them, so a kick not asked for would be a frame stuck.
    for (let i = 0; i < 200; i++) await expectDelivery(a, b, [frameBetween(0, 1, i)]);
  });
});

describe('vhost-user "Vring descriptor indices for packed virtqueues", with frames', () => {
  test('GET_VRING_BASE is the place of the next buffer with its wrap counter, in both halves', async () => {
    network = SwitchNetwork.open(2);
    const options = { features: packed, queueSize: 10 };
    const [a, b] = (await network.connectAll(options)) as [TestGuest, TestGuest];
    const bases: string[] = [];
    for (const count of [7, 7]) {
      for (let i = 0; i < count; i++) await expectDelivery(a, b, [frameBetween(0, 1, i)]);
      bases.push((await a.frontend.stopRing(transmitq)).toString(16));
      await a.reconnect();
    }
    // 7 in the lap with wrap counter 1, then 4 in the one with 0.
    expect(bases).toEqual(['80078007', '40004']);
  });
});
