/**
 * From layers to the bytes of a frame. Whatever follows from the rest is computed unless given:
 * EtherTypes, protocol numbers, lengths, checksums; a given checksum is taken as it is, also a
 * wrong one. shorthands.ts needs to be told less.
 *
 * Frames are not padded to Ethernet's 60 bytes, since between virtual machines nobody does.
 *
 * Sources as in layers.ts.
 */

import { failure, type TsvswitchError } from '../../model/errors.ts';
import { ip4Bytes, ip6Bytes, macBytes } from './address.ts';
import { checksum, pseudoHeaderSum } from './checksum.ts';
import {
  type ArpLayer,
  arpOperations,
  type EthernetLayer,
  etherTypes,
  type Icmp6Layer,
  type IcmpLayer,
  type Ip4Layer,
  type Ip6Layer,
  neighbourSolicitation,
  protocols,
  type TcpLayer,
  tcpFlagLetters,
  type UdpLayer,
  type VlanLayer,
} from './layers.ts';

/** A layer of which only some fields have to be given. */
export type Some<Layer, Needed extends keyof Layer> = Partial<Layer> & Pick<Layer, Needed>;

/** What a frame is built from; `parse()` of another frame fits too. */
export interface FrameFields {
  readonly ethernet: Some<EthernetLayer, 'to' | 'from'>;
  readonly vlans?: readonly Some<VlanLayer, 'id'>[];
  /** At most one of `arp`, `ip4` and `ip6`. */
  readonly arp?: ArpLayer;
  readonly ip4?: Some<Ip4Layer, 'source' | 'target'>;
  readonly ip6?: Some<Ip6Layer, 'source' | 'target'>;
  /** At most one of `icmp4`, `icmp6`, `udp` and `tcp`, on top of `ip4` or `ip6`. */
  readonly icmp4?: Some<IcmpLayer, 'type'>;
  readonly icmp6?: Some<Icmp6Layer, 'type'>;
  readonly udp?: Some<UdpLayer, 'sourcePort' | 'targetPort'>;
  readonly tcp?: Some<TcpLayer, 'sourcePort' | 'targetPort'>;
  /** Text is sent as UTF-8; nothing unless given. */
  readonly payload?: Uint8Array | string;
}

/** Of an IP packet that carries none of the layers here: "use for experimentation" (RFC 3692). */
const experimentalProtocol = 253;
/** Of a frame that carries none of the layers here: "local experimental" of IEEE 802. */
const experimentalEtherType = 0x88b5;
const ipBytesMax = 0xffff;
const none = new Uint8Array(0);

/** The bytes of a frame. Throws BAD_FRAME for a field that cannot be what was given. */
export function build(fields: FrameFields): Uint8Array {
  const network = [fields.arp, fields.ip4, fields.ip6].filter((layer) => layer !== undefined);
  const transport = [fields.icmp4, fields.icmp6, fields.udp, fields.tcp].filter(
    (layer) => layer !== undefined,
  );
  const isOverIp = fields.ip4 !== undefined || fields.ip6 !== undefined;
  if (network.length > 1 || transport.length > (isOverIp ? 1 : 0)) {
    throw failure('frame-layers');
  }
  const payload = bytesOf(fields.payload ?? none);
  return concat([ethernetHeader(fields), networkPacket(fields, payload)]);
}

function networkPacket(fields: FrameFields, payload: Uint8Array): Uint8Array {
  const { arp, ip4, ip6 } = fields;
  if (arp !== undefined) return concat([arpPacket(arp), payload]);
  if (ip4 !== undefined) {
    const ends = [ip4Bytes('ip4.source', ip4.source), ip4Bytes('ip4.target', ip4.target)] as const;
    return ip4Packet(ip4, ends, segmentOf(fields, ends, payload));
  }
  if (ip6 !== undefined) {
    const ends = [ip6Bytes('ip6.source', ip6.source), ip6Bytes('ip6.target', ip6.target)] as const;
    return ip6Packet(ip6, ends, segmentOf(fields, ends, payload));
  }
  return payload;
}

type Ends = readonly [source: Uint8Array, target: Uint8Array];

interface Segment {
  readonly bytes: Uint8Array;
  readonly protocol: number;
}

function segmentOf(fields: FrameFields, ends: Ends, payload: Uint8Array): Segment {
  const { icmp4, icmp6, udp, tcp } = fields;
  if (udp !== undefined) return udpSegment(udp, ends, payload);
  if (tcp !== undefined) return tcpSegment(tcp, ends, payload);
  if (icmp4 !== undefined) {
    const bytes = concat([icmpHeader('icmp4', icmp4), payload]);
    setChecksum(bytes, 2, icmp4.checksum, 0);
    return { bytes, protocol: protocols.icmp4 };
  }
  if (icmp6 !== undefined) {
    const bytes = concat([icmpHeader('icmp6', icmp6), neighbourPart(icmp6), payload]);
    const sum = pseudoHeaderSum(...ends, protocols.icmp6, bytes.length);
    setChecksum(bytes, 2, icmp6.checksum, sum);
    return { bytes, protocol: protocols.icmp6 };
  }
  return { bytes: payload, protocol: experimentalProtocol };
}

