/**
 * The feature bits a vhost-user port offers: what the protocol side can serve (vhost-user/features.ts)
 * without what would not be served to the end. A bit is switched on by taking it out of `withheld`.
 */

import { type Offer, offerOf, servable } from '../vhost-user/features.ts';

const withheld: Offer = offerOf(
  [
    // The data plane does not hold frames to a guest's MTU. QEMU's host_mtu works all the same: then
    // it tells the guest and nobody else.
    'VIRTIO_NET_F_MTU',
    // QEMU passes the bit on to the guest, but resets queues behind kernel vhost only: behind vhost-user
    // the ring would be used on after the driver has freed it.
    'VIRTIO_F_RING_RESET',
  ],
  ['VHOST_USER_PROTOCOL_F_MTU'],
);

export const offer: Offer = {
  virtio: servable.virtio & ~withheld.virtio,
  protocol: servable.protocol & ~withheld.protocol,
};
