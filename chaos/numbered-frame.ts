/**
 * Frames that tell who sent them, to whom and as which in a row, with a checksum over all of it:
 * one that was lost, repeated, cut, mixed up with another or given to the wrong guest shows.
 * Lengths vary from the shortest to the longest frame of Ethernet.
 *
 *     to, from (MACs)  EtherType  from  to   number  CRC-32 of all the rest  filler
 *     12               2          1     1    4       4                       36 to 1490 bytes
 *
 * Pure.
 */

import { crc32 } from 'node:zlib';

export interface Numbered {
  readonly from: number;
  /** Or `everybody`. */
  readonly to: number;
  readonly number: number;
}

/** The one a broadcast goes to. */
export const everybody = 0xff;

/** "Local experimental" of IEEE 802. */
const etherType = 0x88b5;
const addressesBytes = 12;
const fromAt = 14;
const numberAt = 16;
const checksumAt = 20;
const fillerAt = 24;
const frameBytesMin = 60;
const frameBytesMax = 1514;
/** Coprime to how many lengths there are, so that each of them comes up. */
const lengthStep = 331;

const filler = Buffer.from(
  Array.from({ length: 2 * frameBytesMax }, (_, i) => (Math.imul(i + 1, 0x9e3779b1) >>> 13) & 0xff),
);

/** The address of a guest by its number. */
export function macOf(guest: number): string {
  return guest === everybody
    ? 'ff:ff:ff:ff:ff:ff'
    : `52:54:00:c0:00:${guest.toString(16).padStart(2, '0')}`;
}

export function numberedFrame({ from, to, number }: Numbered): Uint8Array {
  const lengthBytes = frameBytesMin + ((number * lengthStep) % (frameBytesMax - frameBytesMin + 1));
  const frame = Buffer.allocUnsafe(lengthBytes);
  frame.write(macOf(to).replaceAll(':', ''), 0, 'hex');
  frame.write(macOf(from).replaceAll(':', ''), 6, 'hex');
  frame.writeUInt16BE(etherType, addressesBytes);
  frame[fromAt] = from;
  frame[fromAt + 1] = to;
  frame.writeUInt32BE(number, numberAt);
  filler.copy(frame, fillerAt, number % frameBytesMax);
  frame.writeUInt32BE(checksumOf(frame), checksumAt);
  return frame;
}

/** What a frame says it is; undefined if it is no longer what was sent. */
export function readNumbered(bytes: Uint8Array): Numbered | undefined {
  const frame = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const isWhole =
    frame.length >= frameBytesMin && frame.readUInt32BE(checksumAt) === checksumOf(frame);
  if (!isWhole) return undefined;
  return { from: frame[fromAt]!, to: frame[fromAt + 1]!, number: frame.readUInt32BE(numberAt) };
}

function checksumOf(frame: Buffer): number {
  return crc32(frame.subarray(fillerAt), crc32(frame.subarray(0, checksumAt)));
}
