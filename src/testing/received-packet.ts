/**
 * A frame as it has arrived, with the virtio-net header that came in front of it, and the store
 * such packets are copied into.
 *
 * Packets of one batch share large blocks, because a block of its own costs far more than the copy
 * of a small frame; a block goes when the last packet in it is forgotten.
 */

import { type NetHeader, parseNetHeader } from './net-header.ts';

const blockBytes = 64 << 10;

/** A frame that has arrived, with its virtio-net header. */
export class ReceivedPacket {
  readonly #block: ArrayBuffer;
  readonly #start: number;
  readonly #headerBytes: number;
  readonly #lengthBytes: number;
  /** Number of the queue pair on whose receiveq it arrived. */
  readonly queuePair: number;

  constructor(
    block: ArrayBuffer,
    start: number,
    headerBytes: number,
    lengthBytes: number,
    queuePair: number,
  ) {
    this.#block = block;
    this.#start = start;
    this.#headerBytes = headerBytes;
    this.#lengthBytes = lengthBytes;
    this.queuePair = queuePair;
  }

  /** From the destination address on, copied out of guest memory. */
  get frame(): Uint8Array {
    const start = this.#start + this.#headerBytes;
    return new Uint8Array(this.#block, start, this.#lengthBytes - this.#headerBytes);
  }

  /** The virtio-net header as the device wrote it: 12 bytes, or 10 from a legacy device. */
  get headerBytes(): Uint8Array {
    return new Uint8Array(this.#block, this.#start, this.#headerBytes);
  }

  /** The fields of the virtio-net header. */
  get header(): NetHeader {
    return parseNetHeader(this.headerBytes);
  }
}

/** Where the next packet is copied to. */
export class PacketStore {
  #block = new Uint8Array(0);
  #usedBytes = 0;

  /** Room for a packet of `lengthBytes`; `at` is where it begins in `block`. */
  take(lengthBytes: number): { readonly block: Uint8Array<ArrayBuffer>; readonly at: number } {
    if (this.#usedBytes + lengthBytes > this.#block.length) {
      // Not cleared: nobody sees of it what was not written.
      const { buffer } = Buffer.allocUnsafeSlow(Math.max(blockBytes, lengthBytes));
      this.#block = new Uint8Array(buffer);
      this.#usedBytes = 0;
    }
    const at = this.#usedBytes;
    this.#usedBytes += lengthBytes;
    return { block: this.#block, at };
  }
}
