/**
 * The bytes of captures: pcapng written, pcapng and classic pcap read, of either byte order.
 *
 *     section header, interface (name a), packet, packet, interface (name b), packet, ...
 *
 * Written are one section in this machine's order, the interfaces of the ports that are there,
 * others when they first appear, and packets, as they come from the data plane
 * (native/core/policy/packet_block.h). Read are all blocks that have packets, also those which
 * other writers used to write; blocks of other kinds are passed over, and so is what a writer that
 * was killed left of its last one. What cannot be read in full is refused: no packet is left out
 * without a word.
 *
 * Sources: draft-ietf-opsawg-pcapng §3, §4.1-4.4, appendix A; draft-ietf-opsawg-pcap §4, §5.
 */

import { failure, type TsvswitchError } from '../model/errors.ts';

/** Seen from the switch. */
export type CaptureDirection = 'fromGuest' | 'toGuest';

/** A frame of a recording. */
export interface CapturedPacket {
  /** Nanoseconds since 1970, or of a manual clock; 0 if `untimed`. */
  readonly timeNs: bigint;
  /** The file does not say when it was, as simple packet blocks do not. */
  readonly untimed?: true;
  /** Name of the port; empty if the file does not say. */
  readonly port: string;
  readonly direction?: CaptureDirection;
  /** Such as `dropped: noBuffer` and `impairment: held, duplicated`. */
  readonly comments: readonly string[];
  /** Frames that were lost to the capture between the packet before and this one. */
  readonly lost: number;
  /** Of the frame; `data` may be cut. */
  readonly frameBytes: number;
  /** From the Ethernet header on. */
  readonly data: Buffer;
}

const block = {
  section: 0x0a0d0d0a,
  interface: 1,
  /** Of drafts before the enhanced one. */
  obsoletePacket: 2,
  simplePacket: 3,
  packet: 6,
} as const;
const option = {
  end: 0,
  comment: 1,
  flags: 2,
  dropCount: 4,
  interfaceName: 2,
  resolution: 9,
  checksumLength: 13,
  timeOffset: 14,
} as const;
const byteOrderMagic = 0x1a2b3c4d;
const linkTypeEthernet = 1;
const nanosecondsResolution = 9;
/** The default of an interface that says nothing: microseconds. */
const defaultResolution = 6;
const directions: readonly (CaptureDirection | undefined)[] = [undefined, 'fromGuest', 'toGuest'];
const directionMask = 3;
/** Of a packet's flags: the octets of the checksum behind the frame, if not 0. */
const checksumShift = 5;
const checksumMask = 15;
/** Of an obsolete packet's drops: not known. */
const dropsUnknown = 0xffff;
const nsPerSecond = 1_000_000_000n;
/** Type and length in front, length behind. */
const blockFrameBytes = 12;

const padded = (bytes: number) => (bytes + 3) & ~3;

function encodeBlock(type: number, parts: readonly Uint8Array[]): Buffer {
  const bodyBytes = parts.reduce((sum, part) => sum + padded(part.length), 0);
  const bytes = Buffer.alloc(blockFrameBytes + bodyBytes);
  bytes.writeUInt32LE(type, 0);
  bytes.writeUInt32LE(bytes.length, 4);
  let at = 8;
  for (const part of parts) {
    bytes.set(part, at);
    at += padded(part.length);
  }
  bytes.writeUInt32LE(bytes.length, at);
  return bytes;
}

function encodeOption(code: number, value: Uint8Array): Buffer {
  const bytes = Buffer.alloc(4 + padded(value.length));
  bytes.writeUInt16LE(code, 0);
  bytes.writeUInt16LE(value.length, 2);
  bytes.set(value, 4);
  return bytes;
}

const endOfOptions = encodeOption(option.end, new Uint8Array(0));

export function encodeSectionHeader(): Buffer {
  const body = Buffer.alloc(16);
  body.writeUInt32LE(byteOrderMagic, 0);
  body.writeUInt16LE(1, 4);
  // The section's length is not known yet.
  body.writeBigInt64LE(-1n, 8);
  return encodeBlock(block.section, [body]);
}

export function encodeInterface(name: string, snapBytes: number): Buffer {
  const body = Buffer.alloc(8);
  body.writeUInt16LE(linkTypeEthernet, 0);
  body.writeUInt32LE(snapBytes, 4);
  return encodeBlock(block.interface, [
    body,
    encodeOption(option.interfaceName, Buffer.from(name)),
    encodeOption(option.resolution, Uint8Array.of(nanosecondsResolution)),
    endOfOptions,
  ]);
}

/** How many packets are in blocks that this package has written. */
export function packetsIn(blocks: Uint8Array): number {
  const { buffer, byteOffset, length } = blocks;
  const view = new DataView(buffer, byteOffset, length);
  let packets = 0;
  for (let at = 0; at < length; at += view.getUint32(at + 4, true)) packets++;
  return packets;
}

/** The packets of a pcapng or pcap file. Throws BAD_CAPTURE. */
export function decodeCapture(bytes: Uint8Array): CapturedPacket[] {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (buffer.length < 24) throw failure('capture-too-short');
  return buffer.readUInt32LE(0) === block.section ? decodePcapng(buffer) : decodePcap(buffer);
}

