/**
 * Frames and headers that lie: classes 5, 6, 13 to 16, 18 and 19, in both ring formats. What is
 * asked for cannot be done; whoever forwards none of it hands the buffer back and goes on with the
 * next frame.
 */

import {
  VIRTIO_NET_HDR_F_NEEDS_CSUM as NEEDS_CSUM,
  type NetHeader,
  VIRTIO_NET_HDR_GSO_TCPV4 as TCPV4,
  VIRTIO_NET_HDR_GSO_TCPV6 as TCPV6,
  VIRTIO_NET_HDR_GSO_UDP_L4 as UDP_L4,
} from '../../../src/testing/net-header.ts';
import { VIRTQ_DESC_F_WRITE as WRITE } from '../../../src/testing/split-ring.ts';
import { virtioFeatures } from '../../../src/vhost-user/features.ts';
import {
  chained,
  type Format,
  featuresOf,
  formats,
  headerBytes,
  type Link,
  packet,
  RawQueue,
  receiveq,
  transmitq,
} from '../raw-queue.ts';
import { fromAttacker, type Stage, toAttacker } from '../stage.ts';
import type { Attack } from './attack.ts';

const offloads =
  virtioFeatures.VIRTIO_NET_F_CSUM |
  virtioFeatures.VIRTIO_NET_F_HOST_TSO4 |
  virtioFeatures.VIRTIO_NET_F_HOST_USO;

/** A chain to send, and how this switch counts it. */
export interface Lie {
  readonly class: number;
  readonly name: string;
  /** Empty where the header asks for nothing wrong and the frame is forwarded. */
  readonly drops: Readonly<Record<string, number>>;
  readonly links: (ring: RawQueue) => readonly Link[];
}

/** An IPv4 TCP segment of 400 bytes from the attacker to the peer, whose checksum is left to do. */
export function tcpFrame(): Uint8Array {
  const frame = Buffer.from(fromAttacker(0, 14 + 20 + 20 + 400));
  frame.writeUInt16BE(0x0800, 12);
  frame.set([0x45, 0, 0x01, 0xb8, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2], 14);
  frame.fill(0, 34, 54);
  frame[46] = 0x50;
  return frame;
}

function header(name: string, fields: Partial<NetHeader>, frame = tcpFrame()): Lie {
  return {
    class: fields.gsoType === undefined ? 14 : 15,
    name,
    drops: { badHeader: 1 },
    links: (ring) => [ring.buffer(packet(frame, { flags: NEEDS_CSUM, ...fields }))],
  };
}

const empty = (ring: RawQueue): Link => ({ ...ring.buffer(1), lengthBytes: 0 });
const gso = { gsoType: TCPV4, gsoSize: 100, hdrLen: 54, csumStart: 34, csumOffset: 16 };

export const lies: readonly Lie[] = [
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

/** What a header may say about a packet that needs no cutting, and nothing comes of it. */
export const emptyLies: readonly Lie[] = [
  ['a gso_size beyond the payload', { gsoSize: 0xffff }] as const,
  ['a hdr_len of 0', { hdrLen: 0 }] as const,
  ['a hdr_len beyond the frame', { hdrLen: 0xffff }] as const,
].map(([name, fields]) => ({ ...header(name, { ...gso, gsoSize: 400, ...fields }), drops: {} }));

/** A frame whose checksum is to be completed where few look for one. */
export interface HiddenChecksum {
  readonly name: string;
  readonly csumStart: number;
  readonly frame: Uint8Array;
}

export const hiddenChecksums: readonly HiddenChecksum[] = [
  ['VLAN tag', 18, [0x81, 0, 0, 5, 0x08, 0]] as const,
  ['IPv6 extension header', 62, [0x86, 0xdd, 0x60, 0, 0, 0, 0, 48, 0]] as const,
].map(([name, csumStart, type]) => {
  const frame = Buffer.from(fromAttacker(3, 120));
  frame.set(type, 12);
  return { name: `a checksum behind a ${name}`, csumStart, frame };
});

export function checksumLinks(ring: RawQueue, { csumStart, frame }: HiddenChecksum): Link[] {
  return [ring.buffer(packet(frame, { flags: NEEDS_CSUM, csumStart, csumOffset: 16 }))];
}

/** A guest with offloads, as far as they are offered, whose receiveq has been seen to work. */
export async function transmitter(stage: Stage, format: Format): Promise<RawQueue> {
  const features = featuresOf(format) | offloads;
  const guest = await stage.attacker(format, { features, receiveBuffers: 8, queueSize: 64 });
  await stage.reach(guest);
  return new RawQueue(guest, transmitq);
}

/**
 * More buffers for one frame than the ring has; 0 bytes of it may arrive. Leaves room for small
 * frames.
 */
export async function offerCrumbs(stage: Stage, format: Format): Promise<RawQueue> {
  const features = featuresOf(format) | virtioFeatures.VIRTIO_NET_F_MRG_RXBUF;
  const guest = await stage.attacker(format, { features, receiveBuffers: 0 });
  await stage.hear(guest);
  const ring = new RawQueue(guest, receiveq);
  for (let i = 0; i < ring.size; i++) ring.offer([ring.buffer(20, WRITE)], i);
  return ring;
}

/**
 * Packed descriptors that belong to the device in another lap, one after the other; each stays as
 * it is.
 */
export async function showOtherLaps(
  stage: Stage,
  ring: RawQueue,
  check: (flags: number) => void = () => {},
): Promise<void> {
  const packed = ring.guest.raw.packedRing(transmitq);
  const { address, lengthBytes } = ring.buffer(packet(fromAttacker(1)));
  const [available, used] = [1 << 7, 1 << 15];
  for (const flags of [0, used, available | used]) {
    packed.writeDescriptor(0, { address, lengthBytes, id: 0, flags });
    ring.kick();
    await stage.goOn(2);
    check(flags);
  }
}

async function transmit(
  stage: Stage,
  format: Format,
  links: (ring: RawQueue) => readonly Link[],
): Promise<void> {
  const ring = await transmitter(stage, format);
  ring.offer(links(ring));
  ring.kick();
  await stage.goOn(2);
}

export const lyingFrames: readonly Attack[] = formats.flatMap((format): Attack[] => [
  ...[...lies, ...emptyLies].map((lie) => ({
    class: lie.class,
    format,
    name: lie.name,
    strike: (stage: Stage) => transmit(stage, format, lie.links),
  })),
  ...hiddenChecksums.map((hidden) => ({
    class: 14,
    format,
    name: hidden.name,
    strike: (stage: Stage) => transmit(stage, format, (ring) => checksumLinks(ring, hidden)),
  })),
  {
    class: 18,
    format,
    name: 'a frame for more merged buffers than the ring has',
    strike: async (stage) => {
      await offerCrumbs(stage, format);
      await stage.peer.send(toAttacker(1, 1514));
      await stage.goOn(2);
    },
  },
]);

export const otherLaps: Attack = {
  class: 19,
  format: 'packed',
  name: 'wrap bits of another lap',
  strike: async (stage) => showOtherLaps(stage, await transmitter(stage, 'packed')),
};