function ethernetHeader({ ethernet, vlans = [], arp, ip4, ip6 }: FrameFields): Uint8Array {
  const { to, from } = ethernet;
  const carried = arp ? etherTypes.arp : ip4 ? etherTypes.ip4 : ip6 ? etherTypes.ip6 : undefined;
  const etherType = ethernet.etherType ?? carried ?? experimentalEtherType;
  const tags = vlans.map(({ id, priority = 0, dropEligible = false, tpid }, i) => {
    const isOuter = i < vlans.length - 1;
    const tag = newView(4);
    u16(tag, 0, 'vlans.tpid', tpid ?? (isOuter ? 0x88a8 : 0x8100));
    const high = bounded('vlans.priority', priority, 7) << 13;
    tag.setUint16(2, high | (dropEligible ? 0x1000 : 0) | bounded('vlans.id', id, 0xfff));
    return bytesOfView(tag);
  });
  const type = newView(2);
  u16(type, 0, 'ethernet.etherType', etherType);
  return concat([
    macBytes('ethernet.to', to),
    macBytes('ethernet.from', from),
    ...tags,
    bytesOfView(type),
  ]);
}

function arpPacket({ operation, ...arp }: ArpLayer): Uint8Array {
  const head = newView(8);
  // Ethernet and IPv4, with addresses of six and four bytes.
  head.setUint32(0, 0x0001_0800);
  head.setUint16(4, 0x0604);
  const number = typeof operation === 'number' ? operation : arpOperations[operation];
  u16(head, 6, 'arp.operation', number);
  return concat([
    bytesOfView(head),
    macBytes('arp.senderMac', arp.senderMac),
    ip4Bytes('arp.senderIp', arp.senderIp),
    macBytes('arp.targetMac', arp.targetMac),
    ip4Bytes('arp.targetIp', arp.targetIp),
  ]);
}

function ip4Packet(ip4: NonNullable<FrameFields['ip4']>, ends: Ends, segment: Segment) {
  const options = padded('ip4.options', ip4.options ?? none);
  const header = newView(20);
  const totalBytes = 20 + options.length + segment.bytes.length;
  const offset = ip4.fragmentOffset ?? 0;
  if (offset % 8 !== 0) throw badField('ip4.fragmentOffset', offset, 'a multiple of 8');
  header.setUint8(0, 0x40 | ((20 + options.length) / 4));
  u8(header, 1, 'ip4.tos', ip4.tos ?? 0);
  u16(header, 2, 'the length of the IPv4 packet', totalBytes);
  u16(header, 4, 'ip4.id', ip4.id ?? 0);
  const flags = (ip4.dontFragment ? 0x4000 : 0) | (ip4.moreFragments ? 0x2000 : 0);
  header.setUint16(6, flags | bounded('ip4.fragmentOffset', offset / 8, 0x1fff));
  u8(header, 8, 'ip4.ttl', ip4.ttl ?? 64);
  u8(header, 9, 'ip4.protocol', ip4.protocol ?? segment.protocol);
  const whole = concat([bytesOfView(header), options]);
  whole.set(ends[0], 12);
  whole.set(ends[1], 16);
  setChecksum(whole, 10, ip4.checksum, 0);
  return concat([whole, segment.bytes]);
}

function ip6Packet(ip6: NonNullable<FrameFields['ip6']>, ends: Ends, segment: Segment) {
  const extensions = ip6.extensions ?? [];
  const protocol = bounded('ip6.protocol', ip6.protocol ?? segment.protocol, 0xff);
  const headers = extensions.map(({ bytes }, i) => {
    if (bytes.length < 8 || bytes.length !== 8 * (bytes[1]! + 1)) {
      throw badField('ip6.extensions', bytes.length, 'the length that its second byte says');
    }
    const header = Uint8Array.from(bytes);
    header[0] = extensions[i + 1]?.protocol ?? protocol;
    return header;
  });
  const carried = concat([...headers, segment.bytes]);
  const header = newView(8);
  const trafficClass = bounded('ip6.trafficClass', ip6.trafficClass ?? 0, 0xff);
  const flowLabel = bounded('ip6.flowLabel', ip6.flowLabel ?? 0, 0xf_ffff);
  header.setUint32(0, 0x6000_0000 | (trafficClass << 20) | flowLabel);
  u16(header, 4, 'the length of the IPv6 payload', carried.length);
  u8(header, 6, 'ip6.extensions', extensions[0]?.protocol ?? protocol);
  u8(header, 7, 'ip6.hopLimit', ip6.hopLimit ?? 64);
  return concat([bytesOfView(header), ...ends, carried]);
}

