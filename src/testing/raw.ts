/**
 * What a guest can do wrong, for tests of whoever is at the other end: write any field of any ring,
 * kick when nobody asked, send frames of any length and messages of any kind.
 *
 * The guest's own driver goes on beside it and holds the device to what it wrote itself: a queue
 * that was written to through here is best left to the test.
 */

import type { Message, RequestName } from '../vhost-user/message.ts';
import { requestNumbers } from '../vhost-user/message.ts';
import type { ControlLine } from './control-line.ts';
import type { VhostUserFrontend } from './frontend.ts';
import type { GuestMemory } from './guest-memory.ts';
import type { PackedRing } from './packed-ring.ts';
import type { QueuePair } from './queue-pair.ts';
import type { SplitRing } from './split-ring.ts';
import type { FrameLayout } from './transmit-queue.ts';

/** A message as it is to be sent. */
export interface RawMessage {
  /** Name or number of the request. */
  readonly request: RequestName | number;
  /** Empty unless given. */
  readonly payload?: Uint8Array;
  /** Header flags; the version is added. */
  readonly flags?: number;
  /** Sent along; they stay the caller's. */
  readonly fds?: readonly number[];
  /** Whether to wait for a reply; false unless given. */
  readonly replied?: boolean;
}

/** The rings, kicks and messages of a guest as they are, right or wrong. */
export class RawGuest {
  readonly memory: GuestMemory;
  readonly #frontend: () => VhostUserFrontend;
  readonly #pair: (number: number) => QueuePair;
  readonly #control: ControlLine | undefined;

  constructor(
    memory: GuestMemory,
    frontend: () => VhostUserFrontend,
    pair: (number: number) => QueuePair,
    control: ControlLine | undefined,
  ) {
    this.memory = memory;
    this.#frontend = frontend;
    this.#pair = pair;
    this.#control = control;
  }

  /** The split ring of queue 0, 1, ... (even: receiveqs). Throws BAD_OPTION if it is packed. */
  splitRing(queue: number): SplitRing {
    return this.#driver(queue).ring;
  }

  /** The packed ring of a queue. Throws BAD_OPTION if it is split. */
  packedRing(queue: number): PackedRing {
    return this.#driver(queue).packedRing;
  }

  /** Kicks a queue, whether the backend asked for it or not. */
  kick(queue: number): void {
    if (queue === this.#control?.index) this.#control.kick();
    else this.#pairOf(queue).kick(queue % 2 === 0 ? 'receiveq' : 'transmitq');
  }

  /**
   * Sends a frame of any length, an empty one too, in any layout; false if the ring is full.
   * `header` may promise anything.
   */
  send(frame: Uint8Array, layout: FrameLayout & { readonly queuePair?: number } = {}): boolean {
    const pair = this.#pair(layout.queuePair ?? 0);
    pair.reclaim();
    const added = pair.transmitq.add(frame, layout);
    pair.publish();
    return added;
  }

  /** Sends a message of any kind; returns the reply if there is to be one. */
  message({
    request,
    payload,
    flags = 0,
    fds = [],
    replied = false,
  }: RawMessage): Promise<Message | undefined> {
    const number = typeof request === 'number' ? request : requestNumbers[request];
    const bytes = payload ?? new Uint8Array(0);
    return this.#frontend().request(number, flags, bytes, fds, replied);
  }

  /** Writes bytes on the socket as they are. */
  bytes(bytes: Uint8Array, fds: readonly number[] = []): void {
    this.#frontend().sendBytes(bytes, fds);
  }

  #pairOf(queue: number): QueuePair {
    return this.#pair(Math.floor(queue / 2));
  }

  /** Number of the control queue, if the guest has one. */
  get controlQueue(): number | undefined {
    return this.#control?.index;
  }

  #driver(queue: number) {
    if (queue === this.#control?.index) return this.#control.driver;
    const { receiveq, transmitq } = this.#pairOf(queue);
    return (queue % 2 === 0 ? receiveq : transmitq).driver;
  }
}
