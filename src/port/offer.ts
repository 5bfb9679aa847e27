/**
 * The feature bits a vhost-user port offers: what the protocol side can serve (vhost-user/features.ts),
 * without what most frontends would not serve to the end.
 */

import { type Offer, offerOf, servable } from '../vhost-user/features.ts';

/**
 * QEMU passes VIRTIO_F_RING_RESET on to the guest, but resets queues behind kernel vhost only: behind
 * vhost-user the ring would be used on after the driver has freed it.
 */
const untoldResets: Offer = offerOf(['VIRTIO_F_RING_RESET'], []);

/** Without an address from the operator there is none to tell (config-space.ts). */
const address: Offer = offerOf(['VIRTIO_NET_F_MAC'], []);

export const offer: Offer = {
  ...servable,
  virtio: servable.virtio & ~untoldResets.virtio & ~address.virtio,
};

/** To frontends that stop a ring when their driver resets it, and where the guest has an address. */
export function offerOfPort(ringReset: boolean, hasAddress: boolean): Offer {
  let { virtio } = offer;
  if (ringReset) virtio |= untoldResets.virtio;
  if (hasAddress) virtio |= address.virtio;
  return { ...offer, virtio };
}
