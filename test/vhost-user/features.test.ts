/**
 * What is offered, and what follows from a choice.
 */

import { describe, expect, it } from 'vitest';
import {
  featureNames,
  netHeaderBytes,
  notOffered,
  offeredFeatures,
  offeredProtocolFeatures,
  protocolFeatures,
  virtioFeatures,
} from '../../src/vhost-user/features.ts';

describe('features', () => {
  it('every name in a table stands for one bit of its own', () => {
    for (const table of [virtioFeatures, protocolFeatures]) {
      const masks = Object.values(table);
      expect(new Set(masks).size).toBe(masks.length);
      for (const mask of masks) expect(mask & (mask - 1n)).toBe(0n);
    }
  });

  it('offers exactly the virtio features it serves', () => {
    expect(featureNames(offeredFeatures, virtioFeatures)).toEqual([
      'VIRTIO_NET_F_MRG_RXBUF',
      'VIRTIO_NET_F_CTRL_VQ',
      'VIRTIO_NET_F_GUEST_ANNOUNCE',
      'VIRTIO_NET_F_MQ',
      'VIRTIO_F_ANY_LAYOUT',
      'VIRTIO_F_INDIRECT_DESC',
      'VIRTIO_F_EVENT_IDX',
      'VHOST_USER_F_PROTOCOL_FEATURES',
      'VIRTIO_F_VERSION_1',
    ]);
    expect(offeredFeatures).toBe(0x1_7862_8000n);
  });

  it('offers exactly the protocol features it serves', () => {
    expect(offeredProtocolFeatures).toBe(
      (1n << 0n) | (1n << 3n) | (1n << 13n) | (1n << 15n) | (1n << 16n),
    );
  });

  it('names a bit without a name by its number', () => {
    expect(featureNames((1n << 50n) | 1n, virtioFeatures)).toEqual(['VIRTIO_NET_F_CSUM', 'bit 50']);
  });

  it('a subset of the offer is a valid choice and anything else is told apart', () => {
    expect(notOffered(virtioFeatures.VIRTIO_F_VERSION_1, offeredFeatures)).toBe(0n);
    const packed = virtioFeatures.VIRTIO_F_RING_PACKED;
    expect(notOffered(offeredFeatures | packed, offeredFeatures)).toBe(packed);
  });

  it('virtio 1.2 §5.1.6.1: the header has num_buffers with MRG_RXBUF or VERSION_1', () => {
    expect(netHeaderBytes(0n)).toBe(10);
    expect(netHeaderBytes(virtioFeatures.VIRTIO_NET_F_MRG_RXBUF)).toBe(12);
    expect(netHeaderBytes(virtioFeatures.VIRTIO_F_VERSION_1)).toBe(12);
  });
});
