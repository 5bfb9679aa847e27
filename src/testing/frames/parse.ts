/**
 * From the bytes of a frame to its layers. It never reads outside the frame and never throws for
 * what is in it: a layer that is cut off or contradicts itself ends the parsing there, and
 * `malformed` says why. Fragments are not put together; what they carry is payload.
 *
 * Sources as in layers.ts.
 */

import { failure } from '../../model/errors.ts';
import { ipText, macText } from './address.ts';
import { onesSum, pseudoHeaderSum } from './checksum.ts';
import {
  type ArpLayer,
  arpOperations,
  etherTypes,
  type FrameLayers,
  type Icmp6Layer,
  type IcmpLayer,
  type Ip4Layer,
  type Ip6Layer,
  type LayerName,
  neighbourAdvertisement,
  neighbourSolicitation,
  protocols,
  type TcpLayer,
  tcpFlagLetters,
  type UdpLayer,
  type VlanLayer,
  vlanTpids,
} from './layers.ts';

/** The layers of a frame and its bytes. */
export interface ParsedFrame extends FrameLayers {
  readonly bytes: Uint8Array;
  /** Why parsing ended before the frame's last layer, if it did. */
  readonly malformed?: string;
}

const ethernetBytes = 14;
const tagBytes = 4;
/** More tags than anybody uses; what lies behind them is payload. */
const tagsMax = 8;
const extensionsMax = 16;
/** Extension headers of IPv6 whose second byte is a length: RFC 8200 §4.3, 4.4, 4.6; RFC 6275. */
const extensionProtocols = [0, 43, 60, 135];

class Malformed extends Error {}

/** A layer and what it carries. */
interface Step<Layer> {
  readonly layer: Layer;
  readonly rest: Uint8Array;
}

/** The layers above Ethernet that were found so far, and what is behind them. */
type Upper = { -readonly [Name in keyof ParsedFrame]?: ParsedFrame[Name] };

/** The sum of the pseudo header over so many bytes. */
type PseudoSum = (protocol: number, lengthBytes: number) => number;

/** The layers of a frame of at least 14 bytes. Throws BAD_FRAME if it is shorter. */
export function parse(bytes: Uint8Array): ParsedFrame {
  if (!(bytes instanceof Uint8Array) || bytes.length < ethernetBytes) {
    const given = bytes instanceof Uint8Array ? `${bytes.length} bytes` : typeof bytes;
    throw failure('frame-too-short', { what: given });
  }
  const view = viewOf(bytes);
  const vlans: VlanLayer[] = [];
  let at = ethernetBytes;
  let etherType = view.getUint16(at - 2);
  while (vlanTpids.includes(etherType) && vlans.length < tagsMax && at + tagBytes <= bytes.length) {
    const tag = view.getUint16(at);
    const dropEligible = (tag & 0x1000) !== 0;
    vlans.push({ id: tag & 0xfff, priority: tag >> 13, dropEligible, tpid: etherType });
    etherType = view.getUint16(at + 2);
    at += tagBytes;
  }
  const ethernet = {
    to: macText(bytes.subarray(0, 6)),
    from: macText(bytes.subarray(6, 12)),
    etherType,
  };
  const packet = bytes.subarray(at);
  const upper: Upper = {};
  try {
    parseNetwork(etherType, packet, upper);
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    upper.malformed = error.message;
  }
  return { ...upper, bytes, ethernet, vlans, payload: upper.payload ?? packet };
}

/** Fills in layer after layer; what was done before a contradiction stays. */
function parseNetwork(etherType: number, packet: Uint8Array, upper: Upper): void {
  if (etherType === etherTypes.arp) put(upper, 'arp', parseArp(packet));
  else if (etherType === etherTypes.ip4) {
    const { protocol, moreFragments, fragmentOffset } = put(upper, 'ip4', parseIp4(packet));
    if (moreFragments || fragmentOffset > 0) return;
    const pseudo: PseudoSum = (of, lengthBytes) =>
      pseudoHeaderSum(packet.subarray(12, 16), packet.subarray(16, 20), of, lengthBytes);
    parseTransport(4, protocol, pseudo, upper);
  } else if (etherType === etherTypes.ip6) {
    const { protocol } = put(upper, 'ip6', parseIp6(packet));
    const pseudo: PseudoSum = (of, lengthBytes) =>
      pseudoHeaderSum(packet.subarray(8, 24), packet.subarray(24, 40), of, lengthBytes);
    parseTransport(6, protocol, pseudo, upper);
  }
}

