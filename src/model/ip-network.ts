/**
 * IP addresses and networks in the notation that operators use: `192.168.0.1`, `10.0.0.0/24`,
 * `fd00::/64`. An address is the network that has it alone. Pure.
 */

import ipaddr from 'ipaddr.js';

export interface IpNetwork {
  /** Four or sixteen, in network order. */
  readonly address: Uint8Array;
  readonly prefixLength: number;
}

/** Undefined for what is no address and no network. Bits behind the prefix may be set. */
export function parseIpNetwork(text: unknown): IpNetwork | undefined {
  const [, address, length] =
    /^([^/]+)(?:\/(\d{1,3}))?$/.exec(typeof text === 'string' ? text : '') ?? [];
  const isV4 = address !== undefined && ipaddr.IPv4.isValidFourPartDecimal(address);
  const isV6 = address !== undefined && ipaddr.IPv6.isValid(address) && !address.includes('%');
  const lengthMax = isV4 ? 32 : 128;
  const prefixLength = Number(length ?? lengthMax);
  if (!(isV4 || isV6) || prefixLength > lengthMax) return undefined;
  return { address: Uint8Array.from(ipaddr.parse(address!).toByteArray()), prefixLength };
}
