/**
 * A driver of one virtqueue that keeps every rule and holds the device to its own: which chains the
 * device has, what it may say about them, and in which order with IN_ORDER. How chains lie in a
 * split or packed ring is up to split-driver.ts and packed-driver.ts. It knows no network;
 * receive-queue.ts and transmit-queue.ts do.
 *
 * Sources: virtio 1.2 §2.7.9 and §2.8.8 (in-order use), §2.7.5.3.1 (length of chains).
 */

import { failure, type TsvswitchError } from '../model/errors.ts';
import type { RingAddresses } from '../native/addon.ts';
import type { GuestMemory } from './guest-memory.ts';
import { PackedDriver } from './packed-driver.ts';
import type { PackedRing } from './packed-ring.ts';
import { indirectEntriesMax, type Piece, type RingDriver, violation } from './ring-driver.ts';
import { SplitDriver } from './split-driver.ts';
import { type SplitRing, VIRTQ_DESC_F_WRITE } from './split-ring.ts';

/** A chain the device has used. */
export interface UsedChain {
  /** Index of its first descriptor, or its buffer id in a packed ring. */
  readonly head: number;
  readonly pieces: readonly Piece[];
  /** How many bytes the device says it wrote. */
  readonly writtenBytes: number;
}

/** What was agreed on for a queue. */
export interface DriverQueueOptions {
  /** Number of the queue, for messages. */
  readonly queue: number;
  readonly size: number;
  /** VIRTIO_F_RING_PACKED was negotiated; false unless given. */
  readonly packed?: boolean;
  /** VIRTIO_F_EVENT_IDX was negotiated. */
  readonly eventIdx: boolean;
  /** VIRTIO_F_IN_ORDER was negotiated; false unless given. */
  readonly inOrder?: boolean;
  /**
   * Whether the device reads the buffers (transmitq) or writes them (receiveq), or reads all pieces
   * but those that say otherwise (control queue).
   */
  readonly direction: 'device-reads' | 'device-writes' | 'both';
}

/** The driver of one virtqueue, split or packed. */
export class DriverQueue {
  readonly #driver: RingDriver;
  readonly #options: DriverQueueOptions;
  /** By id: the pieces of each chain the device has. */
  readonly #chains: (readonly Piece[] | undefined)[];
  #outstanding = 0;
  /** With IN_ORDER: the ids of those chains, oldest first, as a ring buffer. */
  readonly #order: Uint16Array;
  #oldest = 0;
  /** With IN_ORDER: chains used together with one that the device named, and not taken yet. */
  #batch: { left: number; readonly writtenBytes: number } = { left: 0, writtenBytes: 0 };

  constructor(memory: GuestMemory, options: DriverQueueOptions) {
    const { queue, size, eventIdx } = options;
    const directionFlag = options.direction === 'device-writes' ? VIRTQ_DESC_F_WRITE : 0;
    const Driver = options.packed ? PackedDriver : SplitDriver;
    this.#driver = new Driver(memory, { queue, size, eventIdx, directionFlag });
    this.#options = options;
    this.#chains = Array(size).fill(undefined);
    this.#order = new Uint16Array(size);
    this.disarmInterrupt();
  }

  /** The raw split ring, for misbehaving on purpose. Throws BAD_OPTION if the queue is packed. */
  get ring(): SplitRing {
    const { ring } = this.#driver;
    if (ring.format === 'split') return ring;
    throw this.#otherFormat('packed', 'packedRing');
  }

  /** The raw packed ring, for misbehaving on purpose. Throws BAD_OPTION if the queue is split. */
  get packedRing(): PackedRing {
    const { ring } = this.#driver;
    if (ring.format === 'packed') return ring;
    throw this.#otherFormat('split', 'ring');
  }

  /** Descriptors in the ring. */
  get size(): number {
    return this.#options.size;
  }

  /** SET_VRING_ADDR. */
  get addresses(): RingAddresses {
    return this.#driver.ring.addresses;
  }

  /** SET_VRING_BASE for a backend that goes on behind the last chain that takeUsed() returned. */
  get base(): number {
    return this.#driver.base;
  }

  /** Chains the device has and has not used yet. */
  get outstanding(): number {
    return this.#outstanding;
  }

