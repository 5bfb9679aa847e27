/**
 * The driver of a packed ring: a place to write and a place to read, each with its wrap counter,
 * and a line of free buffer ids.
 *
 * A batch is shown to the device by one store, the flags of its first descriptor: all others are
 * complete by then, and the device reads on from there.
 *
 * Sources: virtio 1.2 §2.8.1 (wrap counters), §2.8.6 (buffers of several descriptors), §2.8.7
 * (indirect), §2.8.10 (event suppression), §2.8.21 (supplying buffers), §2.8.22 (receiving used
 * ones).
 */

import type { GuestMemory } from './guest-memory.ts';
import {
  PackedRing,
  RING_EVENT_FLAGS_DESC,
  RING_EVENT_FLAGS_DISABLE,
  RING_EVENT_FLAGS_ENABLE,
  VIRTQ_DESC_F_AVAIL,
  VIRTQ_DESC_F_USED,
} from './packed-ring.ts';
import {
  crosses,
  IndirectTables,
  type Piece,
  type RingDriver,
  type RingDriverOptions,
  writeFlag,
} from './ring-driver.ts';
import {
  describeAt,
  descriptorBytes,
  type UsedElement,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
} from './split-ring.ts';

const usedBits = VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED;
const wrapBit = 0x8000;
const halfRange = 0x1_0000;

export class PackedDriver implements RingDriver {
  readonly ring: PackedRing;
  readonly #memory: GuestMemory;
  readonly #options: RingDriverOptions;
  readonly #tables: IndirectTables;
  /** A ring buffer of the ids nobody uses; there are at least as many as free descriptors. */
  readonly #freeIds: Uint16Array;
  #freeIdAt = 0;
  #freeIdEnd = 0;
  /** By id: how many descriptors its chain has. */
  readonly #lengths: Uint16Array;
  #freeDescriptors: number;
  #nextAvail = 0;
  #availWrap = 1;
  #nextUsed = 0;
  #usedWrap = 1;
  /** Descriptors written and not yet published, and the flags that publish them. */
  #unpublished = 0;
  #headIndex = 0;
  #headFlags = 0;

  constructor(memory: GuestMemory, options: RingDriverOptions) {
    const { size } = options;
    this.#memory = memory;
    this.#options = options;
    this.ring = new PackedRing(memory, size);
    this.#tables = new IndirectTables(memory);
    this.#freeIds = Uint16Array.from({ length: size }, (_, i) => i);
    this.#lengths = new Uint16Array(size);
    this.#freeDescriptors = size;
  }

  /** The same place for what to take next and what to give back next: nothing is in flight then. */
  get base(): number {
    const place = this.#nextUsed | (this.#usedWrap * wrapBit);
    return place + place * halfRange;
  }

  get freeDescriptors(): number {
    return this.#freeDescriptors;
  }

  add(pieces: readonly Piece[], indirect: boolean): number {
    const id = this.#freeIds[this.#freeIdAt]!;
    this.#freeIdAt = this.#after(this.#freeIdAt, 1);
    if (indirect) {
      const table = this.#writeTable(id, pieces);
      this.#write(table, pieces.length * descriptorBytes, id, VIRTQ_DESC_F_INDIRECT);
    } else {
      const last = pieces.length - 1;
      for (let i = 0; i <= last; i++) {
        const piece = pieces[i]!;
        const { offset, lengthBytes } = piece;
        const flags = writeFlag(piece, this.#options) | (i < last ? VIRTQ_DESC_F_NEXT : 0);
        this.#write(offset, lengthBytes, id, flags);
      }
    }
    const count = indirect ? 1 : pieces.length;
    this.#lengths[id] = count;
    this.#freeDescriptors -= count;
    return id;
  }

  publish(): boolean {
    if (this.#unpublished === 0) return false;
    // Atomics order this store behind the descriptors and before the loads below: either the device
    // sees the buffers, or this driver sees that it wants a kick (§2.8.21.3.1).
    this.ring.setFlags(this.#headIndex, this.#headFlags);
    const now = this.#nextAvail;
    const before = now - this.#unpublished;
    this.#unpublished = 0;
    const { offWrap, flags } = this.ring.deviceEvent;
    if (flags !== RING_EVENT_FLAGS_DESC) return flags !== RING_EVENT_FLAGS_DISABLE;
    const wrapped = offWrap >> 15 !== this.#availWrap;
    const event = (offWrap & ~wrapBit) - (wrapped ? this.#options.size : 0);
    return crosses(event, before, now);
  }

  /** A length without WRITE is what was left there, and not said by the device (§2.8.4). */
  peekUsed(): UsedElement | undefined {
    const flags = this.ring.flags(this.#nextUsed);
    if (!this.#saysUsed(flags)) return undefined;
    const hasLength = (flags & VIRTQ_DESC_F_WRITE) !== 0;
    return {
      id: this.ring.id(this.#nextUsed),
      lengthBytes: hasLength ? this.ring.lengthBytes(this.#nextUsed) : 0,
    };
  }

  release(id: number): void {
    const count = this.#lengths[id]!;
    this.#freeIds[this.#freeIdEnd] = id;
    this.#freeIdEnd = this.#after(this.#freeIdEnd, 1);
    this.#freeDescriptors += count;
    if (this.#nextUsed + count >= this.#options.size) this.#usedWrap ^= 1;
    this.#nextUsed = this.#after(this.#nextUsed, count);
  }

  armInterrupt(): boolean {
    this.ring.driverEvent = {
      offWrap: this.#nextUsed | (this.#usedWrap * wrapBit),
      flags: this.#options.eventIdx ? RING_EVENT_FLAGS_DESC : RING_EVENT_FLAGS_ENABLE,
    };
    return !this.#saysUsed(this.ring.flags(this.#nextUsed));
  }

  disarmInterrupt(): void {
    this.ring.driverEvent = { offWrap: 0, flags: RING_EVENT_FLAGS_DISABLE };
  }

  #saysUsed(flags: number): boolean {
    return (flags & usedBits) === (this.#usedWrap === 1 ? usedBits : 0);
  }

  /** Writes the next descriptor; the first since the last publish() keeps its flags back. */
  #write(offset: number, lengthBytes: number, id: number, flags: number): void {
    const index = this.#nextAvail;
    const owned = flags | (this.#availWrap === 1 ? VIRTQ_DESC_F_AVAIL : VIRTQ_DESC_F_USED);
    this.ring.describe(index, offset, lengthBytes, id);
    if (this.#unpublished === 0) {
      this.#headIndex = index;
      this.#headFlags = owned;
    } else this.ring.setFlags(index, owned);
    this.#unpublished++;
    this.#nextAvail = this.#after(index, 1);
    if (this.#nextAvail === 0) this.#availWrap ^= 1;
  }

  #writeTable(id: number, pieces: readonly Piece[]): number {
    const table = this.#tables.offsetOf(id);
    for (const [i, piece] of pieces.entries()) {
      const at = table + i * descriptorBytes;
      const { offset, lengthBytes } = piece;
      // Only WRITE means anything there (§2.8.7).
      describeAt(this.#memory, at, offset, lengthBytes, 0, writeFlag(piece, this.#options));
    }
    return table;
  }

  #after(index: number, count: number): number {
    const next = index + count;
    return next < this.#options.size ? next : next - this.#options.size;
  }
}
