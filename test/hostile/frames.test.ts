/**
 * Frames and headers that lie, and rings that are odd but legal: classes 3, 5, 6, 13 to 16, 18 and 19 of
 * hostile guests, in both ring formats. What breaks no rule is forwarded whole; what cannot be is counted
 * under its reason and handed back, and the queue goes on with the next frame.
 */

import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import {
  VIRTIO_NET_HDR_F_NEEDS_CSUM as NEEDS_CSUM,
  type NetHeader,
  VIRTIO_NET_HDR_GSO_TCPV4 as TCPV4,
  VIRTIO_NET_HDR_GSO_TCPV6 as TCPV6,
  VIRTIO_NET_HDR_GSO_UDP_L4 as UDP_L4,
  writeNetHeader,
} from '../../src/testing/net-header.ts';
import { VIRTQ_DESC_F_WRITE as WRITE } from '../../src/testing/split-ring.ts';
import { virtioFeatures } from '../../src/vhost-user/features.ts';
import { Arena, type AttackerOptions, expectFrame, fromAttacker, toAttacker } from './arena.ts';
import {
  chained,
  type Format,
  featuresOf,
  formats,
  type Link,
  RawQueue,
  receiveq,
  transmitq,
} from './raw-queue.ts';

const headerBytes = 12;
const offloads =
  virtioFeatures.VIRTIO_NET_F_CSUM |
  virtioFeatures.VIRTIO_NET_F_HOST_TSO4 |
  virtioFeatures.VIRTIO_NET_F_HOST_USO;

let arena: Arena;
beforeAll(async () => {
  arena = await Arena.open();
});
afterAll(() => arena.close());

/** A frame behind a header with these fields; all zeros unless given. */
function packet(frame: Uint8Array, header: Partial<NetHeader> = {}): Uint8Array {
  const bytes = new Uint8Array(headerBytes + frame.length);
  writeNetHeader(new DataView(bytes.buffer), 0, headerBytes, header);
  bytes.set(frame, headerBytes);
  return bytes;
}

/** A buffer cut into pieces of these lengths; the last takes what is left. */
function pieces(ring: RawQueue, bytes: Uint8Array, lengths: readonly number[]): Link[] {
  let at = 0;
  const cuts = [...lengths, bytes.length - lengths.reduce((sum, length) => sum + length, 0)];
  return chained(
    cuts.map((lengthBytes) => {
      at += lengthBytes;
      return ring.buffer(bytes.subarray(at - lengthBytes, at));
    }),
  );
}

/** Offers one chain, waits until it was handed back, and returns what was dropped meanwhile. */
async function dropsOf(ring: RawQueue, links: readonly Link[], id = 0) {
  const before = await arena.drops();
  ring.offer(links, id);
  ring.kick();
  await vi.waitFor(() => expect(ring.isDrained).toBe(true), { timeout: 3000, interval: 2 });
  const after = await arena.drops();
  return Object.fromEntries(
    Object.entries(after).flatMap(([reason, count]) =>
      count > before[reason]! ? [[reason, count - before[reason]!]] : [],
    ),
  );
}

/** The transmitq is as healthy as before, and the operator was not bothered. */
async function expectGoesOn(ring: RawQueue): Promise<void> {
  expect(await dropsOf(ring, [ring.buffer(packet(fromAttacker(77)))])).toEqual({});
  await expectFrame(arena.peer, fromAttacker(77));
  const { frontend } = await arena.status();
  expect(frontend?.rings.map(({ state }) => state)).toEqual(['started', 'started']);
  expect(arena.warnings).toEqual([]);
}

async function transmitter(format: Format, options: AttackerOptions = {}): Promise<RawQueue> {
  const guest = await arena.connect({
    features: featuresOf(format) | offloads,
    receiveBuffers: 8,
    queueSize: 64,
    ...options,
  });
  return new RawQueue(guest, transmitq);
}

/** Frames that have to arrive, however they lie in the ring. */
interface Legal {
  readonly class: number;
  readonly name: string;
  readonly only?: Format;
  readonly options?: AttackerOptions;
  readonly id?: number;
  readonly links: (ring: RawQueue, bytes: Uint8Array) => readonly Link[];
}

const empty = (ring: RawQueue): Link => ({ ...ring.buffer(1), lengthBytes: 0 });

