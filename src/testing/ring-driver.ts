/**
 * What a driver does differently for each ring format: where descriptors come from, how a chain is
 * written and shown to the device, how used ones are found, and when either side is notified.
 * split-driver.ts and packed-driver.ts do it, driver-queue.ts builds on it.
 *
 * Descriptors and ids are handed out in ring order and taken back at the end of the line, so that a
 * device that uses buffers in order finds them in ring order, as IN_ORDER wants (virtio 1.2 §2.7.9,
 * §2.8.8).
 */

import { failure, type TsvswitchError } from '../model/errors.ts';
import type { GuestMemory } from './guest-memory.ts';
import type { PackedRing } from './packed-ring.ts';
import {
  descriptorBytes,
  type SplitRing,
  type UsedElement,
  VIRTQ_DESC_F_WRITE,
} from './split-ring.ts';

/** A piece of a buffer: one descriptor. */
export interface Piece {
  readonly offset: number;
  readonly lengthBytes: number;
  /** The device writes it, in a queue whose chains it reads otherwise; false unless given. */
  readonly written?: boolean;
}

export interface RingDriverOptions {
  /** Number of the queue, for messages. */
  readonly queue: number;
  readonly size: number;
  /** VIRTIO_F_EVENT_IDX was negotiated. */
  readonly eventIdx: boolean;
  /** VIRTQ_DESC_F_WRITE in a receiveq, else 0. */
  readonly directionFlag: number;
}

export interface RingDriver {
  readonly ring: SplitRing | PackedRing;
  /** SET_VRING_BASE for a backend that is to go on behind what was seen used. */
  readonly base: number;
  readonly freeDescriptors: number;
  /** Writes a chain, which must fit, and returns its id; the device sees it after publish(). */
  add(pieces: readonly Piece[], indirect: boolean): number;
  /**
   * Shows the device all chains added since the last call; true if it asks to be kicked for them.
   */
  publish(): boolean;
  /** What the device says at the place of the next used buffer. Throws PEER_VIOLATION. */
  peekUsed(outstanding: number): UsedElement | undefined;
  /** Moves on behind the chain `id`, whose descriptors are free now. */
  release(id: number): void;
  /** Asks for an interrupt at the next used chain; false if there is one already. */
  armInterrupt(): boolean;
  disarmInterrupt(): void;
}

/** VIRTQ_DESC_F_WRITE, where a piece of this queue has it. */
export function writeFlag(piece: Piece, { directionFlag }: RingDriverOptions): number {
  return piece.written ? VIRTQ_DESC_F_WRITE : directionFlag;
}

/** No longer chain is put into an indirect table, nor one longer than the ring (§2.7.5.3.1). */
export const indirectEntriesMax = 64;

/** Each id keeps its table, so that a table is never rewritten while the device may read it. */
export class IndirectTables {
  readonly #memory: GuestMemory;
  readonly #offsets: (number | undefined)[] = [];

  constructor(memory: GuestMemory) {
    this.#memory = memory;
  }

  offsetOf(id: number): number {
    const offset =
      this.#offsets[id] ?? this.#memory.allocate(indirectEntriesMax * descriptorBytes, 16);
    this.#offsets[id] = offset;
    return offset;
  }
}

/**
 * Throws BAD_OPTION unless these are lengths of pieces, 1 to `pieceBytesMax` bytes, that fit
 * together.
 */
export function checkPieces(
  pieces: readonly number[],
  totalBytes: number,
  pieceBytesMax = totalBytes,
): number[] {
  const isLength = (bytes: number) =>
    Number.isInteger(bytes) && bytes >= 1 && bytes <= pieceBytesMax;
  if (!Array.isArray(pieces) || !pieces.every(isLength)) {
    throw failure('pieces-no-array', { pieces: String(pieces), max: pieceBytesMax });
  }
  const wantedBytes = pieces.reduce((sum, lengthBytes) => sum + lengthBytes, 0);
  if (wantedBytes > totalBytes) {
    throw failure('pieces-too-long', { pieces, wantedBytes, totalBytes });
  }
  return [...pieces];
}

/** vring_need_event of virtio 1.2 §2.7.7.1: whether `event` lies in [before, now), modulo 2^16. */
export function crosses(event: number, before: number, now: number): boolean {
  return ((now - event - 1) & 0xffff) < ((now - before) & 0xffff);
}

export function violation(queue: number, what: string): TsvswitchError {
  return failure('peer-violation', { queue, what });
}
