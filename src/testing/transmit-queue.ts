/**
 * The driver's side of a transmitq: copies a frame behind a virtio-net header into blocks of guest
 * memory, in any cut, and takes the blocks back when the device has used them.
 *
 * Sources: virtio 1.2 §5.1.6.2 (packet transmission), §2.7.4 (no rules about the framing).
 */

import { failure } from '../model/errors.ts';
import { DriverQueue, type DriverQueueOptions } from './driver-queue.ts';
import type { GuestMemory } from './guest-memory.ts';
import { type NetHeader, writeNetHeader } from './net-header.ts';
import { checkPieces, type Piece } from './ring-driver.ts';

const blockBytes = 2048;

/** What was agreed on for a transmitq. */
export interface TransmitQueueOptions extends Omit<DriverQueueOptions, 'direction'> {
  readonly headerBytes: number;
}

/** How a frame is laid out in the ring. */
export interface FrameLayout {
  /**
   * Bytes in each of the first descriptors, the header counted in, at most 2048; what remains is
   * cut into as few as possible. [12] puts the header into a descriptor of its own.
   */
  readonly pieces?: readonly number[];
  /** Through an indirect table, which must have been negotiated. */
  readonly indirect?: boolean;
  /**
   * The virtio-net header in front of the frame, for offloads: its fields (absent ones are 0) or
   * its bytes, right or wrong. All zeros unless given: no checksum to complete, nothing to cut.
   */
  readonly header?: Partial<NetHeader> | Uint8Array;
}

/** Bytes of memory that a transmitq of `size` takes beside its ring. */
export function transmitBlocksBytes(size: number): number {
  return size * blockBytes;
}

/** The driver of a transmitq. */
export class TransmitQueue {
  readonly driver: DriverQueue;
  readonly #memory: GuestMemory;
  readonly #options: TransmitQueueOptions;
  readonly #blocks: number[];

  constructor(memory: GuestMemory, options: TransmitQueueOptions) {
    this.#memory = memory;
    this.#options = options;
    this.driver = new DriverQueue(memory, { ...options, direction: 'device-reads' });
    this.#blocks = Array.from({ length: options.size }, () => memory.allocate(blockBytes, 64));
  }

  /**
   * Writes a frame into the ring; false if there is no room before more of it is reclaimed. Throws
   * BAD_OPTION for a layout that never fits.
   */
  add(frame: Uint8Array, layout: FrameLayout = {}): boolean {
    const { header, indirect = false } = layout;
    const totalBytes = frame.length + this.#options.headerBytes;
    if (layout.pieces === undefined && totalBytes <= blockBytes) {
      return this.#addWhole(frame, header, indirect);
    }
    const lengths = this.#cut(totalBytes, layout.pieces ?? []);
    this.driver.checkLength(lengths.length, indirect);
    if (!this.#hasRoom(lengths.length, indirect)) return false;
    const bytes = Buffer.alloc(totalBytes);
    this.#writeHeader(bytes, new DataView(bytes.buffer, bytes.byteOffset), 0, header);
    bytes.set(frame, this.#options.headerBytes);
    let copiedBytes = 0;
    const pieces = lengths.map((lengthBytes): Piece => {
      const offset = this.#blocks.pop()!;
      this.#memory.bytes.set(bytes.subarray(copiedBytes, copiedBytes + lengthBytes), offset);
      copiedBytes += lengthBytes;
      return { offset, lengthBytes };
    });
    this.driver.add(pieces, indirect);
    return true;
  }

  /** Takes back what the device has used. Throws PEER_VIOLATION. */
  reclaim(): void {
    for (let i = 0; i < this.#options.size; i++) {
      const used = this.driver.takeUsed();
      if (used === undefined) return;
      for (const { offset } of used.pieces) this.#blocks.push(offset);
    }
  }

  /** The common case: one block, one piece, one copy. */
  #addWhole(frame: Uint8Array, header: FrameLayout['header'], indirect: boolean): boolean {
    if (!this.#hasRoom(1, indirect)) return false;
    const { headerBytes } = this.#options;
    const offset = this.#blocks.at(-1)!;
    const { bytes, view } = this.#memory;
    // Throws for a wrong header: the block is taken afterwards.
    this.#writeHeader(bytes, view, offset, header);
    bytes.set(frame, offset + headerBytes);
    this.#blocks.pop();
    this.driver.add([{ offset, lengthBytes: headerBytes + frame.length }], indirect);
    return true;
  }

  #hasRoom(pieceCount: number, indirect: boolean): boolean {
    return pieceCount <= this.#blocks.length && this.driver.hasRoom(pieceCount, indirect);
  }

  #writeHeader(
    bytes: Uint8Array,
    view: DataView,
    at: number,
    header: FrameLayout['header'] = {},
  ): void {
    const { headerBytes, queue } = this.#options;
    if (typeof header !== 'object' || header === null) {
      throw failure('header-no-fields', { header });
    }
    if (!(header instanceof Uint8Array)) {
      writeNetHeader(view, at, headerBytes, header);
    } else if (header.length === headerBytes) bytes.set(header, at);
    else {
      throw failure('header-size', { queue, bytes: header.length, agreed: headerBytes });
    }
  }

  #cut(totalBytes: number, wanted: readonly number[]): number[] {
    const lengths = checkPieces(wanted, totalBytes, blockBytes);
    const wantedBytes = lengths.reduce((sum, lengthBytes) => sum + lengthBytes, 0);
    for (let rest = totalBytes - wantedBytes; rest > 0; rest -= blockBytes) {
      lengths.push(Math.min(rest, blockBytes));
    }
    return lengths;
  }
}
