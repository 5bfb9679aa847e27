/**
 * MAC addresses in the one notation that operators use, and as the number that the data plane has
 * for them. Pure.
 */

const bytesOfMac = 6;
/** The multicast bit: the lowest of the first byte on the wire. */
const groupBit = 2 ** 40;

/** The usual notation of a 48-bit number whose first byte on the wire is highest. */
export function formatMac(mac: number): string {
  return mac
    .toString(16)
    .padStart(2 * bytesOfMac, '0')
    .match(/../g)!
    .join(':');
}

/**
 * The number of an address that one network card can have, such as `52:54:00:00:00:01`. Undefined
 * for any other text, for a group address and for zero.
 */
export function parseCardMac(text: unknown): number | undefined {
  const isMac = typeof text === 'string' && /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text);
  const number = isMac ? Number.parseInt(text.replaceAll(':', ''), 16) : 0;
  const isCard = number !== 0 && Math.floor(number / groupBit) % 2 === 0;
  return isCard ? number : undefined;
}
