/**
 * Feature bits of virtio-net and of the vhost-user protocol: their names, the most this folder can
 * serve, and what follows from a choice. Pure.
 *
 * What a session offers is up to its owner, who knows the data plane (port/vhost-user/offer.ts); it
 * may leave out any bit of `servable`. The tables name more bits, so that a refusal can say which
 * was asked for.
 *
 * VIRTIO_F_RING_RESET needs nothing here: a frontend that resets a queue for its driver stops the
 * ring with GET_VRING_BASE and starts it anew, maybe elsewhere and of another size (virtio 1.2
 * §2.6.1).
 *
 * Sources: virtio 1.2 §5.1.3 (network), §6 (reserved bits), §6.3 (legacy); vhost-user "Protocol
 * features". Protocol bits above 19 moved between drafts and are therefore not named here.
 */

/** Spec name of a bit to its mask. */
export type FeatureTable = Readonly<Record<string, bigint>>;

/** Feature bits of virtio devices, by their names in the specification. */
export const virtioFeatures = {
  VIRTIO_NET_F_CSUM: 1n << 0n,
  VIRTIO_NET_F_GUEST_CSUM: 1n << 1n,
  VIRTIO_NET_F_CTRL_GUEST_OFFLOADS: 1n << 2n,
  VIRTIO_NET_F_MTU: 1n << 3n,
  VIRTIO_NET_F_MAC: 1n << 5n,
  VIRTIO_NET_F_GUEST_TSO4: 1n << 7n,
  VIRTIO_NET_F_GUEST_TSO6: 1n << 8n,
  VIRTIO_NET_F_GUEST_ECN: 1n << 9n,
  VIRTIO_NET_F_GUEST_UFO: 1n << 10n,
  VIRTIO_NET_F_HOST_TSO4: 1n << 11n,
  VIRTIO_NET_F_HOST_TSO6: 1n << 12n,
  VIRTIO_NET_F_HOST_ECN: 1n << 13n,
  VIRTIO_NET_F_HOST_UFO: 1n << 14n,
  VIRTIO_NET_F_MRG_RXBUF: 1n << 15n,
  VIRTIO_NET_F_STATUS: 1n << 16n,
  VIRTIO_NET_F_CTRL_VQ: 1n << 17n,
  VIRTIO_NET_F_CTRL_RX: 1n << 18n,
  VIRTIO_NET_F_CTRL_VLAN: 1n << 19n,
  VIRTIO_NET_F_CTRL_RX_EXTRA: 1n << 20n,
  VIRTIO_NET_F_GUEST_ANNOUNCE: 1n << 21n,
  VIRTIO_NET_F_MQ: 1n << 22n,
  VIRTIO_NET_F_CTRL_MAC_ADDR: 1n << 23n,
  VIRTIO_F_NOTIFY_ON_EMPTY: 1n << 24n,
  VHOST_F_LOG_ALL: 1n << 26n,
  VIRTIO_F_ANY_LAYOUT: 1n << 27n,
  VIRTIO_F_INDIRECT_DESC: 1n << 28n,
  VIRTIO_F_EVENT_IDX: 1n << 29n,
  VHOST_USER_F_PROTOCOL_FEATURES: 1n << 30n,
  VIRTIO_F_VERSION_1: 1n << 32n,
  VIRTIO_F_ACCESS_PLATFORM: 1n << 33n,
  VIRTIO_F_RING_PACKED: 1n << 34n,
  VIRTIO_F_IN_ORDER: 1n << 35n,
  VIRTIO_F_ORDER_PLATFORM: 1n << 36n,
  VIRTIO_F_NOTIFICATION_DATA: 1n << 38n,
  VIRTIO_F_RING_RESET: 1n << 40n,
  VIRTIO_NET_F_GUEST_USO4: 1n << 54n,
  VIRTIO_NET_F_GUEST_USO6: 1n << 55n,
  VIRTIO_NET_F_HOST_USO: 1n << 56n,
  VIRTIO_NET_F_HASH_REPORT: 1n << 57n,
  VIRTIO_NET_F_RSS: 1n << 60n,
  VIRTIO_NET_F_RSC_EXT: 1n << 61n,
} as const satisfies FeatureTable;

/** Feature bits of the vhost-user protocol, by their names in the specification. */
export const protocolFeatures = {
  VHOST_USER_PROTOCOL_F_MQ: 1n << 0n,
  VHOST_USER_PROTOCOL_F_LOG_SHMFD: 1n << 1n,
  VHOST_USER_PROTOCOL_F_RARP: 1n << 2n,
  VHOST_USER_PROTOCOL_F_REPLY_ACK: 1n << 3n,
  VHOST_USER_PROTOCOL_F_MTU: 1n << 4n,
  VHOST_USER_PROTOCOL_F_BACKEND_REQ: 1n << 5n,
  VHOST_USER_PROTOCOL_F_CROSS_ENDIAN: 1n << 6n,
  VHOST_USER_PROTOCOL_F_CRYPTO_SESSION: 1n << 7n,
  VHOST_USER_PROTOCOL_F_PAGEFAULT: 1n << 8n,
  VHOST_USER_PROTOCOL_F_CONFIG: 1n << 9n,
  VHOST_USER_PROTOCOL_F_BACKEND_SEND_FD: 1n << 10n,
  VHOST_USER_PROTOCOL_F_HOST_NOTIFIER: 1n << 11n,
  VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD: 1n << 12n,
  VHOST_USER_PROTOCOL_F_RESET_DEVICE: 1n << 13n,
  VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS: 1n << 14n,
  VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS: 1n << 15n,
  VHOST_USER_PROTOCOL_F_STATUS: 1n << 16n,
  VHOST_USER_PROTOCOL_F_XEN_MMAP: 1n << 17n,
  VHOST_USER_PROTOCOL_F_SHARED_OBJECT: 1n << 18n,
  VHOST_USER_PROTOCOL_F_DEVICE_STATE: 1n << 19n,
} as const satisfies FeatureTable;