  /** Throws BAD_OPTION if a chain of `pieceCount` pieces never fits, however empty the ring. */
  checkLength(pieceCount: number, indirect: boolean): void {
    const { queue, size } = this.#options;
    const piecesMax = indirect ? Math.min(indirectEntriesMax, size) : size;
    if (pieceCount < 1 || pieceCount > piecesMax) {
      throw failure('chain-of-too-many', { queue, pieces: pieceCount, max: piecesMax });
    }
  }

  /** Whether a chain of `pieceCount` pieces can be added now. */
  hasRoom(pieceCount: number, indirect: boolean): boolean {
    return this.#driver.freeDescriptors >= (indirect ? 1 : pieceCount);
  }

  /** Writes a chain; the device sees it after publish(). The caller has asked both of the above. */
  add(pieces: readonly Piece[], indirect: boolean): void {
    const id = this.#driver.add(pieces, indirect);
    this.#chains[id] = pieces;
    this.#order[(this.#oldest + this.#outstanding) % this.#options.size] = id;
    this.#outstanding++;
  }

  /**
   * Shows the device all chains added since the last call; true if it asks to be kicked for them.
   */
  publish(): boolean {
    return this.#driver.publish();
  }

  /** The next chain the device has used, or undefined. Throws PEER_VIOLATION. */
  takeUsed(): UsedChain | undefined {
    if (this.#batch.left > 0) return this.#takeOldest();
    const used = this.#driver.peekUsed(this.#outstanding);
    if (used === undefined) return undefined;
    const { id, lengthBytes } = used;
    const pieces = this.#chains[id];
    if (pieces === undefined) throw this.violation(`used element ${id} is no available chain`);
    const roomBytes = this.#roomOf(pieces);
    if (lengthBytes > roomBytes) {
      throw this.violation(`${lengthBytes} bytes written to a chain with room for ${roomBytes}`);
    }
    if (!this.#options.inOrder) return this.#take(id, pieces, lengthBytes);
    // "The device can notify the use of a batch of buffers [with the] id corresponding to [...] the
    // last buffer in the batch" (§2.7.9): everything older was used as well.
    let left = 1;
    while (this.#order[(this.#oldest + left - 1) % this.#options.size] !== id) left++;
    this.#batch = { left, writtenBytes: lengthBytes };
    return this.#takeOldest();
  }

  /**
   * Asks for an interrupt at the next used chain. False if there is one already: the device may
   * have used it before it saw the request, so the caller takes it now.
   */
  armInterrupt(): boolean {
    return this.#driver.armInterrupt() && this.#batch.left === 0;
  }

  /** Asks for no interrupts. */
  disarmInterrupt(): void {
    this.#driver.disarmInterrupt();
  }

  /** A PEER_VIOLATION that names this queue, for the caller to throw. */
  violation(what: string): TsvswitchError {
    return violation(this.#options.queue, what);
  }

  /** "The skipped buffers [...] are assumed to have been used (read or written) completely." */
  #takeOldest(): UsedChain {
    const id = this.#order[this.#oldest]!;
    const pieces = this.#chains[id]!;
    this.#batch.left--;
    const isNamed = this.#batch.left === 0;
    return this.#take(id, pieces, isNamed ? this.#batch.writtenBytes : this.#roomOf(pieces));
  }

  #take(id: number, pieces: readonly Piece[], writtenBytes: number): UsedChain {
    this.#chains[id] = undefined;
    this.#outstanding--;
    this.#oldest = (this.#oldest + 1) % this.#options.size;
    this.#driver.release(id);
    return { head: id, pieces, writtenBytes };
  }

  #roomOf(pieces: readonly Piece[]): number {
    const { direction } = this.#options;
    if (direction === 'device-reads') return 0;
    let roomBytes = 0;
    for (const { lengthBytes, written = false } of pieces) {
      if (written || direction === 'device-writes') roomBytes += lengthBytes;
    }
    return roomBytes;
  }

  #otherFormat(format: string, accessor: string): TsvswitchError {
    const { queue } = this.#options;
    return failure('ring-of-other-format', { queue, format, accessor });
  }
}
