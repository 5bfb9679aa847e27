/**
 * A virtqueue without a driver, of either format: descriptors are written one behind the other as
 * the attack wants them and then offered, in one lap of the ring. Where both formats can break
 * the same rule, an attack is written once.
 */

import type { TestGuest } from '../../src/testing/index.ts';
import { type NetHeader, writeNetHeader } from '../../src/testing/net-header.ts';
import { VIRTQ_DESC_F_AVAIL, VIRTQ_DESC_F_USED } from '../../src/testing/packed-ring.ts';
import { VIRTQ_DESC_F_NEXT as NEXT, writeDescriptorAt } from '../../src/testing/split-ring.ts';
import { virtioFeatures } from '../../src/vhost-user/features.ts';

/** Of a modern driver. */
export const headerBytes = 12;

export const formats = ['split', 'packed'] as const;
export type Format = (typeof formats)[number];

export const receiveq = 0;
export const transmitq = 1;

/** One descriptor, of the ring or of an indirect table. */
export interface Link {
  readonly address: bigint;
  readonly lengthBytes: number;
  /** `VIRTQ_DESC_F_*`; nothing is added to them. */
  readonly flags?: number;
  /** Of a split ring; the descriptor behind this one unless given. */
  readonly next?: number;
}

/** What a driver of this format agrees to, without offloads. */
export function featuresOf(format: Format): bigint {
  const { VIRTIO_F_VERSION_1, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_RING_PACKED } = virtioFeatures;
  const common = VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC;
  return format === 'packed' ? common | VIRTIO_F_RING_PACKED : common;
}

/** A frame behind a header with these fields; all zeros unless given. */
export function packet(frame: Uint8Array, header: Partial<NetHeader> = {}): Uint8Array {
  const bytes = new Uint8Array(headerBytes + frame.length);
  writeNetHeader(new DataView(bytes.buffer), 0, headerBytes, header);
  bytes.set(frame, headerBytes);
  return bytes;
}

/** All links but the last with NEXT. */
export function chained(links: readonly Link[]): Link[] {
  return links.map((link, i) =>
    i < links.length - 1 ? { ...link, flags: (link.flags ?? 0) | NEXT } : link,
  );
}

export class RawQueue {
  readonly guest: TestGuest;
  readonly queue: number;
  readonly format: Format;
  #position = 0;
  #offered = 0;
  #lastHead = 0;

  constructor(guest: TestGuest, queue: number) {
    this.guest = guest;
    this.queue = queue;
    this.format = guest.has('VIRTIO_F_RING_PACKED') ? 'packed' : 'split';
  }

  get size(): number {
    return this.guest.queuePairs[0]!.transmitq.driver.size;
  }

  /** A buffer of memory that is nobody's, with these bytes or empty. */
  buffer(content: Uint8Array | number, flags = 0): Link {
    const { memory } = this.guest;
    const lengthBytes = typeof content === 'number' ? content : content.length;
    const offset = memory.allocate(Math.max(lengthBytes, 1), 64);
    if (typeof content !== 'number') memory.bytes.set(content, offset);
    return { address: memory.guestAddress(offset), lengthBytes, flags };
  }

  /** What lies in the buffer of a link by now. */
  bytesOf({ address, lengthBytes }: Link): Buffer {
    const { memory } = this.guest;
    const offset = Number(address - memory.guestAddress(0));
    return memory.bytes.subarray(offset, offset + lengthBytes);
  }

  /** The offset of a table with these entries. */
  table(entries: readonly Link[]): number {
    const { memory } = this.guest;
    const offset = memory.allocate(16 * Math.max(entries.length, 1), 16);
    for (const [i, { address, lengthBytes, flags = 0, next = i + 1 }] of entries.entries()) {
      // A packed table has no next: its entries lie one behind the other, ids are not looked at.
      writeDescriptorAt(memory, offset + 16 * i, { address, lengthBytes, flags, next });
    }
    if (this.format === 'packed') {
      for (const [i, { flags = 0 }] of entries.entries()) {
        memory.view.setUint16(offset + 16 * i + 12, 0, true);
        memory.view.setUint16(offset + 16 * i + 14, flags, true);
      }
    }
    return offset;
  }

  /** Writes a chain and makes it available; the head is shown last, with everything behind it. */
  offer(links: readonly Link[], id = 0): void {
    const first = this.#position;
    this.#position += links.length;
    if (this.format === 'split') this.#offerSplit(first, links);
    else this.#offerPacked(first, links, id);
    this.#offered++;
  }

  kick(): void {
    this.guest.raw.kick(this.queue);
  }

  /** Whether everything offered was handed back. */
  get isDrained(): boolean {
    if (this.format === 'split') {
      return this.guest.raw.splitRing(this.queue).usedIndex === this.#offered;
    }
    // The device hands back in order, and every chain of this suite that is handed back is one of
    // one.
    const owner = VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED;
    const flags = this.guest.raw.packedRing(this.queue).flags(this.#lastHead);
    return (flags & owner) === owner;
  }

  #offerSplit(first: number, links: readonly Link[]): void {
    const ring = this.guest.raw.splitRing(this.queue);
    for (const [i, { address, lengthBytes, flags = 0, next = first + i + 1 }] of links.entries()) {
      ring.writeDescriptor(first + i, { address, lengthBytes, flags, next });
    }
    ring.setAvailEntry(this.#offered, first);
    ring.availIndex = this.#offered + 1;
  }

  #offerPacked(first: number, links: readonly Link[], id: number): void {
    const ring = this.guest.raw.packedRing(this.queue);
    this.#lastHead = first;
    for (let i = links.length - 1; i >= 0; i--) {
      const { address, lengthBytes, flags = 0 } = links[i]!;
      const available = flags | VIRTQ_DESC_F_AVAIL;
      ring.writeDescriptor(first + i, { address, lengthBytes, id, flags: available });
    }
  }
}