/** Such as `VIRTIO_F_VERSION_1`. */
export type VirtioFeatureName = keyof typeof virtioFeatures;
/** Such as `VHOST_USER_PROTOCOL_F_REPLY_ACK`. */
export type ProtocolFeatureName = keyof typeof protocolFeatures;

/** A set of bits of each of the two tables. */
export interface Offer {
  readonly virtio: bigint;
  readonly protocol: bigint;
}

export function offerOf(
  virtio: readonly VirtioFeatureName[],
  protocol: readonly ProtocolFeatureName[],
): Offer {
  return {
    virtio: virtio.reduce((set, name) => set | virtioFeatures[name], 0n),
    protocol: protocol.reduce((set, name) => set | protocolFeatures[name], 0n),
  };
}

/** What may be offered if the data plane does its part. */
export const servable: Offer = offerOf(
  [
    'VIRTIO_NET_F_CSUM',
    'VIRTIO_NET_F_GUEST_CSUM',
    'VIRTIO_NET_F_CTRL_GUEST_OFFLOADS',
    'VIRTIO_NET_F_MTU',
    'VIRTIO_NET_F_MAC',
    'VIRTIO_NET_F_GUEST_TSO4',
    'VIRTIO_NET_F_GUEST_TSO6',
    'VIRTIO_NET_F_GUEST_ECN',
    'VIRTIO_NET_F_GUEST_UFO',
    'VIRTIO_NET_F_HOST_TSO4',
    'VIRTIO_NET_F_HOST_TSO6',
    'VIRTIO_NET_F_HOST_ECN',
    'VIRTIO_NET_F_HOST_UFO',
    'VIRTIO_NET_F_MRG_RXBUF',
    'VIRTIO_NET_F_STATUS',
    'VIRTIO_NET_F_CTRL_VQ',
    'VIRTIO_NET_F_CTRL_RX',
    'VIRTIO_NET_F_CTRL_VLAN',
    'VIRTIO_NET_F_CTRL_RX_EXTRA',
    'VIRTIO_NET_F_GUEST_ANNOUNCE',
    'VIRTIO_NET_F_MQ',
    'VIRTIO_NET_F_CTRL_MAC_ADDR',
    'VHOST_F_LOG_ALL',
    'VIRTIO_F_ANY_LAYOUT',
    'VIRTIO_F_INDIRECT_DESC',
    'VIRTIO_F_EVENT_IDX',
    'VHOST_USER_F_PROTOCOL_FEATURES',
    'VIRTIO_F_VERSION_1',
    'VIRTIO_F_RING_PACKED',
    'VIRTIO_F_IN_ORDER',
    'VIRTIO_F_RING_RESET',
    'VIRTIO_NET_F_GUEST_USO4',
    'VIRTIO_NET_F_GUEST_USO6',
    'VIRTIO_NET_F_HOST_USO',
  ],
  [
    'VHOST_USER_PROTOCOL_F_MQ',
    'VHOST_USER_PROTOCOL_F_LOG_SHMFD',
    'VHOST_USER_PROTOCOL_F_RARP',
    'VHOST_USER_PROTOCOL_F_REPLY_ACK',
    'VHOST_USER_PROTOCOL_F_MTU',
    'VHOST_USER_PROTOCOL_F_BACKEND_REQ',
    'VHOST_USER_PROTOCOL_F_CONFIG',
    'VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD',
    'VHOST_USER_PROTOCOL_F_RESET_DEVICE',
    'VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS',
    'VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS',
    'VHOST_USER_PROTOCOL_F_STATUS',
  ],
);

const featureBitsMax = 64n;

/** The bits of `set` by name, lowest first; a bit without a name is given as `bit 50`. */
export function featureNames(set: bigint, table: FeatureTable): string[] {
  const names: string[] = [];
  for (let bit = 0n; bit < featureBitsMax; bit += 1n) {
    const mask = 1n << bit;
    if ((set & mask) === 0n) continue;
    const entry = Object.entries(table).find(([, value]) => value === mask);
    names.push(entry === undefined ? `bit ${bit}` : entry[0]);
  }
  return names;
}

/**
 * The bits of a choice that were not offered; 0n is a valid choice.
 *
 * The dependencies of virtio 1.2 §5.1.3.1 among the offered bits (MQ and GUEST_ANNOUNCE need
 * CTRL_VQ) bind the driver, and are not checked: QEMU and DPDK's virtio-user run the control queue
 * themselves, and leave CTRL_VQ out of what they pass on. Where it is passed on: controlQueueOf()
 * in config-space.ts.
 */
export function notOffered(chosen: bigint, offered: bigint): bigint {
  return chosen & ~offered;
}

/** Bytes of struct virtio_net_hdr in front of each frame (virtio 1.2 §5.1.6, §5.1.6.1). */
export function netHeaderBytes(features: bigint): number {
  const { VIRTIO_F_VERSION_1, VIRTIO_NET_F_MRG_RXBUF } = virtioFeatures;
  return (features & (VIRTIO_F_VERSION_1 | VIRTIO_NET_F_MRG_RXBUF)) === 0n ? 10 : 12;
}
