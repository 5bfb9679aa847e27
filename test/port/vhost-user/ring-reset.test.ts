/**
 * VIRTIO_F_RING_RESET on a port that offers it: a driver resets one queue while the others run, and
 * enables it anew elsewhere and of another size, as `ethtool -G` does (virtio 1.2 §2.6.1).
 */

import { afterEach, expect, test } from 'vitest';
import { native } from '../../../src/native/addon.ts';
import type { DriverQueue } from '../../../src/testing/driver-queue.ts';
import type { TestGuest } from '../../../src/testing/index.ts';
import { ReceiveQueue } from '../../../src/testing/receive-queue.ts';
import { TransmitQueue } from '../../../src/testing/transmit-queue.ts';
import { netHeaderBytes, virtioFeatures } from '../../../src/vhost-user/features.ts';
import { frameBetween } from '../../support/ethernet.ts';
import { expectDelivery, SwitchNetwork } from '../../support/network.ts';

const transmitq = 1;
const { VIRTIO_F_VERSION_1, VIRTIO_F_RING_PACKED, VIRTIO_F_RING_RESET, VIRTIO_NET_F_MQ } =
  virtioFeatures;
const version1 = VIRTIO_F_VERSION_1 | VIRTIO_NET_F_MQ;

let network: SwitchNetwork;
const fds: number[] = [];

afterEach(async () => {
  await network.close();
  for (const fd of fds.splice(0)) native().closeFd(fd);
});

/**
 * Resets a queue and puts the old ring's memory to another use; the result tells if it was left
 * alone.
 */
async function reset(guest: TestGuest, queue: number, old: DriverQueue): Promise<() => boolean> {
  await guest.frontend.stopRing(queue);
  const { desc, avail, used } = old.addresses;
  const { bytes } = guest.memory;
  const bytesAt = (address: bigint, lengthBytes: number) => {
    const at = Number(address - guest.memory.userAddress(0));
    return bytes.subarray(at, at + lengthBytes);
  };
  const parts = [bytesAt(desc, 16), bytesAt(avail, 4), bytesAt(used, 4)];
  for (const part of parts) part.fill(0xee);
  return () => parts.every((part) => part.every((byte) => byte === 0xee));
}

/** What the frontend does once the driver has enabled the queue; returns its new kick eventfd. */
async function enable(guest: TestGuest, queue: number, driver: DriverQueue): Promise<number> {
  const [callFd, kickFd] = [native().eventfdCreate(), native().eventfdCreate()];
  fds.push(callFd, kickFd);
  const { size, base, addresses } = driver;
  await guest.frontend.startRing(queue, { size, base, addresses, callFd, kickFd });
  return kickFd;
}

function framesBetween(from: number, to: number, count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, number) => frameBetween(from, to, number));
}

test('the bit is offered only where it was asked for', async () => {
  network = SwitchNetwork.open(1);
  network.addPort({ ringReset: true });
  const features = version1 | VIRTIO_F_RING_RESET;
  const [without, with_] = await network.connectAll({ features });
  expect(without!.has('VIRTIO_F_RING_RESET')).toBe(false);
  expect(with_!.has('VIRTIO_F_RING_RESET')).toBe(true);
});

test.each([
  ['split', 0n, 64],
  ['packed', VIRTIO_F_RING_PACKED, 100],
])('a queue of %s rings is reset while the others run, and comes back', async (_, format, size) => {
  network = SwitchNetwork.open(1);
  network.addPort({ ringReset: true });
  const features = version1 | VIRTIO_F_RING_RESET | format;
  const peer = await network.connect(0);
  const guest = await network.connect(1, { features, queuePairs: 2 });
  await expectDelivery(peer, guest, framesBetween(0, 1, 200));
  await expectDelivery(guest, peer, framesBetween(1, 0, 200));

  const shape = {
    size,
    packed: format !== 0n,
    eventIdx: false,
    mergeable: false,
    headerBytes: netHeaderBytes(features),
    bufferBytes: 2048,
  };
  const oldTransmitqIsIdle = await reset(guest, transmitq, guest.transmitq.driver);
  for (const frame of framesBetween(1, 0, 200)) await guest.send(frame, { queuePair: 1 });
  for (const frame of framesBetween(1, 0, 200))
    expect(Buffer.compare(await peer.receive(), frame)).toBe(0);
  await expectDelivery(peer, guest, framesBetween(0, 1, 200));
  const newTransmitq = new TransmitQueue(guest.memory, { ...shape, queue: transmitq });
  const kickFd = await enable(guest, transmitq, newTransmitq.driver);
  for (const frame of framesBetween(1, 0, size + 10)) {
    while (!newTransmitq.add(frame)) newTransmitq.reclaim();
    if (newTransmitq.driver.publish()) native().eventfdSignal(kickFd);
    expect(Buffer.compare(await peer.receive(), frame)).toBe(0);
  }

  // All frames of a flow come by one of the receiveqs.
  await peer.send(frameBetween(0, 1));
  const { queuePair } = await guest.receivePacket();
  const receiveq = 2 * queuePair;
  const oldReceiveq = guest.queuePairs[queuePair]!.receiveq.driver;
  const oldReceiveqIsIdle = await reset(guest, receiveq, oldReceiveq);
  const newReceiveq = new ReceiveQueue(guest.memory, { ...shape, queue: receiveq });
  newReceiveq.driver.publish();
  await enable(guest, receiveq, newReceiveq.driver);
  for (const frame of framesBetween(0, 1, size + 10)) {
    await peer.send(frame);
    let received: Uint8Array | undefined;
    await expect.poll(() => (received = newReceiveq.take())).toBeDefined();
    expect(Buffer.compare(received!, frame)).toBe(0);
    newReceiveq.driver.publish();
  }
  expect([oldTransmitqIsIdle(), oldReceiveqIsIdle()]).toEqual([true, true]);
  expect(network.eventsOf('ring-broken')).toEqual([]);
});
