/**
 * MAC and IP addresses of a lab: which can be given, and how those not given are derived.
 *
 * Derived addresses are hashes of the lab's id and the machine's name, so they stay when other
 * machines come and go. When a hash leads to an address that is taken, by hand or by a machine
 * further up in the file, the next hash is tried: a machine added at the end of the file never
 * changes the addresses of those before it.
 *
 * A name that ends in a number, as most do, has the number as the last byte of its IP address, and
 * names that differ only in the number share the other bytes: vm1 and vm2 are neighbours.
 */

import { createHash } from 'node:crypto';
import ipaddr from 'ipaddr.js';

/** QEMU's user-mode network, which every machine has on net0. */
const managementNetwork = ipaddr.IPv4.parseCIDR('10.0.2.0/24');
const prefixLengths = { ipv4: 32, ipv6: 128 } as const;
/** With 256 machines of 16 addresses less than a tenth is taken: the first few find a free one. */
const attemptsMax = 64;

/** Why `text` cannot be an address of a network card, continuing "TEXT "; undefined if it can. */
export function addressProblem(text: string): string | undefined {
  const [, address = text, length] = /^([^/]*)\/(.*)$/.exec(text) ?? [];
  const isV4 = ipaddr.IPv4.isValidFourPartDecimal(address);
  if (!isV4 && !(ipaddr.IPv6.isValid(address) && !address.includes('%'))) {
    return 'is no IPv4 or IPv6 address with a prefix length, such as 192.168.0.1/24';
  }
  if (length === undefined) return `has no prefix length; write ${address}/${isV4 ? 24 : 64}`;
  const lengthMax = prefixLengths[isV4 ? 'ipv4' : 'ipv6'];
  if (!/^[1-9][0-9]{0,2}$/.test(length) || Number(length) > lengthMax) {
    return `has a prefix length that is not between 1 and ${lengthMax}`;
  }
  const parsed = ipaddr.parse(address);
  if (['multicast', 'loopback', 'broadcast', 'unspecified'].includes(parsed.range())) {
    return `is a ${parsed.range()} address, which a network card cannot have`;
  }
  if (!(parsed instanceof ipaddr.IPv4)) return undefined;
  if (parsed.match(managementNetwork)) {
    return 'lies in 10.0.2.0/24, the network of net0 that every machine has besides; take another';
  }
  // A network of one or two addresses has no others (RFC 3021).
  if (Number(length) > 30) return undefined;
  const network = ipaddr.IPv4.networkAddressFromCIDR(text).toString();
  const broadcast = ipaddr.IPv4.broadcastAddressFromCIDR(text).toString();
  if (parsed.toString() === network) return 'is the address of the network itself';
  if (parsed.toString() === broadcast) return 'is the broadcast address of its network';
  return undefined;
}

/** The one spelling of an address among all that mean the same, without the prefix length. */
export function canonicalAddress(address: string): string {
  return ipaddr.parse(address.split('/', 1)[0]!).toString();
}

type Card = 'net0' | 'net1';

/** A locally administered MAC address that is not in `taken`, and is from now on. */
export function deriveMac(lab: string, machine: string, card: Card, taken: Set<string>): string {
  return claimFirstFree(taken, (attempt) => {
    const bytes = hash(lab, machine, card, attempt);
    // As in QEMU's own 52:54:00, the bit for "locally administered" is set in the first byte.
    return ['52', ...Array.from(bytes.subarray(0, 5), (byte) => hexadecimal(byte))].join(':');
  });
}

/** An address without prefix length in 10.83.0.0/16 that is not in `taken`, and is from now on. */
export function deriveAddress(lab: string, machine: string, taken: Set<string>): string {
  return claimFirstFree(taken, (attempt) => {
    const [, stem, digits] = /^(.*?)([0-9]+)$/.exec(machine) ?? [];
    const number = Number(digits);
    const isNumbered = stem !== undefined && number >= 1 && number <= 254 && attempt === 0;
    const bytes = hash(lab, isNumbered ? stem : machine, 'address', attempt);
    return `10.83.${bytes[0]}.${isNumbered ? number : 1 + (bytes[1]! % 254)}`;
  });
}

export const derivedPrefixLength = 16;

function claimFirstFree(taken: Set<string>, candidate: (attempt: number) => string): string {
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    const address = candidate(attempt);
    if (taken.has(address)) continue;
    taken.add(address);
    return address;
  }
  throw new Error(`${attemptsMax} hashes in a row led to addresses that are taken`);
}

function hash(...words: readonly (string | number)[]): Buffer {
  return createHash('sha256').update(words.join('\0')).digest();
}

function hexadecimal(byte: number): string {
  return byte.toString(16).padStart(2, '0');
}
