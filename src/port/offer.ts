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

export const offer: Offer = { ...servable, virtio: servable.virtio & ~untoldResets.virtio };

/** To frontends that stop a ring when their driver resets it. */
export const offerWithRingReset: Offer = servable;