function udpSegment(
  udp: NonNullable<FrameFields['udp']>,
  ends: Ends,
  payload: Uint8Array,
): Segment {
  const header = newView(8);
  u16(header, 0, 'udp.sourcePort', udp.sourcePort);
  u16(header, 2, 'udp.targetPort', udp.targetPort);
  u16(header, 4, 'the length of the UDP datagram', 8 + payload.length);
  const bytes = concat([bytesOfView(header), payload]);
  const sum = pseudoHeaderSum(...ends, protocols.udp, bytes.length);
  // 0 would say that there is none (RFC 768).
  setChecksum(bytes, 6, udp.checksum ?? (checksum(bytes, sum) || 0xffff), sum);
  return { bytes, protocol: protocols.udp };
}

function tcpSegment(
  tcp: NonNullable<FrameFields['tcp']>,
  ends: Ends,
  payload: Uint8Array,
): Segment {
  const options = padded('tcp.options', tcp.options ?? none);
  const header = newView(20);
  u16(header, 0, 'tcp.sourcePort', tcp.sourcePort);
  u16(header, 2, 'tcp.targetPort', tcp.targetPort);
  header.setUint32(4, bounded('tcp.sequence', tcp.sequence ?? 0, 0xffff_ffff));
  header.setUint32(8, bounded('tcp.acknowledgment', tcp.acknowledgment ?? 0, 0xffff_ffff));
  header.setUint8(12, ((20 + options.length) / 4) << 4);
  header.setUint8(13, tcpFlagBits(tcp.flags ?? ''));
  u16(header, 14, 'tcp.window', tcp.window ?? 0xffff);
  u16(header, 18, 'tcp.urgent', tcp.urgent ?? 0);
  const bytes = concat([bytesOfView(header), options, payload]);
  setChecksum(bytes, 16, tcp.checksum, pseudoHeaderSum(...ends, protocols.tcp, bytes.length));
  return { bytes, protocol: protocols.tcp };
}

function tcpFlagBits(flags: string): number {
  return [...flags].reduce((bits, letter) => {
    const bit = tcpFlagLetters.indexOf(letter);
    if (bit === -1) throw badField('tcp.flags', flags, `letters of ${tcpFlagLetters}`);
    return bits | (1 << bit);
  }, 0);
}

function icmpHeader(name: string, icmp: Some<IcmpLayer, 'type'>): Uint8Array {
  const header = newView(8);
  u8(header, 0, `${name}.type`, icmp.type);
  u8(header, 1, `${name}.code`, icmp.code ?? 0);
  u16(header, 4, `${name}.id`, icmp.id ?? 0);
  u16(header, 6, `${name}.sequence`, icmp.sequence ?? 0);
  return bytesOfView(header);
}

/** What a neighbour solicitation or advertisement carries behind its first eight bytes. */
function neighbourPart({ type, targetIp, linkAddress }: NonNullable<FrameFields['icmp6']>) {
  if (targetIp === undefined) return none;
  const target = ip6Bytes('icmp6.targetIp', targetIp);
  if (linkAddress === undefined) return target;
  const option = type === neighbourSolicitation ? 1 : 2;
  return concat([target, Uint8Array.of(option, 1), macBytes('icmp6.linkAddress', linkAddress)]);
}

/** Writes `given`, or what makes the sum over all of `bytes` right. */
function setChecksum(bytes: Uint8Array, at: number, given: number | undefined, sum: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  view.setUint16(at, bounded('checksum', given ?? checksum(bytes, sum), 0xffff));
}

function padded(name: string, options: Uint8Array): Uint8Array {
  if (options.length % 4 === 0 && options.length <= 40) return options;
  throw badField(name, options.length, 'a multiple of 4 bytes, at most 40');
}

function bytesOf(payload: Uint8Array | string): Uint8Array {
  const bytes = typeof payload === 'string' ? Buffer.from(payload) : payload;
  if (!(bytes instanceof Uint8Array)) throw badField('payload', bytes, 'bytes or text');
  if (bytes.length > ipBytesMax) throw badField('payload', bytes.length, 'at most 65535 bytes');
  return bytes;
}

function newView(lengthBytes: number): DataView<ArrayBuffer> {
  return new DataView(new ArrayBuffer(lengthBytes));
}

function bytesOfView(view: DataView<ArrayBuffer>): Uint8Array {
  return new Uint8Array(view.buffer);
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  let lengthBytes = 0;
  for (const part of parts) lengthBytes += part.length;
  const whole = new Uint8Array(lengthBytes);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function u8(view: DataView, at: number, name: string, value: number): void {
  view.setUint8(at, bounded(name, value, 0xff));
}

function u16(view: DataView, at: number, name: string, value: number): void {
  view.setUint16(at, bounded(name, value, 0xffff));
}

function bounded(name: string, value: number, max: number): number {
  if (Number.isInteger(value) && value >= 0 && value <= max) return value;
  throw badField(name, value, `a whole number from 0 to ${max}`);
}

function badField(name: string, value: number | string, expected: string): TsvswitchError {
  return failure('frame-field', { name, value, expected });
}
