/**
 * The feature bits a vhost-user port offers: what the protocol side can serve
 * (vhost-user/features.ts), without what most frontends would not serve to the end.
 */

import { type Offer, offerOf, servable } from '../../vhost-user/features.ts';

/**
 * QEMU passes VIRTIO_F_RING_RESET on to the guest, but resets queues behind kernel vhost only:
 * behind vhost-user the ring would be used on after the driver has freed it.
 */
const untoldResets: Offer = offerOf(['VIRTIO_F_RING_RESET'], []);

/** Without an address from the operator there is none to tell (vhost-user/config-space.ts). */
const address: Offer = offerOf(['VIRTIO_NET_F_MAC'], []);

/**
 * Linux's virtio_uml takes it wherever it is offered, and then waits for an answer of the event
 * loop at each kick; without it a kick is a write to an eventfd, which is faster by far.
 */
const inBand: Offer = offerOf([], ['VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS']);

export const offer: Offer = {
  virtio: servable.virtio & ~untoldResets.virtio & ~address.virtio,
  protocol: servable.protocol & ~inBand.protocol,
};

export interface OfferOptions {
  /** To frontends that stop a ring when their driver resets it. */
  readonly ringReset?: boolean;
  /** To frontends that have no eventfds. */
  readonly inBand?: boolean;
  /** Where the guest has an address. */
  readonly hasAddress: boolean;
}

export function offerOfPort(options: OfferOptions): Offer {
  let { virtio, protocol } = offer;
  if (options.ringReset) virtio |= untoldResets.virtio;
  if (options.hasAddress) virtio |= address.virtio;
  if (options.inBand) protocol |= inBand.protocol;
  return { virtio, protocol };
}
