/**
 * The driver's side of a transmitq: copies a frame behind a virtio-net header into blocks of guest
 * memory, in any cut, and takes the blocks back when the device has used them.
 *
 * Sources: virtio 1.2 §5.1.6.2 (packet transmission), §2.7.4 (no rules about the framing).
 */

import { TsvswitchError } from '../errors.ts';
import { DriverQueue, type DriverQueueOptions, type Piece } from './driver-queue.ts';
import type { GuestMemory } from './guest-memory.ts';

const blockBytes = 2048;

export interface TransmitQueueOptions extends Omit<DriverQueueOptions, 'direction'> {
  readonly headerBytes: number;
}

/** How a frame is laid out in the ring. */
export interface FrameLayout {
  /**
   * Bytes in each of the first descriptors, the header counted in, at most 2048; what remains is cut
   * into as few as possible. [12] puts the header into a descriptor of its own.
   */
  readonly pieces?: readonly number[];
  /** Through an indirect table, which must have been negotiated. */
  readonly indirect?: boolean;
}

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

  /** Writes a frame into the ring; false if there is no room before more of it is reclaimed. */
  add(frame: Uint8Array, layout: FrameLayout): boolean {
    const indirect = layout.indirect ?? false;
    const lengths = this.#cut(frame.length + this.#options.headerBytes, layout.pieces ?? []);
    this.driver.checkLength(lengths.length, indirect);
    if (lengths.length > this.#blocks.length || !this.driver.hasRoom(lengths.length, indirect)) {
      return false;
    }
    // All zeros: no checksum to complete, no segmentation (§5.1.6.2).
    const bytes = Buffer.concat([Buffer.alloc(this.#options.headerBytes), frame]);
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
      this.#blocks.push(...used.pieces.map(({ offset }) => offset));
    }
  }

  #cut(totalBytes: number, wanted: readonly number[]): number[] {
    const wantedBytes = wanted.reduce((sum, lengthBytes) => sum + lengthBytes, 0);
    if (wantedBytes > totalBytes || wanted.some((bytes) => !(bytes >= 1 && bytes <= blockBytes))) {
      throw new TsvswitchError(
        'BAD_OPTION',
        `pieces of ${wanted.join(', ')} bytes for ${totalBytes} bytes of header and frame; ` +
          `each must have 1 to ${blockBytes} and all together no more than there are`,
      );
    }
    const lengths = [...wanted];
    for (let rest = totalBytes - wantedBytes; rest > 0; rest -= blockBytes) {
      lengths.push(Math.min(rest, blockBytes));
    }
    return lengths;
  }
}
