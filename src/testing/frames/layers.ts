/**
 * What a frame consists of, layer by layer. parse.ts makes it from bytes, build.ts makes bytes from
 * it, match.ts compares by it and describe.ts says it in words, so a field has one name everywhere.
 *
 * Addresses are text. What has a name in tcpdump has that name here where it is short.
 *
 * Sources: IEEE 802.3, 802.1Q; RFC 826 (ARP), 791 (IPv4), 8200 (IPv6), 792 (ICMP), 4443 and 4861
 * (ICMPv6, neighbour discovery), 768 (UDP), 9293 (TCP).
 */

/** The Ethernet header. */
export interface EthernetLayer {
  readonly to: string;
  readonly from: string;
  /** Of what lies behind the VLAN tags, if there are any. */
  readonly etherType: number;
}

/** One VLAN tag, 802.1Q or 802.1ad. */
export interface VlanLayer {
  /** 0 to 4095 */
  readonly id: number;
  /** 0 to 7 */
  readonly priority: number;
  readonly dropEligible: boolean;
  /** EtherType of the tag itself: 0x8100, or 0x88a8 for the outer of two. */
  readonly tpid: number;
}

/** ARP for IPv4 over Ethernet. */
export interface ArpLayer {
  /** A number where it is neither of both. */
  readonly operation: 'request' | 'reply' | number;
  readonly senderMac: string;
  readonly senderIp: string;
  readonly targetMac: string;
  readonly targetIp: string;
}

/** The IPv4 header. */
export interface Ip4Layer {
  readonly source: string;
  readonly target: string;
  readonly protocol: number;
  readonly ttl: number;
  /** DSCP and ECN, the second byte of the header. */
  readonly tos: number;
  readonly id: number;
  readonly dontFragment: boolean;
  readonly moreFragments: boolean;
  /** Bytes, a multiple of 8. */
  readonly fragmentOffset: number;
  /** A multiple of 4 bytes, at most 40. */
  readonly options: Uint8Array;
  readonly checksum: number;
  /** Whether the checksum is right. */
  readonly checksumOk: boolean;
}

/** The IPv6 header with its extension headers. */
export interface Ip6Layer {
  readonly source: string;
  readonly target: string;
  /** Of what lies behind the extension headers. */
  readonly protocol: number;
  readonly hopLimit: number;
  readonly trafficClass: number;
  readonly flowLabel: number;
  /** Extension headers as they lie in the packet, each with its own protocol number. */
  readonly extensions: readonly { readonly protocol: number; readonly bytes: Uint8Array }[];
}

/** ICMP over IPv4 or IPv6. */
export interface IcmpLayer {
  readonly type: number;
  readonly code: number;
  /** Of an echo; in other messages the four bytes behind the checksum, high half and low half. */
  readonly id: number;
  readonly sequence: number;
  readonly checksum: number;
  readonly checksumOk: boolean;
}

/** ICMPv6; a neighbour solicitation or advertisement says whom it is about. */
export interface Icmp6Layer extends IcmpLayer {
  /** Absent in other messages. */
  readonly targetIp?: string;
  /** The link-layer address option, source or target, if there is one. */
  readonly linkAddress?: string;
}

/** The UDP header. */
export interface UdpLayer {
  readonly sourcePort: number;
  readonly targetPort: number;
  readonly checksum: number;
  /** True of no checksum (0) over IPv4 too. */
  readonly checksumOk: boolean;
}

/** The TCP header. */
export interface TcpLayer {
  readonly sourcePort: number;
  readonly targetPort: number;
  readonly sequence: number;
  readonly acknowledgment: number;
  /**
   * As tcpdump writes them, in this order: F, S, R, P, `.` for ACK, U, E, W. `S.` is SYN and ACK.
   */
  readonly flags: string;
  readonly window: number;
  readonly urgent: number;
  /** A multiple of 4 bytes, at most 40. */
  readonly options: Uint8Array;
  readonly checksum: number;
  readonly checksumOk: boolean;
}

/** The layers a frame may have; those it does not have are absent. */
export interface FrameLayers {
  readonly ethernet: EthernetLayer;
  /** Outermost first. */
  readonly vlans: readonly VlanLayer[];
  readonly arp?: ArpLayer;
  readonly ip4?: Ip4Layer;
  readonly ip6?: Ip6Layer;
  readonly icmp4?: IcmpLayer;
  readonly icmp6?: Icmp6Layer;
  readonly udp?: UdpLayer;
  readonly tcp?: TcpLayer;
  /** What lies behind the last of them, without padding. */
  readonly payload: Uint8Array;
}

/** The layers that have a header each. */
export type LayerName = Exclude<keyof FrameLayers, 'vlans' | 'payload'>;

export const etherTypes = { ip4: 0x0800, arp: 0x0806, ip6: 0x86dd } as const;
export const vlanTpids: readonly number[] = [0x8100, 0x88a8];
export const protocols = { icmp4: 1, tcp: 6, udp: 17, icmp6: 58 } as const;
export const neighbourSolicitation = 135;
export const neighbourAdvertisement = 136;
/** The number of an ARP operation that has a name. */
export const arpOperations = { request: 1, reply: 2 } as const;
/** The letters of TCP's flags, from bit 0. */
export const tcpFlagLetters = 'FSRP.UEW';
