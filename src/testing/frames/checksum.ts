/**
 * The Internet checksum and the pseudo headers that TCP, UDP and ICMPv6 include in it. Pure.
 *
 * Sources: RFC 1071, RFC 9293 §3.1 (TCP over IPv4), RFC 8200 §8.1 (over IPv6).
 */

/** The ones' complement sum of 16-bit words, on top of `start`; an odd byte is padded with 0. */
export function onesSum(bytes: Uint8Array, start = 0): number {
  let sum = start;
  for (let i = 0; i + 1 < bytes.length; i += 2) sum += (bytes[i]! << 8) | bytes[i + 1]!;
  if (bytes.length % 2 === 1) sum += bytes.at(-1)! << 8;
  // A frame has fewer than 2^15 words, so the sum is far from what a number holds.
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x1_0000);
  return sum;
}

/** What goes into a checksum field, computed with that field 0; over a right one it is 0. */
export function checksum(bytes: Uint8Array, start = 0): number {
  return ~onesSum(bytes, start) & 0xffff;
}

/** The sum of the pseudo header: both addresses, the protocol and the length of what it carries. */
export function pseudoHeaderSum(
  source: Uint8Array,
  target: Uint8Array,
  protocol: number,
  lengthBytes: number,
): number {
  const length = Uint8Array.of(0, lengthBytes >> 16, lengthBytes >> 8, lengthBytes, 0, protocol);
  return onesSum(target, onesSum(source, onesSum(length)));
}
