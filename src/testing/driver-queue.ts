/**
 * A driver of one split virtqueue that keeps every rule and holds the device to its own: free
 * descriptors, chains direct and indirect, publishing, kicks and interrupts with and without
 * EVENT_IDX. It knows no network; receive-queue.ts and transmit-queue.ts do.
 *
 * Sources: virtio 1.2 §2.7.5.3 (indirect), §2.7.7 and §2.7.10 (notification suppression), §2.7.13
 * (supplying buffers), §2.7.14 (receiving used buffers).
 */

import { TsvswitchError } from '../errors.ts';
import type { GuestMemory } from './guest-memory.ts';
import {
  type Descriptor,
  descriptorBytes,
  SplitRing,
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_USED_F_NO_NOTIFY,
  writeDescriptorAt,
} from './split-ring.ts';

/** A piece of a buffer: one descriptor. */
export interface Piece {
  readonly offset: number;
  readonly lengthBytes: number;
}

/** A chain the device has used. */
export interface UsedChain {
  readonly head: number;
  readonly pieces: readonly Piece[];
  /** How many bytes the device says it wrote. */
  readonly writtenBytes: number;
}

export interface DriverQueueOptions {
  /** Number of the queue, for messages. */
  readonly queue: number;
  readonly size: number;
  /** VIRTIO_F_EVENT_IDX was negotiated. */
  readonly eventIdx: boolean;
  /** Whether the device reads the buffers (transmitq) or writes them (receiveq). */
  readonly direction: 'device-reads' | 'device-writes';
}

interface Chain {
  readonly pieces: readonly Piece[];
  /** Descriptors of the ring that are free again once the chain is used. */
  readonly descriptors: readonly number[];
}

/** No longer chain is put into an indirect table, nor one longer than the ring (§2.7.5.3.1). */
const indirectEntriesMax = 64;

export class DriverQueue {
  /** The raw ring, for misbehaving on purpose. */
  readonly ring: SplitRing;
  readonly #memory: GuestMemory;
  readonly #options: DriverQueueOptions;
  readonly #free: number[];
  readonly #chains = new Map<number, Chain>();
  readonly #tables = new Map<number, number>();
  /** Chains written so far and not yet published, as an avail index. */
  #nextAvail = 0;
  #publishedAvail = 0;
  #seenUsed = 0;

  constructor(memory: GuestMemory, options: DriverQueueOptions) {
    this.#memory = memory;
    this.#options = options;
    this.ring = new SplitRing(memory, options.size);
    this.#free = Array.from({ length: options.size }, (_, i) => options.size - 1 - i);
    this.disarmInterrupt();
  }

  /** Chains the device has and has not used yet. */
  get outstanding(): number {
    return this.#chains.size;
  }

  /** Throws BAD_OPTION if a chain of `pieceCount` pieces never fits, however empty the ring. */
  checkLength(pieceCount: number, indirect: boolean): void {
    const { queue, size } = this.#options;
    const piecesMax = indirect ? Math.min(indirectEntriesMax, size) : size;
    if (pieceCount < 1 || pieceCount > piecesMax) {
      throw new TsvswitchError(
        'BAD_OPTION',
        `queue ${queue}: a chain of ${pieceCount} pieces; 1 to ${piecesMax} fit`,
      );
    }
  }

  /** Whether a chain of `pieceCount` pieces can be added now. */
  hasRoom(pieceCount: number, indirect: boolean): boolean {
    return this.#free.length >= (indirect ? 1 : pieceCount);
  }

