/**
 * One split virtqueue as bytes in guest memory, seen from the driver: every field, readable and
 * writable, right or wrong. It keeps no state of its own and checks nothing, so that a test can
 * misbehave through it; split-driver.ts is the driver that behaves.
 *
 * Ordering. Both index fields are accessed with Atomics, everything else with plain loads and
 * stores. Atomics are sequentially consistent, so a descriptor or ring entry written before
 * `availIndex` is set is seen by whoever sees the index, an element read after `usedIndex` was read
 * is at least as new as it, and a store to an index or event field comes before a later load of the
 * other side's.
 *
 * Sources: virtio 1.2 §2.7.5 (descriptors), §2.7.6 (available ring), §2.7.8 (used ring).
 */

import type { RingAddresses } from '../native/addon.ts';
import type { GuestMemory } from './guest-memory.ts';

/** The chain goes on. Spelled, like the others, as in virtio 1.2 §2.7.5, §2.7.6 and §2.7.8. */
export const VIRTQ_DESC_F_NEXT = 1;
/** The device writes the buffer. */
export const VIRTQ_DESC_F_WRITE = 2;
/** The buffer is a table of descriptors. */
export const VIRTQ_DESC_F_INDIRECT = 4;
/** The driver wants no interrupts. */
export const VIRTQ_AVAIL_F_NO_INTERRUPT = 1;
/** The device wants no kicks. */
export const VIRTQ_USED_F_NO_NOTIFY = 1;

export const descriptorBytes = 16;
const usedElementBytes = 8;
/** flags and idx in front of either ring. */
const ringHeadBytes = 4;
/** used_event or avail_event behind it. */
const ringTailBytes = 2;

/** One entry of a split ring's descriptor table, or of an indirect table. */
export interface Descriptor {
  /** Guest address of the buffer. */
  readonly address: bigint;
  readonly lengthBytes: number;
  /** `VIRTQ_DESC_F_*`, or nonsense. */
  readonly flags: number;
  /** Index of the chain's next descriptor where `flags` has NEXT. */
  readonly next: number;
}

/** One entry of a used ring. */
export interface UsedElement {
  /** Head of the chain, or the buffer id of a packed ring. */
  readonly id: number;
  /** What the device says it has written. */
  readonly lengthBytes: number;
}

/** Bytes that a split ring of `size` takes, its parts' alignment included. */
export function splitRingBytes(size: number): number {
  return (descriptorBytes + 2 + usedElementBytes) * size + 2 * (ringHeadBytes + ringTailBytes) + 16;
}

/** The bytes of a split virtqueue, field by field. */
export class SplitRing {
  readonly format = 'split';
  readonly size: number;
  readonly #memory: GuestMemory;
  readonly #descOffset: number;
  readonly #availOffset: number;
  readonly #usedOffset: number;