function parseTransport(version: 4 | 6, protocol: number, pseudo: PseudoSum, upper: Upper): void {
  const segment = upper.payload!;
  if (protocol === protocols.udp) put(upper, 'udp', parseUdp(segment, pseudo, version === 4));
  else if (protocol === protocols.tcp) put(upper, 'tcp', parseTcp(segment, pseudo));
  else if (version === 4 && protocol === protocols.icmp4) {
    put(upper, 'icmp4', parseIcmp('ICMP', segment, 0));
  } else if (version === 6 && protocol === protocols.icmp6) {
    put(upper, 'icmp6', parseIcmp6(segment, pseudo));
  }
}

function put<Name extends LayerName, Layer extends NonNullable<FrameLayers[Name]>>(
  upper: Upper,
  name: Name,
  { layer, rest }: Step<Layer>,
): Layer {
  Object.assign(upper, { [name]: layer, payload: rest });
  return layer;
}

function parseArp(packet: Uint8Array): Step<ArpLayer> {
  demand('ARP', packet, 28);
  const view = viewOf(packet);
  // Ethernet and IPv4, with addresses of six and four bytes.
  if (view.getUint32(0) !== 0x0001_0800 || view.getUint16(4) !== 0x0604) {
    throw new Malformed('ARP of other than IPv4 over Ethernet');
  }
  const number = view.getUint16(6);
  const { request, reply } = arpOperations;
  const operation = number === request ? 'request' : number === reply ? 'reply' : number;
  const layer = {
    operation,
    senderMac: macText(packet.subarray(8, 14)),
    senderIp: ipText(packet.subarray(14, 18)),
    targetMac: macText(packet.subarray(18, 24)),
    targetIp: ipText(packet.subarray(24, 28)),
  } as const;
  // Behind it there is only padding.
  return { layer, rest: packet.subarray(28, 28) };
}

function parseIp4(packet: Uint8Array): Step<Ip4Layer> {
  demand('IPv4', packet, 20);
  const view = viewOf(packet);
  const headerBytes = 4 * (view.getUint8(0) & 0xf);
  const totalBytes = view.getUint16(2);
  if (view.getUint8(0) >> 4 !== 4 || headerBytes < 20 || totalBytes < headerBytes) {
    throw new Malformed(`IPv4 header of ${headerBytes} bytes in a packet of ${totalBytes}`);
  }
  demand('IPv4', packet, totalBytes);
  const fragment = view.getUint16(6);
  const layer = {
    source: ipText(packet.subarray(12, 16)),
    target: ipText(packet.subarray(16, 20)),
    protocol: view.getUint8(9),
    ttl: view.getUint8(8),
    tos: view.getUint8(1),
    id: view.getUint16(4),
    dontFragment: (fragment & 0x4000) !== 0,
    moreFragments: (fragment & 0x2000) !== 0,
    fragmentOffset: 8 * (fragment & 0x1fff),
    options: packet.subarray(20, headerBytes),
    checksum: view.getUint16(10),
    checksumOk: isRight(packet.subarray(0, headerBytes), 0),
  };
  return { layer, rest: packet.subarray(headerBytes, totalBytes) };
}

function parseIp6(packet: Uint8Array): Step<Ip6Layer> {
  demand('IPv6', packet, 40);
  const view = viewOf(packet);
  const word = view.getUint32(0);
  const endBytes = 40 + view.getUint16(4);
  if (word >>> 28 !== 6) throw new Malformed(`IPv6 packet of version ${word >>> 28}`);
  demand('IPv6', packet, endBytes);
  const extensions: { protocol: number; bytes: Uint8Array }[] = [];
  let protocol = view.getUint8(6);
  let at = 40;
  while (extensionProtocols.includes(protocol) && extensions.length < extensionsMax) {
    const what = `IPv6 extension header ${protocol}`;
    demand(what, packet.subarray(at, endBytes), 8);
    const lengthBytes = 8 * (packet[at + 1]! + 1);
    demand(what, packet.subarray(at, endBytes), lengthBytes);
    extensions.push({ protocol, bytes: packet.subarray(at, at + lengthBytes) });
    protocol = packet[at]!;
    at += lengthBytes;
  }
  const layer = {
    source: ipText(packet.subarray(8, 24)),
    target: ipText(packet.subarray(24, 40)),
    protocol,
    hopLimit: view.getUint8(7),
    trafficClass: (word >>> 20) & 0xff,
    flowLabel: word & 0xf_ffff,
    extensions,
  };
  return { layer, rest: packet.subarray(at, endBytes) };
}

