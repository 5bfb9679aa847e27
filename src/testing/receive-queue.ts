/**
 * The driver's side of a receiveq: gives the device empty buffers and puts frames together from the
 * buffers it has used.
 *
 * Every buffer is one piece, and goes back to the device as soon as its frame was copied out. With
 * MRG_RXBUF a frame may lie in several buffers, the first of which says in how many.
 *
 * Sources: virtio 1.2 §5.1.6.3 (receive buffers), §5.1.6.4 (incoming packets).
 */

import { DriverQueue, type DriverQueueOptions } from './driver-queue.ts';
import type { GuestMemory } from './guest-memory.ts';

/** Where num_buffers lies in struct virtio_net_hdr (§5.1.6). */
const numBuffersAt = 10;

export interface ReceiveQueueOptions extends Omit<DriverQueueOptions, 'direction'> {
  readonly headerBytes: number;
  /** VIRTIO_NET_F_MRG_RXBUF was negotiated. */
  readonly mergeable: boolean;
  readonly bufferBytes: number;
  readonly bufferCount: number;
}

export class ReceiveQueue {
  readonly driver: DriverQueue;
  readonly #memory: GuestMemory;
  readonly #options: ReceiveQueueOptions;
  #lastHeader = new Uint8Array(0);

  constructor(memory: GuestMemory, options: ReceiveQueueOptions) {
    this.#memory = memory;
    this.#options = options;
    this.driver = new DriverQueue(memory, { ...options, direction: 'device-writes' });
    for (let i = 0; i < options.bufferCount; i++) {
      const offset = memory.allocate(options.bufferBytes, 64);
      this.driver.add([{ offset, lengthBytes: options.bufferBytes }], false);
    }
  }

  /** The virtio-net header of the frame taken last, as the device wrote it. */
  get lastHeader(): Uint8Array {
    return this.#lastHeader;
  }

  /**
   * The next frame, copied, or undefined. Its buffers are available again after the next
   * driver.publish(). Throws PEER_VIOLATION.
   */
  take(): Uint8Array | undefined {
    const { headerBytes, mergeable } = this.#options;
    const first = this.driver.takeUsed();
    if (first === undefined) return undefined;
    if (first.writtenBytes < headerBytes) {
      throw this.driver.violation(
        `a frame of ${first.writtenBytes} bytes where the header alone has ${headerBytes}`,
      );
    }
    const { offset } = first.pieces[0]!;
    this.#lastHeader = new Uint8Array(this.#memory.bytes.subarray(offset, offset + headerBytes));
    // Without MRG_RXBUF a device must say 1 here if the field exists, but DPDK says 0, and drivers
    // do not look (§5.1.6.4.1); tests of a device can, at lastHeader.
    const bufferCount = mergeable ? this.#memory.view.getUint16(offset + numBuffersAt, true) : 1;
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
    const parts = chains.map(({ pieces, writtenBytes }, i) => {
      const start = pieces[0]!.offset;
      const skipBytes = i === 0 ? headerBytes : 0;
      return this.#memory.bytes.subarray(start + skipBytes, start + writtenBytes);
    });
    const frame = new Uint8Array(Buffer.concat(parts));
    for (const { pieces } of chains) this.driver.add(pieces, false);
    return frame;
  }
}
