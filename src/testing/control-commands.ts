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
  rxMode: (mode: RxMode, on: boolean): ControlCommand => ({
    class: 0,
    command: rxModes.indexOf(mode),
    data: Uint8Array.of(on ? 1 : 0),
  }),
  /** Addresses such as `52:54:00:00:00:01`. */
  macTable: (unicast: readonly string[], multicast: readonly string[]): ControlCommand => ({
    class: 1,
    command: 0,
    data: Buffer.concat([macList(unicast), macList(multicast)]),
  }),
  mac: (address: string): ControlCommand => ({ class: 1, command: 1, data: macBytes(address) }),
  addVlan: (id: number): ControlCommand => ({ class: 2, command: 0, data: u16(id) }),
  deleteVlan: (id: number): ControlCommand => ({ class: 2, command: 1, data: u16(id) }),
  announced: (): ControlCommand => ({ class: 3, command: 0 }),
  queuePairs: (count: number): ControlCommand => ({ class: 4, command: 0, data: u16(count) }),
  /** Feature bits, of VIRTIO_NET_F_GUEST_*. */
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
