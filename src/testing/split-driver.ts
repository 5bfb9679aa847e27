/**
 * The driver of a split ring: a list of free descriptors, the avail index it publishes and the used
 * index it has seen.
 *
 * The list is threaded through an array of its own and not through the descriptors' next fields:
 * the device may write there, and a chain is freed by what this driver knows of it.
 *
 * Sources: virtio 1.2 §2.7.5.3 (indirect), §2.7.7 and §2.7.10 (notification suppression), §2.7.13
 * (supplying buffers), §2.7.14 (receiving used buffers).
 */

import type { GuestMemory } from './guest-memory.ts';
import {
  crosses,
  IndirectTables,
  type Piece,
  type RingDriver,
  type RingDriverOptions,
  violation,
  writeFlag,
} from './ring-driver.ts';
import {
  describeAt,
  descriptorBytes,
  SplitRing,
  type UsedElement,
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_USED_F_NO_NOTIFY,
} from './split-ring.ts';

export class SplitDriver implements RingDriver {
  readonly ring: SplitRing;
  readonly #memory: GuestMemory;
  readonly #options: RingDriverOptions;
  readonly #tables: IndirectTables;
  /** What follows a descriptor in its chain or in the list of free ones. */
  readonly #links: Uint16Array;
  /** By the head of a chain: how many descriptors it has. */
  readonly #lengths: Uint16Array;
  #freeHead = 0;
  #freeTail: number;
  #freeDescriptors: number;
  /** Chains written so far and not yet published, as an avail index. */
  #nextAvail = 0;
  #publishedAvail = 0;
  #seenUsed = 0;

  constructor(memory: GuestMemory, options: RingDriverOptions) {
    const { size } = options;
    this.#memory = memory;
    this.#options = options;
    this.ring = new SplitRing(memory, size);
    this.#tables = new IndirectTables(memory);
    this.#links = Uint16Array.from({ length: size }, (_, i) => i + 1);
    this.#lengths = new Uint16Array(size);
    this.#freeTail = size - 1;
    this.#freeDescriptors = size;
  }

  get base(): number {
    return this.#seenUsed;
  }

  get freeDescriptors(): number {
    return this.#freeDescriptors;
  }

  add(pieces: readonly Piece[], indirect: boolean): number {
    const { size } = this.#options;
    const head = this.#freeHead;
    let index = head;
    if (indirect) {
      this.#writeIndirect(head, pieces);
      index = this.#links[head]!;
    } else {
      const last = pieces.length - 1;
      for (let i = 0; i <= last; i++) {
        const piece = pieces[i]!;
        const { offset, lengthBytes } = piece;
        const flags = writeFlag(piece, this.#options) | (i < last ? VIRTQ_DESC_F_NEXT : 0);
        const next = this.#links[index]!;
        this.ring.describe(index, offset, lengthBytes, flags, i < last ? next : 0);
        index = next;
      }
    }
    const count = indirect ? 1 : pieces.length;
    this.#lengths[head] = count;
    this.#freeHead = index;
    this.#freeDescriptors -= count;
    this.ring.setAvailEntry(this.#nextAvail % size, head);
    this.#nextAvail = (this.#nextAvail + 1) & 0xffff;
    return head;
  }

  publish(): boolean {
    const before = this.#publishedAvail;
    const now = this.#nextAvail;
    if (now === before) return false;
    this.#publishedAvail = now;
    // Atomics order this store before the loads below: either the device sees the new index, or
    // this driver sees that it wants a kick (§2.7.13.4.1).
    this.ring.availIndex = now;
    if (!this.#options.eventIdx) return (this.ring.usedFlags & VIRTQ_USED_F_NO_NOTIFY) === 0;
    return crosses(this.ring.availEvent, before, now);
  }

  peekUsed(outstanding: number): UsedElement | undefined {
    const usedIndex = this.ring.usedIndex;
    if (usedIndex === this.#seenUsed) return undefined;
    const behind = (usedIndex - this.#seenUsed) & 0xffff;
    if (behind > outstanding) {
      throw violation(
        this.#options.queue,
        `used index jumps by ${behind} with ${outstanding} chains available`,
      );
    }
    return this.ring.usedElement(this.#seenUsed % this.#options.size);
  }

  release(id: number): void {
    const count = this.#lengths[id]!;
    let tail = id;
    for (let i = 1; i < count; i++) tail = this.#links[tail]!;
    if (this.#freeDescriptors === 0) this.#freeHead = id;
    else this.#links[this.#freeTail] = id;
    this.#freeTail = tail;
    this.#freeDescriptors += count;
    this.#seenUsed = (this.#seenUsed + 1) & 0xffff;
  }

  armInterrupt(): boolean {
    if (this.#options.eventIdx) this.ring.usedEvent = this.#seenUsed;
    else this.ring.availFlags = 0;
    return this.ring.usedIndex === this.#seenUsed;
  }

  /** With EVENT_IDX: none before the index has gone half way round. */
  disarmInterrupt(): void {
    if (this.#options.eventIdx) this.ring.usedEvent = this.#seenUsed + 0x8000;
    else this.ring.availFlags = VIRTQ_AVAIL_F_NO_INTERRUPT;
  }

  #writeIndirect(head: number, pieces: readonly Piece[]): void {
    const table = this.#tables.offsetOf(head);
    const last = pieces.length - 1;
    for (const [i, piece] of pieces.entries()) {
      const { offset, lengthBytes } = piece;
      const flags = writeFlag(piece, this.#options) | (i < last ? VIRTQ_DESC_F_NEXT : 0);
      const at = table + i * descriptorBytes;
      describeAt(this.#memory, at, offset, lengthBytes, flags, i < last ? i + 1 : 0);
    }
    const tableBytes = pieces.length * descriptorBytes;
    this.ring.describe(head, table, tableBytes, VIRTQ_DESC_F_INDIRECT, 0);
  }
}
