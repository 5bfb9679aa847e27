/**
 * What has arrived at a guest and nobody has taken yet, in the order of arrival, and those who wait
 * for more.
 */

import type { ReceivedPacket } from './received-packet.ts';
import { Wakeup } from './wakeup.ts';

/** Taken packets are cut off once there are this many of them. */
const takenMax = 1024;

export class Inbox {
  #packets: ReceivedPacket[] = [];
  #taken = 0;
  readonly #arrived = new Wakeup();

  /** Packets that nobody has taken yet. */
  get length(): number {
    return this.#packets.length - this.#taken;
  }

  /** Those who wait learn of it with wake(). */
  push(packet: ReceivedPacket): void {
    this.#packets.push(packet);
  }

  wake(): void {
    if (this.length > 0) this.#arrived.wake();
  }

  /** The oldest packet, if there is one. */
  shift(): ReceivedPacket | undefined {
    const packet = this.#packets[this.#taken];
    if (packet === undefined) return undefined;
    this.#taken++;
    if (this.#taken === this.#packets.length || this.#taken === takenMax) {
      this.#packets.splice(0, this.#taken);
      this.#taken = 0;
    }
    return packet;
  }

  /** Everything there is, if there is something. */
  takeAll(): ReceivedPacket[] | undefined {
    if (this.length === 0) return undefined;
    const all = this.#taken === 0 ? this.#packets : this.#packets.slice(this.#taken);
    this.#packets = [];
    this.#taken = 0;
    return all;
  }

  /**
   * Resolves as soon as there is a packet, which another waiter may take first. Rejects with
   * TIMEOUT, or as fail() said.
   */
  async wait(timeoutMs: number, what: string): Promise<void> {
    if (this.length === 0) await this.#arrived.wait(timeoutMs, what);
  }

  fail(error: Error): void {
    this.#arrived.fail(error);
  }

  /** Waits are possible again; what has arrived stays. */
  reset(): void {
    this.#arrived.reset();
  }
}
