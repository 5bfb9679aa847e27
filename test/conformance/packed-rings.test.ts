/**
 * Packed rings: virtio 1.2 §2.8, and what vhost-user says about their bases, on a port of a real
 * switch.
 */

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { virtioFeatures } from '../../src/vhost-user/features.ts';
import { Peer, usualFeatures } from './peer.ts';

const packed = usualFeatures | virtioFeatures.VIRTIO_F_RING_PACKED;
/** Index 5 with wrap counter 1, as the next to take and the next to return. */
const baseFive = 0x8005_8005;

let peer: Peer;

beforeEach(() => {
  peer = new Peer();
});
afterEach(() => peer.close());

async function ready(features = packed): Promise<void> {
  await peer.negotiate(features);
  await peer.share();
}

describe('virtio 1.2 §2.8 packed virtqueues', () => {
  test.each([1, 3, 255, 513, 32767, 32768])('the size may be %d', async (size) => {
    await ready();
    await peer.start(0, peer.packedRing(size));
    expect(await peer.network.event('ring-started')).toMatchObject({ queue: 0, size });
  });

  test.each([0, 32769])('the size may not be %d', async (size) => {
    await ready();
    await peer.vring('SET_VRING_NUM', 0, size);
    expect(await peer.refusal()).toMatch(/^BAD_VALUE /);
  });

  test('the driver and device areas are 4 bytes, however large the ring', async () => {
    await ready();
    const { userAddress, sizeBytes } = peer.memory.region(0);
    const last = userAddress + sizeBytes - 4n;
    const { addresses } = peer.packedRing(32768);
    await peer.vring('SET_VRING_NUM', 0, 32768);
    await peer.address(0, { ...addresses, avail: last, used: last });
    await peer.eventfd('SET_VRING_KICK', 0);
    await peer.settled();
    expect(peer.ring(0)).toMatchObject({ state: 'started' });
  });

  test.each(['avail', 'used'] as const)('a %s area that is cut off is refused', async (part) => {
    await ready();
    const { userAddress, sizeBytes } = peer.memory.region(0);
    await peer.vring('SET_VRING_NUM', 0, 256);
    await peer.address(0, { ...peer.packedRing().addresses, [part]: userAddress + sizeBytes });
    await peer.eventfd('SET_VRING_KICK', 0);
    expect(await peer.refusal()).toMatch(/^RING_UNMAPPED /);
  });

  test.each([
    ['desc', 8n],
    ['avail', 2n],
    ['used', 2n],
  ] as const)('%s off its alignment is refused', async (part, offBytes) => {
    await ready();
    const { addresses } = peer.packedRing();
    await peer.address(0, { ...addresses, [part]: addresses[part] + offBytes });
    expect(await peer.refusal()).toMatch(/^BAD_VALUE /);
  });

  test('a split ring may have its avail ring on an even address and a packed one may not', async () => {
    await ready(usualFeatures);
    const { addresses } = peer.splitRing();
    await peer.vring('SET_VRING_NUM', 0, 128);
    await peer.address(0, { ...addresses, avail: addresses.avail + 2n });
    await peer.settled();
    // What was said before the features changed is checked once more.
    await peer.tell('SET_FEATURES', packed);
    await peer.eventfd('SET_VRING_KICK', 0);
    expect(await peer.refusal()).toMatch(/^BAD_VALUE /);
  });

  test('a size that was fine for a packed ring does not start a split one', async () => {
    await ready();
    await peer.vring('SET_VRING_NUM', 0, 300);
    await peer.address(0, peer.packedRing(300).addresses);
    await peer.tell('SET_FEATURES', usualFeatures);
    await peer.eventfd('SET_VRING_KICK', 0);
    expect(await peer.refusal()).toMatch(/^BAD_VALUE /);
  });
});

describe('vhost-user "Vring descriptor indices for packed virtqueues"', () => {
  test('SET_VRING_BASE has 32 bits', async () => {
    await ready();
    await peer.start(0, peer.packedRing(), baseFive);
    expect(peer.ring(0)).toMatchObject({ base: baseFive });
    expect(await peer.base(0)).toBe(baseFive);
  });

  test('the used half follows the avail half: virtio-user leaves it 0', async () => {
    await ready();
    await peer.start(0, peer.packedRing(), 0x8000);
    await peer.start(1, peer.packedRing(), 7);
    expect(await peer.base(0)).toBe(0x8000_8000);
    expect(await peer.base(1)).toBe(0x0007_0007);
  });

  test('a ring without a base begins at index 0 with wrap counter 1', async () => {
    await ready();
    await peer.start(0, peer.packedRing());
    expect(await peer.base(0)).toBe(0x8000_8000);
  });

  test('GET_VRING_BASE answers with all 32 bits, and again after a reset', async () => {
    await ready();
    await peer.start(0, peer.packedRing(), baseFive);
    await peer.base(0);
    await peer.tell('SET_STATUS', 0n);
    expect(await peer.base(0)).toBe(baseFive);
  });

  test.each(['base first', 'size first'])(
    'an index beyond the ring is refused, %s',
    async (order) => {
      await ready();
      const base = () => peer.vring('SET_VRING_BASE', 0, 0x8100);
      const size = () => peer.vring('SET_VRING_NUM', 0, 256);
      for (const say of order === 'base first' ? [base, size] : [size, base]) await say();
      await peer.address(0, peer.packedRing().addresses);
      await peer.eventfd('SET_VRING_KICK', 0);
      expect(await peer.refusal()).toMatch(/^BAD_VALUE /);
    },
  );

  test('a split base does not have more than 16 bits', async () => {
    await ready(usualFeatures);
    await peer.vring('SET_VRING_BASE', 0, baseFive);
    expect(await peer.refusal()).toMatch(/^BAD_VALUE /);
  });
});