/** Numbers in the byte order of whoever wrote them. */
class Fields {
  readonly bytes: Buffer;
  readonly #little: boolean;

  constructor(bytes: Buffer, little: boolean) {
    this.bytes = bytes;
    this.#little = little;
  }

  u16(at: number): number {
    return this.#little ? this.bytes.readUInt16LE(at) : this.bytes.readUInt16BE(at);
  }

  u32(at: number): number {
    return this.#little ? this.bytes.readUInt32LE(at) : this.bytes.readUInt32BE(at);
  }

  u64(at: number): bigint {
    return this.#little ? this.bytes.readBigUInt64LE(at) : this.bytes.readBigUInt64BE(at);
  }

  part(start: number, end: number): Fields {
    return new Fields(this.bytes.subarray(start, end), this.#little);
  }
}

interface Interface {
  readonly name: string;
  readonly linkType: number;
  /** Of one unit of a timestamp. */
  readonly unitsPerSecond: bigint;
  /** Where timestamps begin to count. */
  readonly offsetSeconds: bigint;
  /** What is kept of a packet at most; 0: all. */
  readonly snapBytes: number;
  /** Of the checksum behind each frame, which is no part of it. */
  readonly checksumBytes: number;
}

function decodePcapng(buffer: Buffer): CapturedPacket[] {
  const packets: CapturedPacket[] = [];
  let interfaces: Interface[] = [];
  let file = new Fields(buffer, true);
  for (let at = 0; at + blockFrameBytes <= buffer.length; ) {
    if (buffer.readUInt32LE(at) === block.section) {
      if (at + 28 > buffer.length) break;
      file = new Fields(buffer, buffer.readUInt32LE(at + 8) === byteOrderMagic);
      if (file.u32(at + 8) !== byteOrderMagic)
        throw failure('capture-no-byte-order', { at: at + 8 });
      const version = file.u16(at + 12);
      if (version !== 1) throw failure('capture-version', { version });
      interfaces = [];
    }
    const bytes = file.u32(at + 4);
    if (bytes < blockFrameBytes || bytes % 4 !== 0)
      throw failure('capture-block-size', { bytes, at });
    if (at + bytes > buffer.length) break;
    const again = file.u32(at + bytes - 4);
    if (again !== bytes) throw failure('capture-block-sizes-differ', { bytes, at, again });
    const body = file.part(at + 8, at + bytes - 4);
    switch (file.u32(at)) {
      case block.interface:
        interfaces.push(decodeInterface(body));
        break;
      case block.packet:
        packets.push(decodePacket(body, interfaces));
        break;
      case block.obsoletePacket:
        packets.push(decodeObsoletePacket(body, interfaces));
        break;
      case block.simplePacket:
        packets.push(decodeSimplePacket(body, interfaces));
        break;
    }
    at += bytes;
  }
  return packets;
}

function need(body: Fields, bytes: number): void {
  if (body.bytes.length < bytes)
    throw failure('capture-block-cut', { present: body.bytes.length, bytes });
}

function* optionsOf(body: Fields, start: number): Generator<{ code: number; value: Fields }> {
  for (let at = start; at + 4 <= body.bytes.length; ) {
    const code = body.u16(at);
    const bytes = body.u16(at + 2);
    if (code === option.end) return;
    need(body, at + 4 + bytes);
    yield { code, value: body.part(at + 4, at + 4 + bytes) };
    at += 4 + padded(bytes);
  }
}

function decodeInterface(body: Fields): Interface {
  need(body, 8);
  let name = '';
  let resolution = defaultResolution;
  let offsetSeconds = 0n;
  let checksumBytes = 0;
  for (const { code, value } of optionsOf(body, 8)) {
    const { length } = value.bytes;
    if (code === option.interfaceName) name = value.bytes.toString();
    if (code === option.resolution && length > 0) resolution = value.bytes[0]!;
    if (code === option.timeOffset && length === 8) offsetSeconds = BigInt.asIntN(64, value.u64(0));
    if (code === option.checksumLength && length > 0) checksumBytes = checksumOf(value.bytes[0]!);
  }
  const base = (resolution & 0x80) === 0 ? 10n : 2n;
  return {
    name,
    linkType: body.u16(0),
    unitsPerSecond: base ** BigInt(resolution & 0x7f),
    offsetSeconds,
    snapBytes: body.u32(4),
    checksumBytes,
  };
}

/** The draft counts it in bits, and writers in octets. */
function checksumOf(length: number): number {
  if (length === 0) return 0;
  if (length === 4 || length === 32) return 4;
  throw failure('capture-checksum-bits', { bits: length });
}

function ethernet(interfaces: readonly Interface[], number: number): Interface {
  const from = interfaces[number];
  if (from === undefined) throw failure('capture-interface-unknown', { number });
  if (from.linkType !== linkTypeEthernet) throw notEthernet(from.linkType);
  return from;
}

function notEthernet(linkType: number): TsvswitchError {
  return failure('capture-link-type', { linkType });
}

function decodePacket(body: Fields, interfaces: readonly Interface[]): CapturedPacket {
  need(body, 20);
  return decodeTimed(body, ethernet(interfaces, body.u32(0)), 0);
}

/** As the one that replaced it, but for its first word. */
function decodeObsoletePacket(body: Fields, interfaces: readonly Interface[]): CapturedPacket {
  need(body, 20);
  const drops = body.u16(2);
  return decodeTimed(body, ethernet(interfaces, body.u16(0)), drops === dropsUnknown ? 0 : drops);
}

/** From the time on both kinds of packets are alike. */
function decodeTimed(body: Fields, from: Interface, lostBefore: number): CapturedPacket {
  const units = (BigInt(body.u32(4)) << 32n) | BigInt(body.u32(8));
  const dataEnd = 20 + body.u32(12);
  need(body, dataEnd);
  const comments: string[] = [];
  let direction: CaptureDirection | undefined;
  let lost = lostBefore;
  let { checksumBytes } = from;
  for (const { code, value } of optionsOf(body, padded(dataEnd))) {
    if (code === option.comment) comments.push(value.bytes.toString());
    if (code === option.flags && value.bytes.length === 4) {
      const flags = value.u32(0);
      direction = directions[flags & directionMask];
      checksumBytes = (flags >> checksumShift) & checksumMask || checksumBytes;
    }
    if (code === option.dropCount && value.bytes.length === 8) lost = Number(value.u64(0));
  }
  return {
    timeNs: from.offsetSeconds * nsPerSecond + (units * nsPerSecond) / from.unitsPerSecond,
    port: from.name,
    ...(direction === undefined ? {} : { direction }),
    comments,
    lost,
    ...withoutChecksum(body.u32(16), body.bytes.subarray(20, dataEnd), checksumBytes),
  };
}

/** It has no time, and no length but the frame's: what the interface kept of it was captured. */
function decodeSimplePacket(body: Fields, interfaces: readonly Interface[]): CapturedPacket {
  need(body, 4);
  const { name, snapBytes, checksumBytes } = ethernet(interfaces, 0);
  const frameBytes = body.u32(0);
  const dataBytes = snapBytes === 0 ? frameBytes : Math.min(frameBytes, snapBytes);
  need(body, 4 + dataBytes);
  const data = body.bytes.subarray(4, 4 + dataBytes);
  return {
    timeNs: 0n,
    untimed: true,
    port: name,
    comments: [],
    lost: 0,
    ...withoutChecksum(frameBytes, data, checksumBytes),
  };
}

function withoutChecksum(
  capturedBytes: number,
  data: Buffer,
  checksumBytes: number,
): Pick<CapturedPacket, 'frameBytes' | 'data'> {
  const frameBytes = Math.max(0, capturedBytes - checksumBytes);
  return { frameBytes, data: data.subarray(0, frameBytes) };
}

/** Magic numbers of pcap, with how many nanoseconds its fractions of seconds count. */
const pcapFractionNs = new Map([
  [0xa1b2c3d4, 1000n],
  [0xa1b23c4d, 1n],
]);

/**
 * Of the link type: whether frames end with a checksum, and above it in how many words of 16 bits.
 */
const pcapHasChecksum = 1 << 26;
const pcapChecksumShift = 28;

/** How files that are compressed begin, and what makes them captures again. */
const compressions = new Map([
  ['1f8b', 'gunzip'],
  ['28b5', 'unzstd'],
  ['fd37', 'unxz'],
  ['0422', 'unlz4'],
]);

function compressionOf(buffer: Buffer): string {
  const program = compressions.get(buffer.toString('hex', 0, 2));
  return program === undefined ? '' : `, but compressed; use \`${program}\` first`;
}

function decodePcap(buffer: Buffer): CapturedPacket[] {
  const little = pcapFractionNs.has(buffer.readUInt32LE(0));
  const file = new Fields(buffer, little);
  const fractionNs = pcapFractionNs.get(file.u32(0));
  if (fractionNs === undefined)
    throw failure('capture-no-format', { compression: compressionOf(buffer) });
  const version = `${file.u16(4)}.${file.u16(6)}`;
  // Before 2.4 the two lengths of a packet changed places.
  if (version !== '2.4') throw failure('capture-pcap-version', { version });
  const link = file.u32(20);
  const checksumBytes = (link & pcapHasChecksum) === 0 ? 0 : 2 * (link >>> pcapChecksumShift);
  const linkType = link & 0xffff;
  if (linkType !== linkTypeEthernet) throw notEthernet(linkType);
  const packets: CapturedPacket[] = [];
  for (let at = 24; at + 16 <= buffer.length; ) {
    const end = at + 16 + file.u32(at + 8);
    if (end > buffer.length) break;
    packets.push({
      timeNs: BigInt(file.u32(at)) * nsPerSecond + BigInt(file.u32(at + 4)) * fractionNs,
      port: '',
      comments: [],
      lost: 0,
      ...withoutChecksum(file.u32(at + 12), buffer.subarray(at + 16, end), checksumBytes),
    });
    at = end;
  }
  return packets;
}