const legal: readonly Legal[] = [
  {
    class: 3,
    name: 'a buffer that crosses from one region into the next',
    options: { memoryRegions: 2, memorySizeBytes: 2 << 20 },
    links({ guest: { memory } }, bytes) {
      const offset = memory.bytes.length / 2 - 40;
      memory.bytes.set(bytes, offset);
      return [{ address: memory.guestAddress(offset), lengthBytes: bytes.length }];
    },
  },
  {
    class: 5,
    name: 'buffers without a byte before, within and behind a frame',
    links: (ring, bytes) =>
      chained([
        empty(ring),
        ring.buffer(bytes.subarray(0, 30)),
        empty(ring),
        empty(ring),
        ring.buffer(bytes.subarray(30)),
        empty(ring),
      ]),
  },
  ...Array.from(
    { length: headerBytes },
    (_, i): Legal => ({
      class: 13,
      name: `a header over ${i + 1} descriptors`,
      links: (ring, bytes) => pieces(ring, bytes, [...Array(i).fill(1), headerBytes - i]),
    }),
  ),
  {
    class: 13,
    name: 'a descriptor for every second byte of header and frame',
    links: (ring, bytes) => pieces(ring, bytes, Array(bytes.length / 2 - 1).fill(2)),
  },
  {
    class: 19,
    name: 'a buffer id that no ring of this size has',
    only: 'packed',
    id: 0xfffe,
    links: (ring, bytes) => [ring.buffer(bytes)],
  },
];

/** Frames that cannot be forwarded as they ask to be. */
interface Lie {
  readonly class: number;
  readonly name: string;
  readonly drops: Readonly<Record<string, number>>;
  readonly links: (ring: RawQueue) => readonly Link[];
}

function header(name: string, fields: Partial<NetHeader>, frame = tcpFrame()): Lie {
  const isCsum = fields.gsoType === undefined;
  return {
    class: isCsum ? 14 : 15,
    name,
    drops: { badHeader: 1 },
    links: (ring) => [ring.buffer(packet(frame, { flags: NEEDS_CSUM, ...fields }))],
  };
}

/** An IPv4 TCP segment of 400 bytes from the attacker to the peer, whose checksum is left to do. */
function tcpFrame(): Uint8Array {
  const frame = Buffer.from(fromAttacker(0, 14 + 20 + 20 + 400));
  frame.writeUInt16BE(0x0800, 12);
  frame.set([0x45, 0, 0x01, 0xb8, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2], 14);
  frame.fill(0, 34, 54);
  frame[46] = 0x50;
  return frame;
}

const gso = { gsoType: TCPV4, gsoSize: 100, hdrLen: 54, csumStart: 34, csumOffset: 16 };

const lies: readonly Lie[] = [
  ...[1, 11].map(
    (bytes): Lie => ({
      class: 13,
      name: `a chain of ${bytes} bytes, less than a header`,
      drops: { tooShort: 1 },
      links: (ring) => [ring.buffer(bytes)],
    }),
  ),
  { class: 5, name: 'a chain without a byte', drops: { tooShort: 1 }, links: (r) => [empty(r)] },
  ...[0, 13].map(
    (bytes): Lie => ({
      class: 16,
      name: `a frame of ${bytes} bytes`,
      drops: { tooShort: 1 },
      links: (ring) => [ring.buffer(headerBytes + bytes)],
    }),
  ),
  {
    class: 16,
    name: 'a frame of 65551 bytes',
    drops: { tooLong: 1 },
    links: (ring) => [ring.buffer(headerBytes + 65_551)],
  },
  {
    class: 6,
    name: 'a frame of 1 MiB',
    drops: { tooLong: 1 },
    links: ({ guest: { memory } }) => [{ address: memory.guestAddress(0), lengthBytes: 1 << 20 }],
  },
  {
    class: 6,
    name: 'all of memory thirty times in a chain',
    drops: { tooLong: 1 },
    links: ({ guest: { memory } }) =>
      chained(
        Array.from({ length: 30 }, () => ({
          address: memory.guestAddress(0),
          lengthBytes: memory.bytes.length,
        })),
      ),
  },
  header('a checksum that begins behind the frame', { csumStart: 0xffff, csumOffset: 16 }),
  header('a checksum that is stored behind the frame', { csumStart: 34, csumOffset: 0xffff }),
  header('a checksum of which one byte lies behind the frame', { csumStart: 34, csumOffset: 419 }),
  header('a checksum whose place wraps 16 bits', { csumStart: 0xfff0, csumOffset: 0x20 }),
  header('a gso_size of 0', { ...gso, gsoSize: 0 }),
  header('a gso_size of 1', { ...gso, gsoSize: 1 }),
  header('a gso_type that does not exist', { ...gso, gsoType: 0x7f }),
  header('a gso_type that was not agreed on', { ...gso, gsoType: TCPV6 }),
  header('a gso_type of another protocol than the packet', { ...gso, gsoType: UDP_L4 }),
  header('a gso_type without a checksum to complete', { ...gso, flags: 0 }),
  header('a gso_type on a frame that is no IP', gso, fromAttacker(0, 454)),
  header('a gso_type on a frame that ends in its headers', gso, tcpFrame().subarray(0, 40)),
  header('a gso_type whose checksum lies elsewhere', { ...gso, csumStart: 38 }),
];

