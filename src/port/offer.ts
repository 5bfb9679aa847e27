/**
 * The feature bits a vhost-user port offers: those of which the data plane does its part. The protocol
 * side can serve more (`servable` in vhost-user/features.ts); a bit is switched on by adding it here.
 */

import { type Offer, offerOf } from '../vhost-user/features.ts';

export const offer: Offer = offerOf(
  [
    'VIRTIO_NET_F_MRG_RXBUF',
    'VIRTIO_NET_F_CTRL_VQ',
    'VIRTIO_NET_F_GUEST_ANNOUNCE',
    'VIRTIO_NET_F_MQ',
    'VIRTIO_F_ANY_LAYOUT',
    'VIRTIO_F_INDIRECT_DESC',
    'VIRTIO_F_EVENT_IDX',
    'VHOST_USER_F_PROTOCOL_FEATURES',
    'VIRTIO_F_VERSION_1',
  ],
  [
    'VHOST_USER_PROTOCOL_F_MQ',
    'VHOST_USER_PROTOCOL_F_REPLY_ACK',
    'VHOST_USER_PROTOCOL_F_RESET_DEVICE',
    'VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS',
    'VHOST_USER_PROTOCOL_F_STATUS',
  ],
);
