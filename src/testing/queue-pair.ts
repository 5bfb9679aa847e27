/**
 * One queue pair of a guest: its receiveq and transmitq, the eventfds by which both ends signal
 * each other, and what happens on a call.
 *
 * Nothing polls: the call eventfds are watched on the event loop, and the rings say what has
 * happened. The receiveq asks for an interrupt all the time, the transmitq only while somebody
 * waits for it.
 */

import { failure, type TsvswitchError } from '../model/errors.ts';
import { native } from '../native/addon.ts';
import type { DriverQueue } from './driver-queue.ts';
import type { VhostUserFrontend } from './frontend.ts';
import type { GuestMemory } from './guest-memory.ts';
import type { Inbox } from './inbox.ts';
import { ReceiveQueue, type ReceiveQueueOptions } from './receive-queue.ts';
import { TransmitQueue } from './transmit-queue.ts';
import { Wakeup } from './wakeup.ts';

/** What both queues of a pair are made with. */
export type QueuePairOptions = Omit<ReceiveQueueOptions, 'queue'>;

/** One queue with its eventfds. */
interface Line {
  readonly index: number;
  readonly driver: DriverQueue;
  readonly kickFd: number;
  readonly callFd: number;
}

/** A receiveq and a transmitq with the eventfds that go with them. */
export class QueuePair {
  readonly receiveq: ReceiveQueue;
  readonly transmitq: TransmitQueue;
  readonly #inbox: Inbox;
  readonly #receiveLine: Line;
  readonly #transmitLine: Line;
  readonly #onViolation: (error: TsvswitchError) => void;
  readonly #reclaimed = new Wakeup();
  #enabled = false;
  #closed = false;

  /** Pair `number` of a guest; what arrives goes into `inbox`. */
  constructor(
    number: number,
    memory: GuestMemory,
    options: QueuePairOptions,
    inbox: Inbox,
    onViolation: (error: TsvswitchError) => void,
  ) {
    const index = 2 * number;
    this.receiveq = new ReceiveQueue(memory, { ...options, queue: index });
    this.transmitq = new TransmitQueue(memory, { ...options, queue: index + 1 });
    this.#inbox = inbox;
    this.#onViolation = onViolation;
    this.#receiveLine = lineOf(index, this.receiveq.driver);
    this.#transmitLine = lineOf(index + 1, this.transmitq.driver);
  }

  /** Whether the backend was told to use the pair. */
  get enabled(): boolean {
    return this.#enabled;
  }

  /** Starts both rings where they stand. */
  async start(frontend: VhostUserFrontend): Promise<void> {
    for (const { index, driver, kickFd, callFd } of this.#lines) {
      const { size, base, addresses } = driver;
      await frontend.startRing(index, { size, base, addresses, callFd, kickFd });
    }
  }

  /** Tells the backend to use both queues, or not to. */
  async enable(frontend: VhostUserFrontend, enabled: boolean): Promise<void> {
    for (const { index } of this.#lines) await frontend.enableRing(index, enabled);
    this.#enabled = enabled;
  }

  /** GET_VRING_BASE of both rings: the backend touches neither afterwards. */
  async stop(frontend: VhostUserFrontend): Promise<void> {
    for (const { index } of this.#lines) {
      await frontend.enableRing(index, false);
      await frontend.stopRing(index);
    }
    this.#enabled = false;
  }

  /** Takes what arrives from now on. */
  watch(): void {
    this.#onCall(this.#receiveLine, () => this.#harvest());
    this.#onCall(this.#transmitLine, () => this.#reclaimOnCall());
    this.#harvest();
  }

  /** Nothing arrives any more and nobody may wait, for this reason. */
  fail(error: TsvswitchError): void {
    for (const { callFd } of this.#lines) native().unwatchReadable(callFd);
    this.#reclaimed.fail(error);
  }

  /**
   * After fail(): takes what the last backend has left used, so that the next one goes on behind
   * it. Throws PEER_VIOLATION.
   */
  reset(): void {
    this.#reclaimed.reset();
    this.#takePackets();
    this.reclaim();
  }

  /** Throws CLOSED: the number of an eventfd may be somebody else's by then. */
  kick(queue: 'receiveq' | 'transmitq'): void {
    if (this.#closed) throw failure('guest-closed');
    const { kickFd } = queue === 'receiveq' ? this.#receiveLine : this.#transmitLine;
    native().eventfdSignal(kickFd);
  }

  /** Shows the backend what was added to the transmitq, and kicks it if it asks for that. */
  publish(): void {
    if (this.transmitq.driver.publish()) this.kick('transmitq');
  }

  /** Takes back what the backend has sent. Throws PEER_VIOLATION. */
  reclaim(): void {
    try {
      this.transmitq.reclaim();
    } catch (error) {
      this.#violated(error as TsvswitchError);
      throw error;
    }
    this.#reclaimed.wake();
  }

  /** Resolves when the backend has used something of the transmitq and it was reclaimed. */
  async nextReclaim(timeoutMs: number, what: string): Promise<void> {
    const { driver } = this.transmitq;
    if (driver.armInterrupt()) await this.#reclaimed.wait(timeoutMs, what);
    else this.reclaim();
    driver.disarmInterrupt();
  }

  /** The backend must not use the eventfds any more. */
  close(): void {
    this.#closed = true;
    for (const { kickFd, callFd } of this.#lines) {
      native().closeFd(kickFd);
      native().closeFd(callFd);
    }
  }

  get #lines(): readonly Line[] {
    return [this.#receiveLine, this.#transmitLine];
  }

  #onCall({ callFd }: Line, onCall: () => void): void {
    native().watchReadable(callFd, () => {
      native().eventfdDrain(callFd);
      onCall();
    });
  }

  /** Takes every frame there is, gives the buffers back and asks for the next interrupt. */
  #harvest(): void {
    const { driver } = this.receiveq;
    try {
      this.#takePackets();
      if (driver.publish()) this.kick('receiveq');
      // What arrived before the interrupt was armed may come without a call: ring the bell here, so
      // that it is taken in the next turn of the event loop and others get theirs.
      if (!driver.armInterrupt()) native().eventfdSignal(this.#receiveLine.callFd);
    } catch (error) {
      this.#violated(error as TsvswitchError);
    }
    this.#inbox.wake();
  }

  #takePackets(): void {
    for (let i = 0; i < this.receiveq.driver.size; i++) {
      const packet = this.receiveq.takePacket();
      if (packet === undefined) return;
      this.#inbox.push(packet);
    }
  }

  /** Ends every wait with what the device did. */
  #violated(error: TsvswitchError): void {
    this.#reclaimed.fail(error);
    this.#onViolation(error);
  }

  #reclaimOnCall(): void {
    try {
      this.reclaim();
    } catch {
      // Whoever waits has learned of it.
    }
  }
}

function lineOf(index: number, driver: DriverQueue): Line {
  return {
    index,
    driver,
    kickFd: native().eventfdCreate(),
    callFd: native().eventfdCreate(),
  };
}