describe.each(formats)('in a %s ring', (format) => {
  const fitting = legal.filter(({ only = format }) => only === format);
  test.each(fitting)('class $class: $name is served', ({ options = {}, links, id = 0 }) =>
    arena.attack(async () => {
      const ring = await transmitter(format, options);
      const frame = fromAttacker(5);
      expect(await dropsOf(ring, links(ring, packet(frame)), id)).toEqual({});
      await expectFrame(arena.peer, frame);
      if (id !== 0) expect(ring.guest.raw.packedRing(transmitq).id(0)).toBe(id);
    }),
  );

  test.each(lies)('class $class: $name is counted and handed back', ({ drops, links }) =>
    arena.attack(async () => {
      const ring = await transmitter(format);
      const offered = links(ring);
      expect(await dropsOf(ring, offered)).toEqual(drops);
      if (offered.length === 1) await expectGoesOn(ring);
    }),
  );

  test.each([
    ['a gso_size beyond the payload', { gsoSize: 0xffff }],
    ['a hdr_len of 0', { hdrLen: 0 }],
    ['a hdr_len beyond the frame', { hdrLen: 0xffff }],
  ])('class 15: %s changes nothing about the packet', (_, change) =>
    arena.attack(async () => {
      const ring = await transmitter(format);
      const bytes = packet(tcpFrame(), { flags: NEEDS_CSUM, ...gso, gsoSize: 400, ...change });
      expect(await dropsOf(ring, [ring.buffer(bytes)])).toEqual({});
      // The peer takes no checksums to complete: only that field is another one.
      const received = Buffer.from(await arena.peer.receive());
      expect(received.readUInt16BE(50)).not.toBe(0);
      received.writeUInt16BE(0, 50);
      expect(Buffer.compare(received.subarray(34), tcpFrame().subarray(34))).toBe(0);
      await expectGoesOn(ring);
    }),
  );

  test.each([
    ['VLAN tag', 18, [0x81, 0, 0, 5, 0x08, 0]],
    ['IPv6 extension header', 62, [0x86, 0xdd, 0x60, 0, 0, 0, 0, 48, 0]],
  ])('class 14: a checksum behind a %s is completed where it is said to be', (_, start, type) =>
    arena.attack(async () => {
      const ring = await transmitter(format);
      const frame = Buffer.from(fromAttacker(3, 120));
      frame.set(type, 12);
      const fields = { flags: NEEDS_CSUM, csumStart: start, csumOffset: 16 };
      expect(await dropsOf(ring, [ring.buffer(packet(frame, fields))])).toEqual({});
      const received = Buffer.from(await arena.peer.receive());
      frame.writeUInt16BE(onesComplementSum(frame.subarray(start)), start + 16);
      expect(Buffer.compare(received, frame)).toBe(0);
    }),
  );

  test('class 18: a frame for more merged buffers than the ring has is counted', () =>
    arena.attack(async () => {
      const features = featuresOf(format) | virtioFeatures.VIRTIO_NET_F_MRG_RXBUF;
      const guest = await arena.connect({ features, receiveBuffers: 0 });
      const ring = new RawQueue(guest, receiveq);
      for (let i = 0; i < ring.size; i++) ring.offer([ring.buffer(20, WRITE)], i);
      await guest.send(fromAttacker());
      await expectFrame(arena.peer, fromAttacker());
      const before = (await arena.drops()).bufferTooSmall!;
      await arena.peer.send(toAttacker(1, 1514));
      await arena.peer.flush();
      expect((await arena.drops()).bufferTooSmall).toBe(before + 1);
      // None of them was used up by it: a frame for four of them still arrives.
      await arena.peer.send(toAttacker(2, 60));
      await arena.peer.flush();
      expect((await arena.drops()).bufferTooSmall).toBe(before + 1);
      expect(arena.warnings).toEqual([]);
    }));
});

test('class 19: packed descriptors with the wrap bits of another lap are not there', () =>
  arena.attack(async () => {
    const ring = await transmitter('packed');
    const packed = ring.guest.raw.packedRing(transmitq);
    const { address, lengthBytes } = ring.buffer(packet(fromAttacker(1)));
    const [available, used] = [1 << 7, 1 << 15];
    for (const flags of [0, used, available | used]) {
      packed.writeDescriptor(0, { address, lengthBytes, id: 0, flags });
      ring.kick();
      await arena.goOn();
      expect(packed.flags(0)).toBe(flags);
    }
    await expectGoesOn(ring);
  }));

/** RFC 1071, over bytes with an even or odd end. */
function onesComplementSum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i++) sum += i % 2 === 0 ? bytes[i]! << 8 : bytes[i]!;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
