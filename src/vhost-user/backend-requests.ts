/**
 * What this backend asks of its frontend, over the channel the frontend gave for it: VRING_CALL and
 * VRING_ERR, which stand in for eventfds with in-band notifications, and CONFIG_CHANGE_MSG.
 *
 * One request is under way at a time and the next waits for its acknowledgement, so a frontend that
 * does not read is never made to block us. A queue that has to be told of twice while it waits is
 * told of once: a call says that there is something to look at, not how much. Without REPLY_ACK,
 * which in-band notifications need and CONFIG does not, nothing is acknowledged and nothing waits.
 *
 * A channel that ends is not missed: the frontend closes it when it wants no more. A wrong answer
 * is a mistake of the frontend and reported to `onMistake`, once.
 *
 * Sources: vhost-user "Back-end communication", "In-band notifications", "Back-end message types".
 */

import type { BackendChannel, ChannelReader } from './backend.ts';
import {
  type BackendRequestName,
  backendRequestNumbers,
  encodeMessage,
  headerFlags,
  type Message,
  u64Layout,
  vringStateLayout,
} from './message.ts';
import { MessageReader } from './message-reader.ts';
import { type Refusal, refusal } from './refusal.ts';

interface BackendRequest {
  readonly name: BackendRequestName;
  /** Undefined where it is about no queue. */
  readonly queue: number | undefined;
}

export class BackendRequests implements ChannelReader {
  readonly #reader = new MessageReader('frontend');
  readonly #onMistake: (mistake: Refusal) => void;
  readonly #channel: BackendChannel;
  /** By name and queue, in the order they were asked for. */
  readonly #waiting = new Map<string, BackendRequest>();
  #underWay: BackendRequest | undefined;
  #open = true;

  constructor(
    openChannel: (reader: ChannelReader) => BackendChannel,
    onMistake: (mistake: Refusal) => void,
  ) {
    this.#onMistake = onMistake;
    this.#channel = openChannel(this);
  }

  get wants(): number {
    return this.#open ? this.#reader.wants : 0;
  }

  /** `acked`: REPLY_ACK was negotiated. */
  tell(name: BackendRequestName, queue: number | undefined, acked: boolean): void {
    if (!this.#open) return;
    if (!acked) {
      this.#send({ name, queue }, headerFlags.VERSION);
      return;
    }
    this.#waiting.set(`${name} ${queue}`, { name, queue });
    this.#sendNext();
  }

  receive(bytes: Uint8Array, fds: readonly number[], fdsTruncated = false): void {
    if (!this.#open) {
      this.#closeFds(fds);
      return;
    }
    const step = this.#reader.feed(bytes, fds, fdsTruncated);
    switch (step.kind) {
      case 'incomplete':
        return;
      case 'message':
        this.#closeFds(step.message.fds);
        this.#acknowledge(step.message);
        return;
      case 'error':
        this.#closeFds(step.fds);
        this.#mistake(refusal('reply-malformed', { what: step.error.sentence }));
        return;
    }
  }

  end(): void {
    this.close();
  }

  /** Idempotent. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#closeFds(this.#reader.abandon());
    this.#channel.close();
  }

  #acknowledge({ request, payload }: Message): void {
    const underWay = this.#underWay;
    if (underWay === undefined || request !== backendRequestNumbers[underWay.name]) {
      this.#mistake(refusal('reply-unasked', { backendRequest: request }));
      return;
    }
    const { bytesMin } = u64Layout;
    const status = payload.length === bytesMin ? u64Layout.decode(payload) : undefined;
    if (status !== 0n) {
      const answer = status === undefined ? `${payload.length} bytes` : `status ${status}`;
      const { name: backendRequest, queue } = underWay;
      this.#mistake(
        queue === undefined
          ? refusal('reply-not-success', { backendRequest, answer })
          : refusal('reply-not-success-of-queue', { backendRequest, queue, answer }),
      );
      return;
    }
    this.#underWay = undefined;
    this.#sendNext();
  }

  #sendNext(): void {
    if (this.#underWay !== undefined) return;
    const next = this.#waiting.entries().next();
    if (next.done) return;
    const [key, request] = next.value;
    this.#waiting.delete(key);
    this.#underWay = request;
    this.#send(request, headerFlags.VERSION | headerFlags.NEED_REPLY);
  }

  #send({ name, queue }: BackendRequest, flags: number): void {
    const payload =
      queue === undefined ? new Uint8Array(0) : vringStateLayout.encode({ index: queue, num: 0 });
    try {
      this.#channel.send(encodeMessage(backendRequestNumbers[name], flags, payload));
    } catch {
      // The frontend has closed its end; that this comes in as an end of stream is only a matter of
      // time.
      this.close();
    }
  }

  #mistake(mistake: Refusal): void {
    this.close();
    this.#onMistake(mistake);
  }

  #closeFds(fds: readonly number[]): void {
    for (const fd of fds) this.#channel.closeFd(fd);
  }
}
