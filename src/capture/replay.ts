/**
 * A capture sent again by a port of this process, with its own timing or another.
 *
 * Frames that are due together are sent together, so that a machine's clock, whose timers are a
 * millisecond fine, keeps up with any capture; a manual clock sends each at its time, exactly.
 */

import { failure } from '../model/errors.ts';
import type { ProcessPort } from '../port/process/process-port.ts';
import type { Cancel, Clock } from '../runtime/clock.ts';
import type { CapturedPacket } from './pcapng.ts';

/**
 * `original`: as the capture has it, from the first frame on; or one frame every so many
 * milliseconds.
 */
export type ReplayTiming = 'original' | { readonly intervalMs: number };

const nsPerMs = 1e6;
/** Half a nanosecond: what rounding may do to a time in milliseconds. */
const roundingMs = 5e-7;
/** What a Node timer can wait. */
const timeMsMax = 2 ** 31 - 1;

/** A recording that is being played into a port. */
export class Replay {
  /**
   * Resolves to how many frames found room in the port, when the last was sent or the replay ended.
   */
  readonly done: Promise<number>;
  readonly #port: ProcessPort;
  readonly #clock: Clock;
  readonly #frames: readonly { readonly atMs: number; readonly data: Buffer }[];
  readonly #startMs: number;
  #resolve: (sent: number) => void = () => {};
  #reject: (error: unknown) => void = () => {};
  #next = 0;
  #sent = 0;
  #cancel: Cancel = () => {};

  /** Throws BAD_OPTION, or BAD_FRAME for a frame that was cut. */
  constructor(
    port: ProcessPort,
    clock: Clock,
    packets: readonly CapturedPacket[],
    timing: ReplayTiming,
  ) {
    const cut = packets.findIndex(({ data, frameBytes }) => data.length !== frameBytes);
    if (cut !== -1) {
      const { data, frameBytes } = packets[cut]!;
      throw failure('replay-packet-cut', { packet: cut, bytes: data.length, frameBytes });
    }
    const times = timesOf(packets, timing);
    this.#port = port;
    this.#clock = clock;
    this.#frames = packets.map(({ data }, i) => ({ atMs: times[i]!, data }));
    this.#startMs = clock.nowMs;
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#sendDue();
  }

  /** Sends no more. Idempotent. */
  end(): void {
    this.#cancel();
    this.#next = this.#frames.length;
    this.#resolve(this.#sent);
  }

  #sendDue(): void {
    const elapsedMs = this.#clock.nowMs - this.#startMs + roundingMs;
    const first = this.#next;
    while (this.#next < this.#frames.length && this.#frames[this.#next]!.atMs <= elapsedMs) {
      this.#next++;
    }
    try {
      this.#sent += this.#port.send(this.#frames.slice(first, this.#next).map(({ data }) => data));
    } catch (error) {
      this.#reject(error);
      return;
    }
    const next = this.#frames[this.#next];
    if (next === undefined) {
      this.#resolve(this.#sent);
    } else {
      this.#cancel = this.#clock.after(next.atMs - elapsedMs + roundingMs, () => this.#sendDue());
    }
  }
}

/** When each packet is sent, from the start, in milliseconds that never go back. */
function timesOf(packets: readonly CapturedPacket[], timing: ReplayTiming): number[] {
  const untimed = packets.findIndex((packet) => packet.untimed);
  if (timing === 'original' && untimed !== -1) {
    throw failure('replay-untimed', { packet: untimed });
  }
  const firstNs = packets[0]?.timeNs ?? 0n;
  const intervalMs = timing === 'original' ? 0 : (timing as { intervalMs?: unknown })?.intervalMs;
  if (typeof intervalMs !== 'number' || !(intervalMs >= 0)) {
    const given = JSON.stringify(timing);
    throw failure('replay-timing', { given });
  }
  let latestMs = 0;
  return packets.map(({ timeNs }, i) => {
    const atMs = timing === 'original' ? Number(timeNs - firstNs) / nsPerMs : i * intervalMs;
    latestMs = Math.max(latestMs, atMs);
    if (latestMs > timeMsMax) {
      throw failure('replay-too-late', { packet: i });
    }
    return latestMs;
  });
}
