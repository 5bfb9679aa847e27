/**
 * Common frames by what one would say of them to a colleague; build() has all the rest.
 */

import { broadcastMac } from './address.ts';
import { build, type FrameFields, type Some } from './build.ts';
import type { ArpLayer, Icmp6Layer, IcmpLayer, TcpLayer, UdpLayer } from './layers.ts';

/** Who a frame goes to and comes from, and its VLAN. */
interface Addressed {
  readonly to: string;
  readonly from: string;
  /** The id of its VLAN tag; untagged unless given. */
  readonly vlan?: number;
}

/** The ends of a packet and what it carries. */
interface Packet extends Addressed {
  readonly source: string;
  readonly target: string;
  readonly payload?: Uint8Array | string;
}

/** What arp() needs, and may be told. */
export interface ArpFields extends Partial<Addressed>, Omit<Partial<ArpLayer>, 'from'> {
  readonly senderMac: string;
  readonly senderIp: string;
  readonly targetIp: string;
}

/** What udp4() and udp6() need, and may be told. */
export type UdpFields = Packet & Some<UdpLayer, 'sourcePort' | 'targetPort'>;
/** What tcp4() and tcp6() need, and may be told. */
export type TcpFields = Packet & Some<TcpLayer, 'sourcePort' | 'targetPort'>;
/** An echo request unless a `type` is given. */
export type IcmpFields = Packet & Partial<IcmpLayer>;
/** An echo request unless a `type` is given; neighbour discovery with `targetIp`. */
export type Icmp6Fields = Packet & Partial<Icmp6Layer>;

/**
 * An ARP request, broadcast, or with `operation: 'reply'` and a `targetMac` a reply, sent to that
 * one; from the sender unless told otherwise.
 */
export function arp(fields: ArpFields): Uint8Array {
  const { operation = 'request', senderMac, senderIp, targetIp, from = senderMac } = fields;
  const targetMac = fields.targetMac ?? '00:00:00:00:00:00';
  const to = fields.to ?? (operation === 'request' ? broadcastMac : targetMac);
  return build({
    ...linkOf({ ...fields, to, from }),
    arp: { operation, senderMac, senderIp, targetMac, targetIp },
  });
}

/** A UDP datagram over IPv4. */
export function udp4(fields: UdpFields): Uint8Array {
  return build({ ...linkOf(fields), ip4: endsOf(fields), udp: fields, ...payloadOf(fields) });
}

/** A UDP datagram over IPv6. */
export function udp6(fields: UdpFields): Uint8Array {
  return build({ ...linkOf(fields), ip6: endsOf(fields), udp: fields, ...payloadOf(fields) });
}

/** A TCP segment over IPv4. */
export function tcp4(fields: TcpFields): Uint8Array {
  return build({ ...linkOf(fields), ip4: endsOf(fields), tcp: fields, ...payloadOf(fields) });
}

/** A TCP segment over IPv6. */
export function tcp6(fields: TcpFields): Uint8Array {
  return build({ ...linkOf(fields), ip6: endsOf(fields), tcp: fields, ...payloadOf(fields) });
}

/** An ICMP echo request over IPv4, or a message of another `type`. */
export function icmp4(fields: IcmpFields): Uint8Array {
  const icmp = { ...fields, type: fields.type ?? 8 };
  return build({ ...linkOf(fields), ip4: endsOf(fields), icmp4: icmp, ...payloadOf(fields) });
}

/**
 * An ICMPv6 echo request, or a message of another `type`. Neighbour discovery gets a hop limit of
 * 255, or it is ignored (RFC 4861 §7.1).
 */
export function icmp6(fields: Icmp6Fields): Uint8Array {
  const icmp = { ...fields, type: fields.type ?? 128 };
  const ip6 = { ...endsOf(fields), hopLimit: fields.targetIp === undefined ? 64 : 255 };
  return build({ ...linkOf(fields), ip6, icmp6: icmp, ...payloadOf(fields) });
}

function linkOf({ to, from, vlan }: Addressed): Pick<FrameFields, 'ethernet' | 'vlans'> {
  return { ethernet: { to, from }, vlans: vlan === undefined ? [] : [{ id: vlan }] };
}

function endsOf({ source, target }: Packet) {
  return { source, target };
}

function payloadOf({ payload }: Packet): Pick<FrameFields, 'payload'> {
  return payload === undefined ? {} : { payload };
}
