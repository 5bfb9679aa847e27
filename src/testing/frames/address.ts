/**
 * Addresses as text and as bytes. Text comes out in one form, the usual one: MAC addresses in lower
 * case with colons, IPv6 as in RFC 5952. Pure.
 */

import ipaddr from 'ipaddr.js';
import { failure, type TsvswitchError } from '../../model/errors.ts';

export const broadcastMac = 'ff:ff:ff:ff:ff:ff';

const macPattern = /^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$/i;

/** The six bytes of `02:00:00:00:00:01`. Throws BAD_FRAME. */
export function macBytes(field: string, mac: string): Uint8Array {
  if (!macPattern.test(mac))
    throw badAddress(field, mac, 'a MAC address such as 52:54:00:00:00:01');
  return Buffer.from(mac.replaceAll(/[:-]/g, ''), 'hex');
}

export function macText(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(':');
}

/** Four bytes, dotted decimal. Throws BAD_FRAME. */
export function ip4Bytes(field: string, address: string): Uint8Array {
  if (!ipaddr.IPv4.isValidFourPartDecimal(address)) {
    throw badAddress(field, address, 'an IPv4 address such as 10.0.0.1');
  }
  return Uint8Array.from(ipaddr.IPv4.parse(address).toByteArray());
}

/** Sixteen bytes. Throws BAD_FRAME. */
export function ip6Bytes(field: string, address: string): Uint8Array {
  if (!ipaddr.IPv6.isValid(address) || address.includes('%')) {
    throw badAddress(field, address, 'an IPv6 address such as fe80::1');
  }
  return Uint8Array.from(ipaddr.IPv6.parse(address).toByteArray());
}

/** The text of 4 or 16 bytes. */
export function ipText(bytes: Uint8Array): string {
  const address = ipaddr.fromByteArray([...bytes]);
  return address instanceof ipaddr.IPv6 ? address.toRFC5952String() : address.toString();
}

/** The usual form of an address in any form; other text as it is. */
export function canonicalAddress(text: string): string {
  if (macPattern.test(text)) return text.toLowerCase().replaceAll('-', ':');
  return ipaddr.IPv6.isValid(text) && !text.includes('%') ? ipText(ip6Bytes('', text)) : text;
}

function badAddress(field: string, given: string, expected: string): TsvswitchError {
  return failure('frame-address', { field, value: given, expected });
}
