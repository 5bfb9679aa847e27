/**
 * The commands of a control queue, as bytes: class, command and what goes with them.
 *
 * Pure. Source: virtio 1.2 §5.1.6.5.
 */

/** A command as a driver says it: any class, any number, any data. */
export interface ControlCommand {
  readonly class: number;
  readonly command: number;
  /** Empty unless given. */
  readonly data?: Uint8Array;
}

/** How a device answers: VIRTIO_NET_OK and VIRTIO_NET_ERR. */
export const controlStatus = { ok: 0, error: 1 } as const;

const rxModes = ['promisc', 'allmulti', 'alluni', 'nomulti', 'nouni', 'nobcast'] as const;

/** What a driver wants to receive beside what is addressed to it. */
export type RxMode = (typeof rxModes)[number];

/** Every command of the specification that a network device without RSS has. */
export const controlCommands = {
  /** VIRTIO_NET_CTRL_RX: what else is received, on or off. */
  rxMode: (mode: RxMode, on: boolean): ControlCommand => ({
    class: 0,
    command: rxModes.indexOf(mode),
    data: Uint8Array.of(on ? 1 : 0),
  }),
  /** VIRTIO_NET_CTRL_MAC_TABLE_SET: addresses such as `52:54:00:00:00:01`. */
  macTable: (unicast: readonly string[], multicast: readonly string[]): ControlCommand => ({
    class: 1,
    command: 0,
    data: Buffer.concat([macList(unicast), macList(multicast)]),
  }),
  /** VIRTIO_NET_CTRL_MAC_ADDR_SET: the card's own address. */
  mac: (address: string): ControlCommand => ({ class: 1, command: 1, data: macBytes(address) }),
  /** VIRTIO_NET_CTRL_VLAN_ADD. */
  addVlan: (id: number): ControlCommand => ({ class: 2, command: 0, data: u16(id) }),
  /** VIRTIO_NET_CTRL_VLAN_DEL. */
  deleteVlan: (id: number): ControlCommand => ({ class: 2, command: 1, data: u16(id) }),
  /** VIRTIO_NET_CTRL_ANNOUNCE_ACK: the guest has announced itself. */
  announced: (): ControlCommand => ({ class: 3, command: 0 }),
  /** VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET: how many queue pairs are used. */
  queuePairs: (count: number): ControlCommand => ({ class: 4, command: 0, data: u16(count) }),
  /** VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET: feature bits, of VIRTIO_NET_F_GUEST_*. */
  guestOffloads: (features: bigint): ControlCommand => {
    const data = Buffer.alloc(8);
    data.writeBigUInt64LE(features);
    return { class: 5, command: 0, data };
  },
} as const;

function u16(value: number): Uint8Array {
  return Uint8Array.of(value & 0xff, value >> 8);
}

function macBytes(address: string): Uint8Array {
  return Buffer.from(address.replaceAll(':', ''), 'hex');
}

function macList(addresses: readonly string[]): Buffer {
  const count = Buffer.alloc(4);
  count.writeUInt32LE(addresses.length);
  return Buffer.concat([count, ...addresses.map(macBytes)]);
}
