/**
 * A process port: this process itself is on the bridge, and sends and receives frames as bytes.
 *
 * Frames cross into the data plane in batches, each batch packed into one buffer with a list of
 * lengths (NativeProcessPort of native/addon.ts): so a call costs the same for one frame and
 * for a thousand. The rings hold 1 MiB each way; what finds no room there on its way to this port
 * is dropped and counted (`noBuffer`), what finds none on its way from it stays with the caller.
 *
 * A process port has no offloads: a guest's checksums arrive complete and its large packets cut. An
 * open one keeps the process alive, as a socket does.
 *
 * Its `kind` has an older word for it: `host`.
 */

import { failure, type TsvswitchError } from '../../model/errors.ts';
import type { NativeProcessPort, PortReport } from '../../native/addon.ts';
import type { PortPlace } from '../kind.ts';
import { addressEvent, CounterReader, type Port, type PortCounters } from '../port.ts';
import { Doorbell } from './doorbell.ts';

/** How long something may take. */
export interface PortWaitOptions {
  /** Rejects with TIMEOUT after this long; 5000 unless given. */
  readonly timeoutMs?: number;
}

export const frameBytesMin = 14;
export const frameBytesMax = 65_550;
const batchFramesMax = 1024;
/** Holds several of the longest frames. */
const batchBytesMax = 1 << 18;
const timeoutMsDefault = 5000;
const receiveq = 0;
const transmitq = 1;

/** A port of this process: frames are sent and received as bytes. */
export class ProcessPort implements Port {
  readonly kind = 'host';
  readonly name: string;
  readonly number: number;
  /** @internal */
  readonly handle: NativeProcessPort;
  readonly #place: PortPlace;
  readonly #counters: CounterReader;
  readonly #arrived: Doorbell;
  readonly #drained: Doorbell;
  readonly #bytes = Buffer.allocUnsafeSlow(batchBytesMax);
  readonly #lengths = new Uint32Array(batchFramesMax);
  #closed = false;

  /** Throws TOO_MANY_PORTS. */
  constructor(place: PortPlace) {
    const { name, bridge } = place;
    this.name = name;
    this.#place = place;
    this.handle = bridge.handle.addProcessPort(name, (report) => this.#onReport(report));
    this.number = this.handle.number;
    this.#counters = new CounterReader(this.handle);
    this.#arrived = new Doorbell(this.handle.queue(receiveq));
    this.#drained = new Doorbell(this.handle.queue(transmitq));
  }

  get bridge(): string {
    return this.#place.bridge.name;
  }

  /** Nothing goes through it, as its settings say. */
  get isDown(): boolean {
    return this.#place.isDown;
  }

  get counters(): PortCounters {
    this.#checkOpen();
    return this.#counters.read();
  }

  get transmitqs(): { readonly queue: number; readonly frames: number }[] {
    const frames = this.#counters.frames(transmitq);
    return [{ queue: transmitq, frames }];
  }

  /**
   * Sends frames, from the destination address on and without FCS, 14 to 65550 bytes each; returns
   * how many found room, in order. flush() waits until there is room for the others. Throws
   * BAD_FRAME, having sent nothing, if one is none.
   */
  send(frames: Uint8Array | readonly Uint8Array[]): number {
    this.#checkOpen();
    const list = Array.isArray(frames) ? (frames as readonly unknown[]) : [frames];
    for (const [i, frame] of list.entries()) checkFrame(frame, i);
    let sent = 0;
    while (sent < list.length) {
      const count = this.#pack(list as readonly Uint8Array[], sent);
      const taken = this.handle.send(this.#bytes, this.#lengths, count);
      sent += taken;
      if (taken < count) break;
    }
    return sent;
  }

  /** The frames that have arrived, at most 1024 of them; none is waited for. */
  take(): Buffer[] {
    this.#checkOpen();
    const count = this.handle.receive(this.#bytes, this.#lengths);
    if (count === 0) return [];
    let bytes = 0;
    for (let i = 0; i < count; i++) bytes += this.#lengths[i]!;
    const copied = Buffer.from(this.#bytes.subarray(0, bytes));
    const frames = new Array<Buffer>(count);
    for (let i = 0, at = 0; i < count; i++) {
      const end = at + this.#lengths[i]!;
      frames[i] = copied.subarray(at, end);
      at = end;
    }
    return frames;
  }

  /**
   * As take(), but waits for the first frame. Rejects with TIMEOUT, or CLOSED if the port is
   * closed.
   */
  async receive(options: PortWaitOptions = {}): Promise<Buffer[]> {
    const deadlineMs = deadlineOf(options);
    for (;;) {
      const ringing = this.#arrived.ringing(deadlineMs, `port ${this.name}: a frame`);
      const frames = this.#closed ? [] : this.take();
      if (frames.length > 0) {
        ringing.cancel();
        return frames;
      }
      await ringing.rung;
    }
  }

  /** Every batch of frames from now on, until the port is closed. */
  async *batches(): AsyncGenerator<Buffer[], void, void> {
    while (!this.#closed) {
      try {
        yield await this.receive({ timeoutMs: Number.POSITIVE_INFINITY });
      } catch (error) {
        if ((error as TsvswitchError).code !== 'CLOSED') throw error;
      }
    }
  }

  /** Waits until every frame sent has been forwarded. With a manual clock, step() does that. */
  async flush(options: PortWaitOptions = {}): Promise<void> {
    const deadlineMs = deadlineOf(options);
    for (;;) {
      const ringing = this.#drained.ringing(
        deadlineMs,
        `port ${this.name}: its frames to be forwarded`,
      );
      if (!this.#closed && this.handle.isDrained()) {
        ringing.cancel();
        return;
      }
      await ringing.rung;
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    const error = this.#closedError();
    for (const doorbell of [this.#arrived, this.#drained]) doorbell.close(error);
    this.handle.close();
  }

  #onReport(report: PortReport): void {
    switch (report.type) {
      case 'mac-learned':
      case 'mac-moved':
      case 'mac-aged':
      case 'spoofed':
        this.#place.onEvent(addressEvent(this.name, report));
        break;
      case 'queue-broken':
      case 'memory-lost':
      case 'eventfd-blocked':
        // Of frontends; this process is none.
        break;
    }
  }

  /** Puts frames from `first` on into the batch; returns how many. */
  #pack(frames: readonly Uint8Array[], first: number): number {
    const end = Math.min(frames.length, first + batchFramesMax);
    let at = 0;
    let count = 0;
    for (let i = first; i < end; i++) {
      const frame = frames[i]!;
      if (at + frame.length > batchBytesMax) break;
      this.#bytes.set(frame, at);
      this.#lengths[count++] = frame.length;
      at += frame.length;
    }
    return count;
  }

  #checkOpen(): void {
    if (this.#closed) throw this.#closedError();
  }

  #closedError(): TsvswitchError {
    return failure('port-closed', { name: this.name });
  }
}

function deadlineOf({ timeoutMs = timeoutMsDefault }: PortWaitOptions): number {
  if (typeof timeoutMs !== 'number' || !(timeoutMs >= 0)) {
    throw failure('timeout-negative', { timeoutMs: String(timeoutMs) });
  }
  return performance.now() + timeoutMs;
}

function checkFrame(frame: unknown, index: number): void {
  if (!(frame instanceof Uint8Array)) {
    throw failure('frame-no-bytes', { index });
  }
  if (frame.length < frameBytesMin || frame.length > frameBytesMax) {
    throw failure('frame-size', {
      index,
      bytes: frame.length,
      min: frameBytesMin,
      max: frameBytesMax,
    });
  }
}
