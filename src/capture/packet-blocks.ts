/**
 * What workers record, turned into the packet blocks of a pcapng file, at more than a million a
 * second.
 *
 *     records (native/core/policy/capture.h) ──► encode()
 *       ──► enhanced packet blocks ──► write(), some 256 KiB at a time
 *
 * Both sides are read and written as words, since both consist of them: nothing is allocated for a
 * packet, and what many packets say alike (direction, why they were dropped, what links did) is
 * encoded once. Numbers are in this machine's byte order, little-endian on all that this package
 * runs on.
 *
 * Source: draft-ietf-opsawg-pcapng §3.5, §4.3.
 */

import { native } from '../native/addon.ts';
import {
  block,
  type CaptureDirection,
  directions,
  encodeOption,
  option,
  padded,
} from './pcapng.ts';

const wordBytes = 4;
/** Holds at least one of the longest records, and of the longest blocks. */
const bufferBytes = 1 << 18;
/**
 * Where struct Record of native/core/policy/capture.h has its fields, in words; records are whole
 * in 8 bytes.
 */
const record = {
  timeLow: 0,
  timeHigh: 1,
  frameBytes: 2,
  dataBytes: 3,
  lost: 4,
  fateAndMarks: 5,
  portAndDirection: 6,
  words: 8,
} as const;
const portMask = 0xffff;
const toGuestBit = 1 << 16;
const fateMask = 0xff;
const marksShift = 8;
const lostBytes = 8;
/** Of a block, beside its frame and its options: numbers, what was lost, the end of the options. */
const otherWordsMax = 12;
/** More than these are worth the call of set(). */
const loopWordsMax = 64;

/** Records of a capture on their way into its file. */
export class PacketBlocks {
  /** Where the caller puts records, whole ones, for encode(). */
  readonly records = new Uint8Array(bufferBytes);
  readonly #interfaceOf: (port: number) => number;
  readonly #write: (blocks: Uint8Array, packets: number) => void;
  readonly #recordWords = new Uint32Array(this.records.buffer);
  readonly #words = new Uint32Array(bufferBytes / wordBytes);
  readonly #blocks = new Uint8Array(this.#words.buffer);
  /** By fate, marks and direction, see #optionsOf(). */
  readonly #options = new Map<number, Uint32Array>();

  /**
   * `interfaceOf` gives the interface of a port by its number; `write` takes blocks before it
   * returns.
   */
  constructor(
    interfaceOf: (port: number) => number,
    write: (blocks: Uint8Array, packets: number) => void,
  ) {
    this.#interfaceOf = interfaceOf;
    this.#write = write;
  }

  /** Encodes the records in the first `bytes` of `records`, and writes them. */
  encode(bytes: number): void {
    const from = this.#recordWords;
    // Of the ports that are there now, which those in these records still are.
    const interfaces = new Map<number, number>();
    let used = 0;
    let packets = 0;
    for (let at = 0; at < bytes / wordBytes; packets++) {
      const portAndDirection = from[at + record.portAndDirection]!;
      const port = portAndDirection & portMask;
      let interfaceNumber = interfaces.get(port);
      if (interfaceNumber === undefined) {
        interfaceNumber = this.#interfaceOf(port);
        interfaces.set(port, interfaceNumber);
      }
      const dataBytes = from[at + record.dataBytes]!;
      const direction = (portAndDirection & toGuestBit) === 0 ? 'fromGuest' : 'toGuest';
      const options = this.#optionsOf(from[at + record.fateAndMarks]!, direction);
      const wordsMax = padded(dataBytes) / wordBytes + options.length + otherWordsMax;
      if (used + wordsMax > this.#words.length) {
        this.#write(this.#blocks.subarray(0, used * wordBytes), packets);
        used = packets = 0;
      }
      used = writePacket(this.#words, used, {
        interfaceNumber,
        timeNsHigh: from[at + record.timeHigh]!,
        timeNsLow: from[at + record.timeLow]!,
        frameBytes: from[at + record.frameBytes]!,
        options,
        lost: from[at + record.lost]!,
        data: from,
        dataAt: at + record.words,
        dataBytes,
      });
      at += record.words + 2 * ((dataBytes + 7) >> 3);
    }
    if (packets > 0) this.#write(this.#blocks.subarray(0, used * wordBytes), packets);
  }

  #optionsOf(fateAndMarks: number, direction: CaptureDirection): Uint32Array {
    const key = 2 * fateAndMarks + (direction === 'fromGuest' ? 0 : 1);
    let options = this.#options.get(key);
    if (options === undefined) {
      options = encodeOptions(commentsOf(fateAndMarks), direction);
      this.#options.set(key, options);
    }
    return options;
  }
}

