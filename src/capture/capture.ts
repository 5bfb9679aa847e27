/**
 * A capture: everything that goes over a port, or over the ports of a bridge, as pcapng.
 *
 *     worker ──► ring (native/core/capture.h) ──► drain(), woken by an eventfd ──► file or memory
 *
 * Each frame is recorded once for each port and direction: from a guest when the switch has decided
 * where it goes, to a guest when it was delivered or dropped, and on an impaired link when the link lets
 * it go or loses it. Comments say why a frame was dropped and what links did to it, in the names of the
 * counters. Frames are as the switch carries them: large packets whole, checksums that a guest left to
 * the device not filled in.
 *
 * Recording never slows a worker by waiting: what this thread does not fetch in time is not recorded,
 * counted, and marked in the file as lost. An open capture keeps the process alive, as a socket does.
 */

import { TsvswitchError } from '../errors.ts';
import { type Dataplane, native } from '../native.ts';
import { type CaptureSink, FileSink, MemorySink } from './capture-sink.ts';
import {
  type CapturedPacket,
  decodeCapture,
  encodeInterface,
  encodePacket,
  encodeSectionHeader,
} from './pcapng.ts';

/** What is recorded, and where it goes. */
export interface CaptureOptions {
  /** File to write, anew; without it the capture stays in memory, up to 256 MiB. */
  readonly to?: string;
  /** How much of each frame is kept, 14 to 65550; all unless given. */
  readonly snapBytes?: number;
}

/** What the switch lends to its captures. */
export interface CaptureSource {
  readonly dataplane: Dataplane;
  readonly target: { readonly port: number } | { readonly bridge: number };
  /** Name of a port by its number in the data plane. */
  readonly portName: (number: number) => string;
  readonly onClosed: (capture: Capture) => void;
}

const snapBytesMin = 14;
const snapBytesMax = 65550;
/** Holds at least one of the longest records. */
const readBytesMax = 1 << 18;
/** As struct Record in native/core/capture.h. */
const record = {
  time: 0,
  frame: 8,
  captured: 12,
  lost: 16,
  counted: 20,
  port: 24,
  direction: 26,
  bytes: 32,
} as const;
const dropPrefix = 'drops';
/** Counters of what links do to frames that they let go, in the words of comments. */
const impairments = new Map([
  ['heldFrames', 'held'],
  ['duplicatedFrames', 'duplicated'],
  ['reorderedFrames', 'reordered'],
  ['corruptedFrames', 'corrupted'],
]);

/** A recording that is being made. */
export class Capture {
  readonly #source: CaptureSource;
  readonly #sink: CaptureSink;
  readonly #snapBytes: number;
  readonly #fd: number;
  readonly #number: number;
  readonly #records = Buffer.allocUnsafeSlow(readBytesMax);
  /** Interfaces of the file, by the name of their port. */
  readonly #interfaces = new Map<string, number>();
  /** Records that the sink had no room for. */
  #refused = 0;
  /** Lost by the ring; known for good once the capture is closed. */
  #lost = 0;
  #failure: unknown;
  #closed = false;