function parseUdp(datagram: Uint8Array, pseudo: PseudoSum, mayLack: boolean): Step<UdpLayer> {
  demand('UDP', datagram, 8);
  const view = viewOf(datagram);
  const lengthBytes = view.getUint16(4);
  if (lengthBytes < 8) throw new Malformed(`UDP length of ${lengthBytes}`);
  demand('UDP', datagram, lengthBytes);
  const whole = datagram.subarray(0, lengthBytes);
  const checksum = view.getUint16(6);
  const layer = {
    sourcePort: view.getUint16(0),
    targetPort: view.getUint16(2),
    checksum,
    checksumOk: checksum === 0 ? mayLack : isRight(whole, pseudo(protocols.udp, lengthBytes)),
  };
  return { layer, rest: whole.subarray(8) };
}

function parseTcp(segment: Uint8Array, pseudo: PseudoSum): Step<TcpLayer> {
  demand('TCP', segment, 20);
  const view = viewOf(segment);
  const headerBytes = 4 * (view.getUint8(12) >> 4);
  if (headerBytes < 20) throw new Malformed(`TCP header of ${headerBytes} bytes`);
  demand('TCP', segment, headerBytes);
  const bits = view.getUint8(13);
  const layer = {
    sourcePort: view.getUint16(0),
    targetPort: view.getUint16(2),
    sequence: view.getUint32(4),
    acknowledgment: view.getUint32(8),
    flags: [...tcpFlagLetters].filter((_, bit) => (bits >> bit) & 1).join(''),
    window: view.getUint16(14),
    urgent: view.getUint16(18),
    options: segment.subarray(20, headerBytes),
    checksum: view.getUint16(16),
    checksumOk: isRight(segment, pseudo(protocols.tcp, segment.length)),
  };
  return { layer, rest: segment.subarray(headerBytes) };
}

function parseIcmp(name: string, message: Uint8Array, pseudoSum: number): Step<IcmpLayer> {
  demand(name, message, 8);
  const view = viewOf(message);
  const layer = {
    type: view.getUint8(0),
    code: view.getUint8(1),
    id: view.getUint16(4),
    sequence: view.getUint16(6),
    checksum: view.getUint16(2),
    checksumOk: isRight(message, pseudoSum),
  };
  return { layer, rest: message.subarray(8) };
}

function parseIcmp6(message: Uint8Array, pseudo: PseudoSum): Step<Icmp6Layer> {
  const pseudoSum = pseudo(protocols.icmp6, message.length);
  const { layer, rest } = parseIcmp('ICMPv6', message, pseudoSum);
  if (layer.type !== neighbourSolicitation && layer.type !== neighbourAdvertisement) {
    return { layer, rest };
  }
  demand('neighbour discovery', rest, 16);
  const targetIp = ipText(rest.subarray(0, 16));
  const option = rest.subarray(16);
  // Source link-layer address in a solicitation, target link-layer address in an advertisement.
  const wanted = layer.type === neighbourSolicitation ? 1 : 2;
  if (option.length < 8 || option[0] !== wanted || option[1] !== 1) {
    return { layer: { ...layer, targetIp }, rest: option };
  }
  const linkAddress = macText(option.subarray(2, 8));
  return { layer: { ...layer, targetIp, linkAddress }, rest: option.subarray(8) };
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function demand(what: string, bytes: Uint8Array, neededBytes: number): void {
  if (bytes.length < neededBytes) {
    throw new Malformed(`${what} of ${neededBytes} bytes, of which ${bytes.length} are there`);
  }
}

function isRight(bytes: Uint8Array, pseudoSum: number): boolean {
  return onesSum(bytes, pseudoSum) === 0xffff;
}