  /** Writes a chain; the device sees it after publish(). The caller has asked both of the above. */
  add(pieces: readonly Piece[], indirect: boolean): void {
    const descriptors = this.#free.splice(-(indirect ? 1 : pieces.length)).reverse();
    const head = descriptors[0]!;
    if (indirect) this.#writeIndirect(head, pieces);
    else {
      pieces.forEach((piece, i) => {
        this.ring.writeDescriptor(descriptors[i]!, this.#describe(piece, descriptors[i + 1]));
      });
    }
    this.#chains.set(head, { pieces, descriptors });
    this.ring.setAvailEntry(this.#nextAvail % this.#options.size, head);
    this.#nextAvail = (this.#nextAvail + 1) & 0xffff;
  }

  /** Shows the device all chains added since the last call; true if it asks to be kicked for them. */
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

  /** The next chain the device has used, or undefined. Throws PEER_VIOLATION. */
  takeUsed(): UsedChain | undefined {
    const usedIndex = this.ring.usedIndex;
    if (usedIndex === this.#seenUsed) return undefined;
    const behind = (usedIndex - this.#seenUsed) & 0xffff;
    if (behind > this.#chains.size) {
      throw this.violation(
        `used index jumps by ${behind} with ${this.#chains.size} chains available`,
      );
    }
    const { id, lengthBytes } = this.ring.usedElement(this.#seenUsed % this.#options.size);
    const chain = this.#chains.get(id);
    if (chain === undefined) throw this.violation(`used element ${id} is no available chain`);
    const roomBytes =
      this.#options.direction === 'device-writes'
        ? chain.pieces.reduce((sum, piece) => sum + piece.lengthBytes, 0)
        : 0;
    if (lengthBytes > roomBytes) {
      throw this.violation(`${lengthBytes} bytes written to a chain with room for ${roomBytes}`);
    }
    this.#chains.delete(id);
    this.#free.push(...chain.descriptors);
    this.#seenUsed = (this.#seenUsed + 1) & 0xffff;
    return { head: id, pieces: chain.pieces, writtenBytes: lengthBytes };
  }

  /**
   * Asks for an interrupt at the next used chain. False if there is one already: the device may have
   * used it before it saw the request, so the caller takes it now.
   */
  armInterrupt(): boolean {
    if (this.#options.eventIdx) this.ring.usedEvent = this.#seenUsed;
    else this.ring.availFlags = 0;
    return this.ring.usedIndex === this.#seenUsed;
  }

  /** Asks for no interrupts; with EVENT_IDX, for none before the ring has gone half way round. */
  disarmInterrupt(): void {
    if (this.#options.eventIdx) this.ring.usedEvent = this.#seenUsed + 0x8000;
    else this.ring.availFlags = VIRTQ_AVAIL_F_NO_INTERRUPT;
  }

  violation(what: string): TsvswitchError {
    return new TsvswitchError('PEER_VIOLATION', `queue ${this.#options.queue}: ${what}`);
  }

  #describe(piece: Piece, next: number | undefined): Descriptor {
    return {
      address: this.#memory.guestAddress(piece.offset),
      lengthBytes: piece.lengthBytes,
      flags:
        (next === undefined ? 0 : VIRTQ_DESC_F_NEXT) |
        (this.#options.direction === 'device-writes' ? VIRTQ_DESC_F_WRITE : 0),
      next: next ?? 0,
    };
  }

  #writeIndirect(head: number, pieces: readonly Piece[]): void {
    // Each head keeps its table, so that a table is never rewritten while the device may read it.
    const tableOffset =
      this.#tables.get(head) ?? this.#memory.allocate(indirectEntriesMax * descriptorBytes, 16);
    this.#tables.set(head, tableOffset);
    pieces.forEach((piece, i) => {
      const next = i + 1 < pieces.length ? i + 1 : undefined;
      const at = tableOffset + i * descriptorBytes;
      writeDescriptorAt(this.#memory, at, this.#describe(piece, next));
    });
    this.ring.writeDescriptor(head, {
      address: this.#memory.guestAddress(tableOffset),
      lengthBytes: pieces.length * descriptorBytes,
      flags: VIRTQ_DESC_F_INDIRECT,
      next: 0,
    });
  }
}

/** vring_need_event of §2.7.7.1: whether `event` lies in [before, now), modulo 2^16. */
function crosses(event: number, before: number, now: number): boolean {
  return ((now - event - 1) & 0xffff) < ((now - before) & 0xffff);
}
