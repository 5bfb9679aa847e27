/**
 * A capture: everything that goes over a port, or over the ports of a bridge, as pcapng.
 *
 *     worker ──► ring (native/core/policy/capture.h)
 *                  └──► drain(), woken by an eventfd ──► file, stream or memory
 *
 * Each frame is recorded once for each port and direction: from a guest when the switch has decided
 * where it goes, to a guest when it was delivered or dropped, and on an impaired link when the link
 * lets it go or loses it. Comments say why a frame was dropped and what links did to it, in the
 * names of the counters. Frames are as the switch carries them: large packets whole, checksums that
 * a guest left to the device not filled in.
 *
 * Recording never slows a worker by waiting: what this thread does not fetch in time is not
 * recorded, counted, and marked in the file as lost. Nothing is fetched while the reader of a
 * stream is behind. An open capture keeps the process alive, as a socket does.
 */

import '../runtime/dispose.ts';
import type { Writable } from 'node:stream';
import { failure } from '../model/errors.ts';
import { type NativeCapture, native } from '../native/addon.ts';
import { type CaptureSink, FileSink, MemorySink, StreamSink } from './capture-sink.ts';
import {
  type CapturedPacket,
  decodeCapture,
  encodeInterface,
  encodeSectionHeader,
} from './pcapng.ts';

/** What is recorded, and where it goes. */
export interface CaptureOptions {
  /**
   * File to write, anew, or a stream, whose end is that of the capture; without it the capture
   * stays in memory, up to 256 MiB. What a step has moved is in the file in the next turn of the
   * event loop at the latest, and after pcapng() and close().
   */
  readonly to?: string | Writable;
  /** How much of each frame is kept, 14 to 65550; all unless given. */
  readonly snapBytes?: number;
}

/** What the switch lends to its captures. */
export interface CaptureSource {
  /** The handle of the port or bridge that is recorded. */
  readonly target: { capture(snapBytes: number, callFd: number): NativeCapture };
  /** Name of a port by its number in the data plane. */
  readonly portName: (number: number) => string;
  /** Those that can be in it by now, and a word for it if there are none. */
  readonly interfaces: readonly string[];
  readonly onClosed: (capture: Capture) => void;
}

const snapBytesMin = 14;
const snapBytesMax = 65550;
/** From so many on, fetching them costs less than having them. */
const worthBytes = 3 << 16;

/** A recording that is being made. */
export class Capture {
  readonly #source: CaptureSource;
  readonly #sink: CaptureSink;
  readonly #snapBytes: number;
  readonly #fd: number;
  readonly #handle: NativeCapture;
  /** Interfaces of the file, by the name of their port. */
  readonly #interfaces = new Map<string, number>();
  /** Lost by the ring; known for good once the capture is closed. */
  #lost = 0;
  #failure: unknown;
  #turn: NodeJS.Immediate | undefined;
  #closed = false;

  constructor(source: CaptureSource, { to, snapBytes = snapBytesMax }: CaptureOptions) {
    if (!Number.isInteger(snapBytes) || snapBytes < snapBytesMin || snapBytes > snapBytesMax) {
      throw failure('capture-snap', {
        snapBytes: String(snapBytes),
        min: snapBytesMin,
        max: snapBytesMax,
      });
    }
    this.#source = source;
    this.#snapBytes = snapBytes;
    this.#sink = this.#sinkFor(to);
    try {
      this.#sink.append(encodeSectionHeader());
      // At once: what has none is no whole file to those who read it.
      for (const port of source.interfaces) this.#interfaceOf(port);
    } catch (error) {
      this.#sink.close();
      throw error;
    }
    this.#fd = native().eventfdCreate();
    this.#handle = source.target.capture(snapBytes, this.#fd);
    native().watchReadable(this.#fd, () => {
      native().eventfdDrain(this.#fd);
      this.drain();
    });
    this.drain();
  }

  /** Frames that were not recorded: because nobody fetched them in time, or for want of memory. */
  get dropped(): number {
    if (!this.#closed) this.#lost = this.#handle.lost();
    return this.#lost + this.#sink.refused;
  }

  /**
   * Everything recorded so far, also after close(). Throws SYSTEM if the file could not be written.
   */
  packets(): CapturedPacket[] {
    return decodeCapture(this.pcapng());
  }

  /** The same as the bytes of a pcapng file. */
  pcapng(): Buffer {
    this.drain();
    this.#throwFailure();
    return this.#sink.read();
  }

  /**
   * Records what the workers have moved until now. Done by itself in later turns of the event loop.
   */
  drain(): void {
    if (this.#closed) return;
    try {
      while (!this.#sink.isBehind) {
        this.#sink.takeFrom(this.#handle);
        if (!this.#handle.requestCall()) return;
        this.#nameNext();
      }
    } catch (error) {
      this.#failure = error;
      this.end();
    }
  }

  /** Records what steps have moved, once it is much; else in the next turn of the event loop. */
  drainSteps(): void {
    if (this.#closed || this.#handle.waiting() >= worthBytes) this.drain();
    else if (this.#turn === undefined) {
      this.#turn = setImmediate(() => {
        this.#turn = undefined;
        this.drain();
      });
    }
  }

  /** Numbers of ports may be of others from now on. Behind drain(). */
  forgetPorts(): void {
    if (!this.#closed) this.#handle.forgetInterfaces();
  }

  /** Ends the recording. Idempotent. Throws SYSTEM if the file could not be written to the end. */
  close(): void {
    this.drain();
    this.end();
    this.#throwFailure();
  }

  /** As close(). */
  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  /** As close(), but keeps a failure to itself; the switch ends its captures so. */
  end(): void {
    if (this.#closed) return;
    this.#lost = this.#handle.lost();
    this.#closed = true;
    this.#handle.close();
    native().unwatchReadable(this.#fd);
    native().closeFd(this.#fd);
    this.#sink.close();
    this.#source.onClosed(this);
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  #sinkFor(to: string | Writable | undefined): CaptureSink {
    if (to === undefined) return new MemorySink();
    if (typeof to === 'string') return new FileSink(to);
    to.on('drain', () => this.drain());
    to.once('close', () => this.end());
    return new StreamSink(to);
  }

  /** Gives the port of the next packet its interface, unless it has one. */
  #nameNext(): void {
    const port = this.#handle.portWithoutInterface();
    if (port === undefined) return;
    this.#handle.setInterface(port, this.#interfaceOf(this.#source.portName(port)));
  }

  /** The number of a port's interface, which is described before its first packet. */
  #interfaceOf(port: string): number {
    let number = this.#interfaces.get(port);
    if (number === undefined) {
      number = this.#interfaces.size;
      this.#interfaces.set(port, number);
      this.#sink.append(encodeInterface(port, this.#snapBytes));
    }
    return number;
  }
}
