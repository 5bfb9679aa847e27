/**
 * The tables of bits, and what follows from a choice.
 */

import { describe, expect, test } from 'vitest';
import {
  featureNames,
  netHeaderBytes,
  notOffered,
  offerOf,
  protocolFeatures,
  servable,
  virtioFeatures,
} from '../../src/vhost-user/features.ts';
import { basicOffer } from './recording.ts';

describe('features', () => {
  test('every name in a table stands for one bit of its own', () => {
    for (const table of [virtioFeatures, protocolFeatures]) {
      const masks = Object.values(table);
      expect(new Set(masks).size).toBe(masks.length);
      for (const mask of masks) expect(mask & (mask - 1n)).toBe(0n);
    }
  });

  test('an offer has the bits of its names', () => {
    const offer = offerOf(
      ['VIRTIO_NET_F_MQ', 'VIRTIO_F_VERSION_1'],
      ['VHOST_USER_PROTOCOL_F_RARP'],
    );
    expect(offer).toEqual({ virtio: (1n << 22n) | (1n << 32n), protocol: 1n << 2n });
  });

  test('nothing is servable whose bit has moved between drafts of the protocol', () => {
    expect(servable.protocol >> 17n).toBe(0n);
  });

  test('names a bit without a name by its number', () => {
    expect(featureNames((1n << 50n) | 1n, virtioFeatures)).toEqual(['VIRTIO_NET_F_CSUM', 'bit 50']);
  });

  test('a subset of the offer is a valid choice and anything else is told apart', () => {
    const offeredFeatures = basicOffer.virtio;
    expect(notOffered(virtioFeatures.VIRTIO_F_VERSION_1, offeredFeatures)).toBe(0n);
    const packed = virtioFeatures.VIRTIO_F_RING_PACKED;
    expect(notOffered(offeredFeatures | packed, offeredFeatures)).toBe(packed);
  });

  test('virtio 1.2 §5.1.6.1: the header has num_buffers with MRG_RXBUF or VERSION_1', () => {
    expect(netHeaderBytes(0n)).toBe(10);
    expect(netHeaderBytes(virtioFeatures.VIRTIO_NET_F_MRG_RXBUF)).toBe(12);
    expect(netHeaderBytes(virtioFeatures.VIRTIO_F_VERSION_1)).toBe(12);
  });
});