  constructor(memory: GuestMemory, size: number) {
    this.size = size;
    this.#memory = memory;
    this.#descOffset = memory.allocateWhole(descriptorBytes * size, 16);
    this.#availOffset = memory.allocateWhole(ringHeadBytes + 2 * size + ringTailBytes, 2);
    this.#usedOffset = memory.allocateWhole(
      ringHeadBytes + usedElementBytes * size + ringTailBytes,
      4,
    );
  }

  /** Where the parts lie, as SET_VRING_ADDR says it. */
  get addresses(): RingAddresses {
    return {
      desc: this.#memory.userAddress(this.#descOffset),
      avail: this.#memory.userAddress(this.#availOffset),
      used: this.#memory.userAddress(this.#usedOffset),
    };
  }

  /** Writes entry `index` of the descriptor table. */
  writeDescriptor(index: number, descriptor: Descriptor): void {
    writeDescriptorAt(this.#memory, this.#descOffset + descriptorBytes * index, descriptor);
  }

  /** A descriptor of memory at `offset`, which must exist; what the behaving driver writes. */
  describe(index: number, offset: number, lengthBytes: number, flags: number, next: number): void {
    const at = this.#descOffset + descriptorBytes * index;
    describeAt(this.#memory, at, offset, lengthBytes, flags, next);
  }

  /** Reads entry `index` of the descriptor table. */
  readDescriptor(index: number): Descriptor {
    const at = this.#descOffset + descriptorBytes * index;
    const { view } = this.#memory;
    return {
      address: view.getBigUint64(at, true),
      lengthBytes: view.getUint32(at + 8, true),
      flags: view.getUint16(at + 12, true),
      next: view.getUint16(at + 14, true),
    };
  }

  /** Entry `slot` of the available ring; `slot` is not wrapped. */
  setAvailEntry(slot: number, head: number): void {
    this.#memory.view.setUint16(this.#availOffset + ringHeadBytes + 2 * slot, head, true);
  }

  /** The head in entry `slot` of the available ring. */
  availEntry(slot: number): number {
    return this.#memory.view.getUint16(this.#availOffset + ringHeadBytes + 2 * slot, true);
  }

  /** Where the driver puts its next entry, modulo 65536. */
  get availIndex(): number {
    return this.#memory.loadWord(this.#availOffset + 2);
  }

  /** Shows the device all entries below. */
  set availIndex(index: number) {
    this.#memory.storeWord(this.#availOffset + 2, index);
  }

  /** `VIRTQ_AVAIL_F_*` */
  get availFlags(): number {
    return this.#memory.loadWord(this.#availOffset);
  }

  /** `VIRTQ_AVAIL_F_*` */
  set availFlags(flags: number) {
    this.#memory.storeWord(this.#availOffset, flags);
  }

  /** Where the driver wants the next interrupt, behind the available ring. */
  get usedEvent(): number {
    return this.#memory.loadWord(this.#availOffset + ringHeadBytes + 2 * this.size);
  }

  /** Asks for an interrupt when the used index passes this. */
  set usedEvent(index: number) {
    this.#memory.storeWord(this.#availOffset + ringHeadBytes + 2 * this.size, index);
  }

  /** Where the device puts its next element, modulo 65536. */
  get usedIndex(): number {
    return this.#memory.loadWord(this.#usedOffset + 2);
  }

  /** The device's to write; only a misbehaving driver does. */
  set usedIndex(index: number) {
    this.#memory.storeWord(this.#usedOffset + 2, index);
  }

  /** `VIRTQ_USED_F_*` */
  get usedFlags(): number {
    return this.#memory.loadWord(this.#usedOffset);
  }

  /** The device's to write. */
  set usedFlags(flags: number) {
    this.#memory.storeWord(this.#usedOffset, flags);
  }

  /** Where the device wants the next kick, behind the used ring. */
  get availEvent(): number {
    return this.#memory.loadWord(this.#usedOffset + ringHeadBytes + usedElementBytes * this.size);
  }

  /** The device's to write. */
  set availEvent(index: number) {
    this.#memory.storeWord(this.#usedOffset + ringHeadBytes + usedElementBytes * this.size, index);
  }

  /** Element `slot` of the used ring; `slot` is not wrapped. */
  usedElement(slot: number): UsedElement {
    const at = this.#usedOffset + ringHeadBytes + usedElementBytes * slot;
    const { view } = this.#memory;
    return { id: view.getUint32(at, true), lengthBytes: view.getUint32(at + 4, true) };
  }

  /** The device's to write. */
  setUsedElement(slot: number, { id, lengthBytes }: UsedElement): void {
    const at = this.#usedOffset + ringHeadBytes + usedElementBytes * slot;
    this.#memory.view.setUint32(at, id, true);
    this.#memory.view.setUint32(at + 4, lengthBytes, true);
  }
}

/** Writes a descriptor anywhere, for indirect tables as well as for the ring's own. */
export function writeDescriptorAt(
  memory: GuestMemory,
  offset: number,
  { address, lengthBytes, flags, next }: Descriptor,
): void {
  memory.view.setBigUint64(offset, address, true);
  memory.view.setUint32(offset + 8, lengthBytes, true);
  memory.view.setUint16(offset + 12, flags, true);
  memory.view.setUint16(offset + 14, next, true);
}

/**
 * The same for a buffer at an offset of memory. The two words behind the length are flags and next,
 * or id and flags in a table of a packed ring.
 */
export function describeAt(
  memory: GuestMemory,
  at: number,
  offset: number,
  lengthBytes: number,
  first: number,
  second: number,
): void {
  memory.writeGuestAddress(at, offset);
  memory.view.setUint32(at + 8, lengthBytes, true);
  memory.view.setUint16(at + 12, first, true);
  memory.view.setUint16(at + 14, second, true);
}
