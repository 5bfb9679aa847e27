/**
 * The feature bits a vhost-user port offers: what the protocol side can serve (vhost-user/features.ts)
 * without what would not be served to the end. A bit is switched on by taking it out of `withheld`.
 */

import { type Offer, offerOf, servable } from '../vhost-user/features.ts';

const withheld: Offer = offerOf(
  [
    // QEMU passes the bit on to the guest, but resets queues behind kernel vhost only: behind vhost-user
    // the ring would be used on after the driver has freed it.
    'VIRTIO_F_RING_RESET',
  ],
  [],
);

export const offer: Offer = {
  virtio: servable.virtio & ~withheld.virtio,
  protocol: servable.protocol & ~withheld.protocol,
};
