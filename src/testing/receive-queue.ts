/**
 * The driver's side of a receiveq: gives the device empty buffers and puts frames together from the
 * buffers it has used.
 *
 * Every buffer is a chain of one or more pieces, and goes back to the device as soon as its frame
 * was copied out. With MRG_RXBUF a frame may lie in several buffers, the first of which says in how
 * many.
 *
 * Sources: virtio 1.2 §5.1.6.3 (receive buffers), §5.1.6.4 (incoming packets).
 */

import { DriverQueue, type DriverQueueOptions, type UsedChain } from './driver-queue.ts';
import type { GuestMemory } from './guest-memory.ts';
import { numBuffersAt } from './net-header.ts';
import { PacketStore, ReceivedPacket } from './received-packet.ts';
import { checkPieces, type Piece } from './ring-driver.ts';

/** How receive buffers lie in the ring. */
export interface BufferLayout {
  /**
   * Bytes in each of a buffer's first descriptors; what remains is one more. One for all unless
   * given.
   */
  readonly pieces?: readonly number[];
  /** Through indirect tables, which must have been negotiated. */
  readonly indirect?: boolean;
}

/** What was agreed on for a receiveq, and the buffers it is given. */
export interface ReceiveQueueOptions extends Omit<DriverQueueOptions, 'direction'> {
  readonly headerBytes: number;
  /** VIRTIO_NET_F_MRG_RXBUF was negotiated. */
  readonly mergeable: boolean;
  readonly bufferBytes: number;
  /** How many buffers the device is given; as many as fit unless given. */
  readonly bufferCount?: number;
  readonly layout?: BufferLayout;
}

/** The driver of a receiveq. */
export class ReceiveQueue {
  readonly driver: DriverQueue;
  readonly #memory: GuestMemory;
  readonly #options: ReceiveQueueOptions;
  readonly #indirect: boolean;
  readonly #queuePair: number;
  readonly #store = new PacketStore();
  #last: ReceivedPacket | undefined;

  constructor(memory: GuestMemory, options: ReceiveQueueOptions) {
    const { bufferBytes, size, layout = {} } = options;
    this.#memory = memory;
    this.#options = options;
    this.#indirect = layout.indirect ?? false;
    this.#queuePair = Math.floor(options.queue / 2);
    this.driver = new DriverQueue(memory, { ...options, direction: 'device-writes' });
    const lengths = cut(bufferBytes, layout.pieces ?? []);
    this.driver.checkLength(lengths.length, this.#indirect);
    const bufferCount = options.bufferCount ?? size;
    for (let i = 0; i < bufferCount; i++) {
      if (!this.driver.hasRoom(lengths.length, this.#indirect)) break;
      let offset = memory.allocate(bufferBytes, 64);
      const pieces = lengths.map((lengthBytes): Piece => {
        offset += lengthBytes;
        return { offset: offset - lengthBytes, lengthBytes };
      });
      this.driver.add(pieces, this.#indirect);
    }
  }

  /** The virtio-net header of the frame taken last, as the device wrote it. */
  get lastHeader(): Uint8Array {
    return this.#last?.headerBytes ?? new Uint8Array(0);
  }

  /** The next frame, copied, or undefined; see takePacket(). */
  take(): Uint8Array | undefined {
    return this.takePacket()?.frame;
  }

  /**
   * The next frame with its header, copied, or undefined. Its buffers are available again after the
   * next driver.publish(). Throws PEER_VIOLATION.
   */
  takePacket(): ReceivedPacket | undefined {
    const { headerBytes, mergeable } = this.#options;
    const first = this.driver.takeUsed();
    if (first === undefined) return undefined;
    if (first.writtenBytes < headerBytes) {
      throw this.driver.violation(
        `a frame of ${first.writtenBytes} bytes where the header alone has ${headerBytes}`,
      );
    }
    // Without MRG_RXBUF a device must say 1 here if the field exists, but DPDK says 0, and drivers
    // do not look (§5.1.6.4.1); tests of a device can, at lastHeader.
    const bufferCount = mergeable ? this.#numBuffers(first) : 1;
    const chains = bufferCount === 1 ? [first] : this.#takeAll(first, bufferCount);
    let lengthBytes = 0;
    for (const { writtenBytes } of chains) lengthBytes += writtenBytes;
    const { block, at } = this.#store.take(lengthBytes);
    let end = at;
    for (const { pieces, writtenBytes } of chains) {
      end = this.#copy(pieces, writtenBytes, block, end);
      this.driver.add(pieces, this.#indirect);
    }
    this.#last = new ReceivedPacket(block.buffer, at, headerBytes, lengthBytes, this.#queuePair);
    return this.#last;
  }

  #takeAll(first: UsedChain, bufferCount: number): UsedChain[] {
    if (bufferCount < 1) throw this.driver.violation('a frame in 0 buffers');
    const chains = [first];
    for (let i = 1; i < bufferCount; i++) {
      const chain = this.driver.takeUsed();
      // §5.1.6.4.1: all buffers of a frame are used at once.
      if (chain === undefined) {
        throw this.driver.violation(`${i} of the ${bufferCount} buffers of a frame were used`);
      }
      chains.push(chain);
    }
    return chains;
  }

  /** Copies the first `lengthBytes` of a buffer to `at` in `block`; returns where that ends. */
  #copy(pieces: readonly Piece[], lengthBytes: number, block: Uint8Array, at: number): number {
    const { bytes } = this.#memory;
    let left = lengthBytes;
    for (const piece of pieces) {
      if (left === 0) break;
      const take = Math.min(left, piece.lengthBytes);
      block.set(bytes.subarray(piece.offset, piece.offset + take), at + lengthBytes - left);
      left -= take;
    }
    return at + lengthBytes;
  }

  /** The field of a header that may be cut anywhere. */
  #numBuffers({ pieces }: UsedChain): number {
    const byteAt = (index: number) => {
      let skipped = index;
      for (const { offset, lengthBytes } of pieces) {
        if (skipped < lengthBytes) return this.#memory.bytes[offset + skipped]!;
        skipped -= lengthBytes;
      }
      return 0;
    };
    return byteAt(numBuffersAt) | (byteAt(numBuffersAt + 1) << 8);
  }
}

function cut(totalBytes: number, wanted: readonly number[]): number[] {
  const lengths = checkPieces(wanted, totalBytes);
  const rest = totalBytes - lengths.reduce((sum, lengthBytes) => sum + lengthBytes, 0);
  return rest === 0 ? lengths : [...lengths, rest];
}
