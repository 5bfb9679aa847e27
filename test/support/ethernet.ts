/**
 * Ethernet frames for tests: each carries a number and is filled with bytes that follow from it, so
 * that a frame which was lost, repeated, cut or mixed up with another one shows.
 */

export const broadcast = 'ff:ff:ff:ff:ff:ff';
/** Destination, source, EtherType and number. */
export const frameBytesMin = 18;
const numberAt = 14;
/** "Local experimental" of IEEE 802. */
const etherType = 0x88b5;

export interface FrameFields {
  readonly to: string;
  readonly from: string;
  /** 0 unless given. */
  readonly number?: number;
  /** At least frameBytesMin; 60 unless given. */
  readonly lengthBytes?: number;
}

/** The unicast address of guest `index`; `other` tells apart several of one guest. */
export function macOf(index: number, other = 0): string {
  const bytes = [0x52, 0x54, 0, other >> 8, other & 0xff, index];
  return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

export function ethernetFrame({ to, from, number = 0, lengthBytes = 60 }: FrameFields): Uint8Array {
  const frame = Buffer.from(
    Array.from({ length: lengthBytes }, (_, i) => (number * 31 + i * 7 + (i >> 8)) & 0xff),
  );
  frame.set(Buffer.from(to.replaceAll(':', ''), 'hex'), 0);
  frame.set(Buffer.from(from.replaceAll(':', ''), 'hex'), 6);
  frame.writeUInt16BE(etherType, 12);
  frame.writeUInt32BE(number, numberAt);
  return frame;
}

export function numberOf(frame: Uint8Array): number {
  return Buffer.from(frame).readUInt32BE(numberAt);
}

export function destinationOf(frame: Uint8Array): string {
  return Buffer.from(frame.subarray(0, 6)).toString('hex').match(/../g)!.join(':');
}

/** A frame of guest `from` to guest `to`, by their first addresses. */
export function frameBetween(from: number, to: number, number = 0, lengthBytes = 60): Uint8Array {
  return ethernetFrame({ from: macOf(from), to: macOf(to), number, lengthBytes });
}
