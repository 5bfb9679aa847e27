/**
 * The feature bits a port offers, bit by bit: a change is to be made on purpose.
 */

import { expect, test } from 'vitest';
import { offer, offerOfPort } from '../../../src/port/vhost-user/offer.ts';
import {
  featureNames,
  protocolFeatures,
  servable,
  virtioFeatures,
} from '../../../src/vhost-user/features.ts';

test('everything that can be served is offered, except what would not be served to the end', () => {
  const { virtio, protocol } = servable;
  expect(featureNames(virtio & ~offer.virtio, virtioFeatures)).toEqual([
    'VIRTIO_NET_F_MAC',
    'VIRTIO_F_RING_RESET',
  ]);
  expect(featureNames(protocol & ~offer.protocol, protocolFeatures)).toEqual([
    'VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS',
  ]);
  expect(offer.virtio & ~virtio).toBe(0n);
  const all = { ringReset: true, inBand: true, hasAddress: true };
  expect(offerOfPort(all)).toEqual(servable);
  expect(offerOfPort({ hasAddress: false })).toEqual(offer);
  expect(offer.protocol & ~protocol).toBe(0n);
});

test('the bits are those of the specifications', () => {
  // CSUM, GUEST_CSUM, CTRL_GUEST_OFFLOADS, MTU, GUEST_* and HOST_* of TSO4, TSO6, ECN, UFO,
  // MRG_RXBUF, STATUS, CTRL_VQ, CTRL_RX, CTRL_VLAN, CTRL_RX_EXTRA, GUEST_ANNOUNCE, MQ,
  // CTRL_MAC_ADDR, LOG_ALL, ANY_LAYOUT, INDIRECT_DESC, EVENT_IDX, PROTOCOL_FEATURES, VERSION_1,
  // RING_PACKED, IN_ORDER, USO.
  expect(offer.virtio).toBe(0x01c0_000d_7cff_ff8fn);
  expect(offer.protocol).toBe(0x1b23fn);
});
