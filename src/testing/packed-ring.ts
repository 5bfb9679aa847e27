/**
 * One packed virtqueue as bytes in guest memory, seen from the driver: every field, readable and
 * writable, right or wrong. As with split-ring.ts, nothing is kept and nothing is checked;
 * packed-driver.ts is the driver that behaves.
 *
 * Ordering. The flags of a descriptor and the event suppression areas are accessed with Atomics:
 * what was written before a descriptor's flags is seen by whoever sees them, and what is read after
 * them is at least as new.
 *
 * Sources: virtio 1.2 §2.8.13 (descriptor), §2.8.14 (event suppression), §2.8.1 (wrap counters).
 */

import type { RingAddresses } from '../native/addon.ts';
import type { GuestMemory } from './guest-memory.ts';
import { descriptorBytes } from './split-ring.ts';

/**
 * The driver's bit of a descriptor, spelled as in virtio 1.2 §2.8.1; others are those of a split
 * ring.
 */
export const VIRTQ_DESC_F_AVAIL = 1 << 7;
/** The device's bit of a descriptor (§2.8.1). */
export const VIRTQ_DESC_F_USED = 1 << 15;
/** Notify for every descriptor (§2.8.14). */
export const RING_EVENT_FLAGS_ENABLE = 0;
/** Notify never. */
export const RING_EVENT_FLAGS_DISABLE = 1;
/** Notify for the descriptor that offWrap names; with EVENT_IDX. */
export const RING_EVENT_FLAGS_DESC = 2;

const eventAreaBytes = 4;

/** One descriptor of a packed ring. */
export interface PackedDescriptor {
  /** Guest address of the buffer. */
  readonly address: bigint;
  readonly lengthBytes: number;
  /** Buffer id, by which the device gives the buffer back. */
  readonly id: number;
  /** `VIRTQ_DESC_F_*`, AVAIL and USED included. */
  readonly flags: number;
}

/** An event suppression structure: when the one who wrote it wants to be notified. */
export interface EventSuppression {
  /** Descriptor index in bits 0-14, wrap counter in bit 15; counts with `RING_EVENT_FLAGS_DESC`. */
  readonly offWrap: number;
  /** `RING_EVENT_FLAGS_*` */
  readonly flags: number;
}

/** Bytes that a packed ring of `size` takes, its parts' alignment included. */
export function packedRingBytes(size: number): number {
  return descriptorBytes * size + 2 * eventAreaBytes + 16;
}

/** The bytes of a packed virtqueue, field by field. */
export class PackedRing {
  readonly format = 'packed';
  readonly size: number;
  readonly #memory: GuestMemory;
  readonly #descOffset: number;
  readonly #driverOffset: number;
  readonly #deviceOffset: number;

  constructor(memory: GuestMemory, size: number) {
    this.size = size;
    this.#memory = memory;
    this.#descOffset = memory.allocateWhole(descriptorBytes * size, 16);
    this.#driverOffset = memory.allocateWhole(eventAreaBytes, 4);
    this.#deviceOffset = memory.allocateWhole(eventAreaBytes, 4);
  }

  /**
   * Where the parts lie, as SET_VRING_ADDR says it: `avail` is the driver's area, `used` the
   * device's.
   */
  get addresses(): RingAddresses {
    return {
      desc: this.#memory.userAddress(this.#descOffset),
      avail: this.#memory.userAddress(this.#driverOffset),
      used: this.#memory.userAddress(this.#deviceOffset),
    };
  }

  /** Writes all of a descriptor, its flags last. */
  writeDescriptor(index: number, { address, lengthBytes, id, flags }: PackedDescriptor): void {
    const at = this.#descOffset + descriptorBytes * index;
    const { view } = this.#memory;
    view.setBigUint64(at, address, true);
    view.setUint32(at + 8, lengthBytes, true);
    view.setUint16(at + 12, id, true);
    this.setFlags(index, flags);
  }

  /** All but the flags of a descriptor of memory at `offset`, which must exist. */
  describe(index: number, offset: number, lengthBytes: number, id: number): void {
    const at = this.#descOffset + descriptorBytes * index;
    this.#memory.writeGuestAddress(at, offset);
    this.#memory.view.setUint32(at + 8, lengthBytes, true);
    this.#memory.view.setUint16(at + 12, id, true);
  }

  /** Reads all of a descriptor, its flags first. */
  readDescriptor(index: number): PackedDescriptor {
    const flags = this.flags(index);
    const at = this.#descOffset + descriptorBytes * index;
    const { view } = this.#memory;
    return {
      address: view.getBigUint64(at, true),
      lengthBytes: view.getUint32(at + 8, true),
      id: view.getUint16(at + 12, true),
      flags,
    };
  }

  /** The flags of a descriptor; what is read after them is as new. */
  flags(index: number): number {
    return this.#memory.loadWord(this.#descOffset + descriptorBytes * index + 14);
  }

  /** Hands the descriptor over, with everything written before. */
  setFlags(index: number, flags: number): void {
    this.#memory.storeWord(this.#descOffset + descriptorBytes * index + 14, flags);
  }

  /** The id and length that a device writes into a descriptor it has used. */
  id(index: number): number {
    return this.#memory.view.getUint16(this.#descOffset + descriptorBytes * index + 12, true);
  }

  /** How many bytes the device says it wrote. */
  lengthBytes(index: number): number {
    return this.#memory.view.getUint32(this.#descOffset + descriptorBytes * index + 8, true);
  }

  /** When the driver wants an interrupt. */
  get driverEvent(): EventSuppression {
    return this.#event(this.#driverOffset);
  }

  /** Says when the driver wants an interrupt. */
  set driverEvent(event: EventSuppression) {
    this.#setEvent(this.#driverOffset, event);
  }

  /** When the device wants a kick; the device's to write. */
  get deviceEvent(): EventSuppression {
    return this.#event(this.#deviceOffset);
  }

  /** The device's to write; only a misbehaving driver does. */
  set deviceEvent(event: EventSuppression) {
    this.#setEvent(this.#deviceOffset, event);
  }

  /** The flags say what offWrap means, so they are read first and written last. */
  #event(offset: number): EventSuppression {
    const flags = this.#memory.loadWord(offset + 2);
    return { offWrap: this.#memory.loadWord(offset), flags };
  }

  #setEvent(offset: number, { offWrap, flags }: EventSuppression): void {
    this.#memory.storeWord(offset, offWrap);
    this.#memory.storeWord(offset + 2, flags);
  }
}