  constructor(source: CaptureSource, { to, snapBytes = snapBytesMax }: CaptureOptions) {
    if (!Number.isInteger(snapBytes) || snapBytes < snapBytesMin || snapBytes > snapBytesMax) {
      throw new TsvswitchError(
        'BAD_OPTION',
        `snapBytes: ${String(snapBytes)} is not an integer from ${snapBytesMin} to ${snapBytesMax}`,
      );
    }
    this.#source = source;
    this.#snapBytes = snapBytes;
    this.#sink = to === undefined ? new MemorySink() : new FileSink(to);
    try {
      this.#sink.append(encodeSectionHeader());
    } catch (error) {
      this.#sink.close();
      throw error;
    }
    this.#fd = native().eventfdCreate();
    const { dataplane, target } = source;
    this.#number =
      'port' in target
        ? dataplane.capturePort(target.port, snapBytes, this.#fd)
        : dataplane.captureBridge(target.bridge, snapBytes, this.#fd);
    native().watchReadable(this.#fd, () => {
      native().eventfdDrain(this.#fd);
      this.drain();
    });
    this.drain();
  }

  /** Frames that were not recorded: because nobody fetched them in time, or for want of memory. */
  get dropped(): number {
    if (!this.#closed) this.#lost = this.#source.dataplane.captureLost(this.#number);
    return this.#lost + this.#refused;
  }

  /** Everything recorded so far, also after close(). Throws SYSTEM if the file could not be written. */
  packets(): CapturedPacket[] {
    return decodeCapture(this.pcapng());
  }

  /** The same as the bytes of a pcapng file. */
  pcapng(): Buffer {
    this.drain();
    this.#throwFailure();
    return this.#sink.read();
  }

  /** Records what the workers have moved until now. Done by itself in later turns of the event loop. */
  drain(): void {
    if (this.#closed) return;
    try {
      while (this.#readRecords());
      this.#source.dataplane.captureRequestCall(this.#number);
      while (this.#readRecords());
    } catch (error) {
      this.#failure = error;
      this.end();
    }
  }

  /** Ends the recording. Idempotent. Throws SYSTEM if the file could not be written to the end. */
  close(): void {
    this.drain();
    this.end();
    this.#throwFailure();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  /** As close(), but keeps a failure to itself; the switch ends its captures so. */
  end(): void {
    if (this.#closed) return;
    this.#lost = this.#source.dataplane.captureLost(this.#number);
    this.#closed = true;
    this.#source.dataplane.removeCapture(this.#number);
    native().unwatchReadable(this.#fd);
    native().closeFd(this.#fd);
    this.#sink.close();
    this.#source.onClosed(this);
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** False if there were none. */
  #readRecords(): boolean {
    const bytes = this.#source.dataplane.captureRead(this.#number, this.#records);
    if (bytes === 0) return false;
    const blocks: Buffer[] = [];
    // Of the ports that are there now, which those in these records still are.
    const numbers = new Map<number, number>();
    let packets = 0;
    for (let at = 0; at < bytes; packets++) {
      const capturedBytes = this.#records.readUInt32LE(at + record.captured);
      const data = this.#records.subarray(at + record.bytes, at + record.bytes + capturedBytes);
      const port = this.#records.readUInt16LE(at + record.port);
      let interfaceNumber = numbers.get(port);
      if (interfaceNumber === undefined) {
        interfaceNumber = this.#interfaceOf(this.#source.portName(port), blocks);
        numbers.set(port, interfaceNumber);
      }
      const counted = this.#records.readUInt32LE(at + record.counted);
      const block = encodePacket(interfaceNumber, {
        timeNs: this.#records.readBigUInt64LE(at + record.time),
        direction: this.#records[at + record.direction] === 0 ? 'fromGuest' : 'toGuest',
        comments: commentsOf(counted),
        lost: this.#records.readUInt32LE(at + record.lost),
        frameBytes: this.#records.readUInt32LE(at + record.frame),
        data,
      });
      blocks.push(block);
      at += (record.bytes + capturedBytes + 7) & ~7;
    }
    if (!this.#sink.append(Buffer.concat(blocks))) this.#refused += packets;
    return true;
  }

  /** The number of a port's interface, which is described in `blocks` when it first appears. */
  #interfaceOf(port: string, blocks: Buffer[]): number {
    let number = this.#interfaces.get(port);
    if (number === undefined) {
      number = this.#interfaces.size;
      this.#interfaces.set(port, number);
      blocks.push(encodeInterface(port, this.#snapBytes));
    }
    return number;
  }
}

/** `counted` has the bit of each counter that the frame is in. */
function commentsOf(counted: number): string[] {
  const names = native().counterNames.filter((_, i) => ((counted >>> i) & 1) === 1);
  const drops = names
    .filter((name) => name.startsWith(dropPrefix))
    .map((name) => name.slice(dropPrefix.length))
    .map((reason) => `dropped: ${reason.charAt(0).toLowerCase()}${reason.slice(1)}`);
  const done = names.flatMap((name) => impairments.get(name) ?? []);
  return done.length === 0 ? drops : [...drops, `impairment: ${done.join(', ')}`];
}
