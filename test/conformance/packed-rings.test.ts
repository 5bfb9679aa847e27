/**
 * Packed rings: virtio 1.2 §2.8, and what vhost-user says about their bases.
 */

import { describe, expect, it } from 'vitest';
import { virtioFeatures } from '../../src/vhost-user/features.ts';
import {
  basicOffer,
  offeredFeatures,
  Recording,
  region,
  ringAddresses,
} from '../vhost-user/recording.ts';

const { VIRTIO_F_RING_PACKED } = virtioFeatures;
const offered = { ...basicOffer, virtio: offeredFeatures | VIRTIO_F_RING_PACKED };
/** Index 5 with wrap counter 1, as the next to take and the next to return. */
const baseFive = 0x8005_8005;

function ready(features = offered.virtio): Recording {
  const recording = new Recording(1, offered).negotiate(features);
  recording.memory();
  return recording;
}

describe('virtio 1.2 §2.8 packed virtqueues', () => {
  it.each([1, 3, 255, 513, 32767, 32768])('the size may be %d', (size) => {
    const recording = ready();
    recording.startRing(0, undefined, size);
    expect(recording.backend.callsOf('startQueue')).toMatchObject([[0, { size }]]);
  });

  it.each([0, 32769])('the size may not be %d', (size) => {
    const recording = ready();
    recording.vring('SET_VRING_NUM', 0, size);
    expect(recording.refusal).toBe('BAD_VALUE');
  });

  it('the driver and device areas are 4 bytes, however large the ring', () => {
    const last = region.userAddress + region.sizeBytes - 4n;
    const recording = ready();
    recording.vring('SET_VRING_NUM', 0, 32768);
    recording.address(0, { ...ringAddresses(0), avail: last, used: last });
    recording.eventfd('SET_VRING_KICK', 0);
    expect(recording.backend.running.has(0)).toBe(true);
  });

  it.each(['avail', 'used'] as const)('a %s area that is cut off is refused', (part) => {
    const recording = ready();
    recording.vring('SET_VRING_NUM', 0, 256);
    const end = region.userAddress + region.sizeBytes;
    recording.address(0, { ...ringAddresses(0), [part]: end });
    recording.eventfd('SET_VRING_KICK', 0);
    expect(recording.refusal).toBe('RING_UNMAPPED');
  });

  it.each([
    ['desc', 8n],
    ['avail', 2n],
    ['used', 2n],
  ] as const)('%s off its alignment is refused', (part, offBytes) => {
    const recording = ready();
    const addresses = ringAddresses(0);
    recording.address(0, { ...addresses, [part]: addresses[part] + offBytes });
    expect(recording.refusal).toBe('BAD_VALUE');
  });

  it('a split ring may have its avail ring on an even address and a packed one may not', () => {
    const even = { ...ringAddresses(0), avail: ringAddresses(0).avail + 2n };
    const split = ready(offeredFeatures);
    split.address(0, even);
    expect(split.open).toBe(true);
    // What was said before the features changed is checked once more.
    split.vring('SET_VRING_NUM', 0, 256);
    split.tell('SET_FEATURES', offered.virtio);
    split.eventfd('SET_VRING_KICK', 0);
    expect(split.refusal).toBe('BAD_VALUE');
  });

  it('a size that was fine for a packed ring does not start a split one', () => {
    const recording = ready();
    recording.vring('SET_VRING_NUM', 0, 300);
    recording.address(0);
    recording.tell('SET_FEATURES', offeredFeatures);
    recording.eventfd('SET_VRING_KICK', 0);
    expect(recording.refusal).toBe('BAD_VALUE');
  });
});

describe('vhost-user "Vring descriptor indices for packed virtqueues"', () => {
  it('SET_VRING_BASE has 32 bits', () => {
    const recording = ready();
    recording.startRing(0, baseFive);
    expect(recording.backend.callsOf('startQueue')).toMatchObject([[0, { base: baseFive }]]);
  });

  it('the used half follows the avail half: virtio-user leaves it 0', () => {
    const recording = ready();
    recording.startRing(0, 0x8000);
    recording.startRing(1, 7);
    expect(recording.backend.callsOf('startQueue')).toMatchObject([
      [0, { base: 0x8000_8000 }],
      [1, { base: 0x0007_0007 }],
    ]);
  });

  it('a ring without a base begins at index 0 with wrap counter 1', () => {
    const recording = ready();
    recording.vring('SET_VRING_NUM', 0, 256);
    recording.address(0);
    expect(recording.vring('GET_VRING_BASE', 0, 0)).toBe(0x8000_8000);
    recording.eventfd('SET_VRING_KICK', 0);
    expect(recording.backend.callsOf('startQueue')).toMatchObject([[0, { base: 0x8000_8000 }]]);
  });

  it('GET_VRING_BASE answers with all 32 bits, and again after a reset', () => {
    const recording = ready();
    recording.startRing(0, baseFive);
    recording.backend.nextAvail = 0xffff_ffff;
    expect(recording.vring('GET_VRING_BASE', 0, 0)).toBe(0xffff_ffff);
    recording.tell('SET_STATUS', 0n);
    expect(recording.vring('GET_VRING_BASE', 0, 0)).toBe(0xffff_ffff);
  });

  it.each(['base first', 'size first'])('an index beyond the ring is refused, %s', (order) => {
    const recording = ready();
    const steps = [
      () => recording.vring('SET_VRING_BASE', 0, 0x8100),
      () => recording.vring('SET_VRING_NUM', 0, 256),
    ];
    for (const step of order === 'base first' ? steps : steps.reverse()) step();
    recording.address(0);
    recording.eventfd('SET_VRING_KICK', 0);
    expect(recording.refusal).toBe('BAD_VALUE');
    expect(recording.backend.callsOf('startQueue')).toEqual([]);
  });

  it('a split base does not have more than 16 bits', () => {
    const recording = ready(offeredFeatures);
    recording.vring('SET_VRING_BASE', 0, baseFive);
    expect(recording.refusal).toBe('BAD_VALUE');
  });
});