/** A packet, in words that need no big numbers. */
export interface PacketFields {
  /** Counts the interfaces of the section from 0. */
  readonly interfaceNumber: number;
  readonly timeNsHigh: number;
  readonly timeNsLow: number;
  readonly frameBytes: number;
  /** Of encodeOptions(). */
  readonly options: Uint32Array;
  readonly lost: number;
  /** The frame, or its beginning, is in `dataBytes` from word `dataAt` on. */
  readonly data: Uint32Array;
  readonly dataAt: number;
  readonly dataBytes: number;
}

/** What is said of a packet besides when it was and what it is. */
export function encodeOptions(
  comments: readonly string[],
  direction: CaptureDirection | undefined,
): Uint32Array {
  const options = comments.map((comment) => encodeOption(option.comment, Buffer.from(comment)));
  if (direction !== undefined) {
    const flags = Uint8Array.of(directions.indexOf(direction), 0, 0, 0);
    options.push(encodeOption(option.flags, flags));
  }
  const bytes = Uint8Array.from(Buffer.concat(options));
  return new Uint32Array(bytes.buffer);
}

/** Writes a block at word `at`, where there is room for it; returns where the next one begins. */
export function writePacket(words: Uint32Array, at: number, packet: PacketFields): number {
  const { dataBytes, options, lost } = packet;
  words[at] = block.packet;
  words[at + 2] = packet.interfaceNumber;
  words[at + 3] = packet.timeNsHigh;
  words[at + 4] = packet.timeNsLow;
  words[at + 5] = dataBytes;
  words[at + 6] = packet.frameBytes;
  let end = at + 7;
  end = copyWords(words, end, packet.data, packet.dataAt, padded(dataBytes) / wordBytes);
  // What fills the frame's last word up is nobody's business.
  const lastBytes = dataBytes % wordBytes;
  if (lastBytes !== 0) words[end - 1]! &= (1 << (8 * lastBytes)) - 1;
  end = copyWords(words, end, options, 0, options.length);
  if (lost !== 0) {
    words[end++] = option.dropCount | (lostBytes << 16);
    words[end++] = lost;
    words[end++] = 0;
  }
  words[end++] = option.end;
  const blockBytes = (end + 1 - at) * wordBytes;
  words[at + 1] = blockBytes;
  words[end++] = blockBytes;
  return end;
}

/** Returns where the copy ends. */
function copyWords(
  to: Uint32Array,
  at: number,
  from: Uint32Array,
  start: number,
  count: number,
): number {
  if (count > loopWordsMax) to.set(from.subarray(start, start + count), at);
  else for (let i = 0; i < count; i++) to[at + i] = from[start + i]!;
  return at + count;
}

function commentsOf(fateAndMarks: number): string[] {
  const { fateNames, firstDrop, markNames } = native();
  const fate = fateAndMarks & fateMask;
  const marks = fateAndMarks >>> marksShift;
  const drops = fate < firstDrop ? [] : [`dropped: ${fateNames[fate]}`];
  const done = markNames.filter((_, i) => ((marks >>> i) & 1) === 1);
  return done.length === 0 ? drops : [...drops, `impairment: ${done.join(', ')}`];
}
