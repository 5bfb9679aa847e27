/**
 * One frontend connection from its first byte to its last: reads messages, dispatches them,
 * answers, and gives everything back at the end.
 *
 * The session owns no socket. Its owner reads at most `wants` bytes whenever the socket is readable
 * and feeds them, with the fds that came along, to `receive`; at end of stream it calls `end`.
 * Reading exactly what is wanted keeps fds with their message, because a read then never crosses
 * the end of one. Once `wants` is 0 the session is closed and the owner closes the socket.
 *
 *     bytes, fds --MessageReader--> message --dispatch--> Device --Backend--> data plane
 *                                      |                    |
 *                 Channel <--reply-----+                    +--events--> owner
 *
 * The dispatcher checks in one order, once for all requests: header and size (while reading), known
 * request, payload size, fd count, feature, queue index; then the handler runs; then comes the
 * reply, or the acknowledgement if REPLY_ACK was negotiated and NEED_REPLY is set.
 *
 * Failure: a frontend's mistake is acknowledged as failed if it asked, and then the session closes
 * with one sentence. Going on is no choice: the specification does not say what state a failed
 * request leaves, and after a reconnect both sides know. The one exception is an unknown request
 * whose sender waits for the answer: it has changed nothing, and the sender learns so. If nobody
 * waits, the sender would rely on what never happened, and the session closes like after any other
 * mistake. Nor is it the frontend's mistake what a guest reads or writes beyond its configuration
 * space: the protocol has an answer for it, and the session goes on.
 *
 * Fds: every fd that is fed is handed to the Backend or closed through the Channel, exactly once,
 * on every path, also after the end.
 *
 * Events are delivered when a message is done, never in the middle of one, so an owner may call any
 * method, close() too, from its callback. Nothing a frontend sends makes any method throw.
 *
 * Not here: what requests mean (requests.ts, device.ts, ring.ts, memory.ts), and the guest, which
 * only the data plane sees; it reports through `queueBroken`. Runs on the event loop's thread.
 *
 * Sources: vhost-user "Message Specification", "Communication", VHOST_USER_PROTOCOL_F_REPLY_ACK.
 */

import {
  type BreakFault,
  type Fault,
  type FaultOf,
  type Told,
  told,
} from '../model/faults/table.ts';
import type { ControlTurn } from '../native/addon.ts';
import type { Backend, Channel } from './backend.ts';
import type { ConfigFacts } from './config-space.ts';
import { Device } from './device.ts';
import type { DeviceEvent } from './device-event.ts';
import { notOffered, type Offer, servable } from './features.ts';
import { encodeMessage, headerFlags, type Message, u64Layout } from './message.ts';
import { MessageReader } from './message-reader.ts';
import { Declined, mistakeOf, refusal, type ToldRefusal } from './refusal.ts';
import {
  type Answer,
  checkFdCount,
  ReceivedFds,
  type RequestRow,
  requestTable,
} from './requests.ts';
import type { SessionSnapshot } from './snapshot.ts';

/** What was under way when something went wrong, besides what went wrong. */
export interface AboutRequest {
  /** As the specification calls it, or its number. Absent where it was no request. */
  readonly request?: string | number;
  readonly queue?: number;
}

/** A mistake of a frontend; its sentence begins with the port and is complete. */
export type Mistake = ToldRefusal & AboutRequest;

/** Why a session ended. Sentences begin with the port and are complete. */
export type CloseReason =
  /** The stream ended between two messages: the machine was stopped, or unplugged the device. */
  | { readonly kind: 'frontend-left' }
  | ({ readonly kind: 'protocol-error' } & Mistake)
  | ({ readonly kind: 'send-failed'; readonly cause: unknown } & Told<'answer-unsent'> &
      AboutRequest)
  /** The device behind the session refused what a correct frontend may ask for. */
  | ({ readonly kind: 'backend-error'; readonly cause: unknown } & Told<FaultOf<'DEVICE_FAILED'>> &
      AboutRequest)
  | { readonly kind: 'closed-by-owner' };

export type SessionEvent =
  | DeviceEvent
  /**
   * A request nobody here knows was answered with a failure, or something beyond the configuration
   * space, of which only the first is told; the session goes on.
   */
  | ({ readonly type: 'request-refused' } & Mistake)
  /** The last event of a session. */
  | { readonly type: 'closed'; readonly reason: CloseReason };

export interface SessionOptions {
  /** The port's name; sentences begin with `port NAME: `. */
  readonly name: string;
  /**
   * Queue pairs served: rings 0 .. 2 * queuePairs - 1, among them a control queue if there is one.
   */
  readonly queuePairs: number;
  /** What a frontend that reads it is told of the device; nothing unless given. */
  readonly config?: ConfigFacts;
  /** Within `servable`, and only what the backend does its part for. */
  readonly offered: Offer;
  readonly backend: Backend;
  readonly channel: Channel;
  readonly onEvent: (event: SessionEvent) => void;
}

type Outcome =
  | { readonly kind: 'done'; readonly answer: Answer | undefined }
  | {
      readonly kind: 'failed';
      readonly reason: CloseReason & { kind: 'protocol-error' | 'backend-error' };
      /** The session goes on. */
      readonly declined: boolean;
    };

const ackSuccess = 0n;
const ackFailure = 1n;

export class Session {
  readonly #name: string;
  readonly #channel: Channel;
  readonly #onEvent: (event: SessionEvent) => void;
  readonly #reader = new MessageReader('backend');
  readonly #device: Device;
  #open = true;
  #toldDeclined = false;
  #pending: SessionEvent[] = [];

  constructor(options: SessionOptions) {
    this.#name = options.name;
    this.#channel = options.channel;
    this.#onEvent = options.onEvent;
    const surplus = notOffered(options.offered.virtio, servable.virtio);
    const surplusProtocol = notOffered(options.offered.protocol, servable.protocol);
    if (surplus !== 0n || surplusProtocol !== 0n) {
      throw new RangeError(
        `offers 0x${surplus.toString(16)} and 0x${surplusProtocol.toString(16)}, which nobody ` +
          'serves',
      );
    }
    this.#device = new Device({
      queuePairs: options.queuePairs,
      config: options.config ?? { macs: [], mtuBytes: undefined },
      offered: options.offered,
      backend: options.backend,
      onEvent: (event: DeviceEvent) => this.#pending.push(event),
      onChannelMistake: ({ told }) => this.mistake(told),
    });
  }

  /** How many bytes to read next; 0 once the session is closed. */
  get wants(): number {
    return this.#open ? this.#reader.wants : 0;
  }

  /** The agreed virtio features; undefined until SET_FEATURES, and again after a device reset. */
  get features(): bigint | undefined {
    return this.#device.features;
  }

  /** How much guest memory the frontend shares. */
  get memory(): { readonly regions: number; readonly bytes: bigint } {
    return this.#device.memory;
  }

  ringEnabled(queue: number): boolean {
    return this.#device.ring(queue).enabled;
  }

  /** The number of the ring that is the control queue, if the frontend hands one over. */
  get controlQueue(): number | undefined {
    return this.#device.controlQueue;
  }

  /** The rings that are started, broken ones included, by index. */
  get startedRings(): number[] {
    return this.#device.startedRings;
  }

  /**
   * Takes over at most `wants` bytes and the fds that came with them. `fdsTruncated` says that the
   * kernel dropped some. Throws RangeError for more bytes than wanted, which is the owner's
   * mistake.
   */
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
        this.#dispatch(step.message);
        break;
      case 'error':
        this.#closeFds(step.fds);
        this.#finish({ kind: 'protocol-error', ...this.#named(step.error) });
        break;
    }
    this.#deliverEvents();
  }

  /** The stream has ended: the frontend closed the socket or died. */
  end(): void {
    this.#finish(
      this.#reader.midMessage
        ? { kind: 'protocol-error', ...this.#named(told('message-truncated')) }
        : { kind: 'frontend-left' },
    );
    this.#deliverEvents();
  }

  /** The data plane gave up on a queue; it stays broken until it is stopped by the frontend. */
  queueBroken(queue: number, fault: BreakFault): void {
    if (!this.#open) return;
    this.#device.ringBroken(queue, fault);
    this.#deliverEvents();
  }

  /** The data plane has called for a queue that was set to do so in band. */
  queueCalled(queue: number): void {
    if (this.#open) this.#device.ringCalled(queue);
  }

  /** The operator has another MTU for the device. */
  mtuConfigured(bytes: number): void {
    if (this.#open && this.#device.config.configureMtu(bytes)) this.#device.holdToMtu();
  }

  /** The data plane has answered commands of the control queue. */
  controlled(turn: ControlTurn): void {
    if (this.#open) this.#device.config.controlled(turn);
  }

  /** The frontend did wrong outside of any message: the session ends. */
  mistake(mistake: ToldRefusal): void {
    this.#finish({ kind: 'protocol-error', ...this.#named(mistake) });
    this.#deliverEvents();
  }

  get isBetweenMessages(): boolean {
    return !this.#reader.midMessage;
  }

  /** How it stands, between two messages; undefined otherwise, and of one that cannot be told. */
  snapshot(): SessionSnapshot | undefined {
    return this.#open && !this.#reader.midMessage ? this.#device.snapshot() : undefined;
  }

  /** Before leave(), which is to follow in this turn: what this guest sends still finds others. */
  stopSending(): void {
    if (this.#open) this.#device.stopSending();
  }

  /** As snapshot(), and leaves it to somebody else: rings stop, nothing else is given back. */
  leave(): SessionSnapshot | undefined {
    if (!this.#open || this.#reader.midMessage) return undefined;
    const snapshot = this.#device.leave();
    this.#open = snapshot === undefined;
    return snapshot;
  }

  /** Stops all rings and gives back eventfds and memory. Idempotent. */
  close(): void {
    this.#finish({ kind: 'closed-by-owner' });
    this.#deliverEvents();
  }

  #dispatch(message: Message): void {
    const fds = new ReceivedFds(message.fds);
    const row = requestTable.get(message.request);
    let outcome: Outcome;
    try {
      outcome = { kind: 'done', answer: this.#perform(row, message, fds) };
    } catch (error) {
      const reason = this.#explain(row, message, error);
      outcome = { kind: 'failed', reason, declined: error instanceof Declined };
    }
    while (fds.count > 0) this.#channel.closeFd(fds.take());
    this.#answer(row, message, outcome);
  }

  /** All checks in order, then the handler. Throws Refusal, or what the backend throws. */
  #perform(row: RequestRow | undefined, message: Message, fds: ReceivedFds): Answer | undefined {
    if (row === undefined) {
      throw refusal('request-unknown');
    }
    const sizeBytes = message.payload.length;
    const { min, max } = row.payloadBytes;
    if (sizeBytes < min || sizeBytes > max) {
      throw min === max
        ? refusal('payload-not-exact', { bytes: sizeBytes, expected: min })
        : refusal('payload-not-within', { bytes: sizeBytes, bytesMin: min, bytesMax: max });
    }
    const call = row.read(message.payload);
    if (call === undefined) {
      throw refusal('payload-below-its-count', { bytes: sizeBytes });
    }
    checkFdCount(row, call.fdCount, fds.count);
    if (row.requires !== undefined && !this.#device.has(row.requires)) {
      throw refusal('feature-not-negotiated', { feature: row.requires });
    }
    const { ringCount } = this.#device;
    if (call.queue !== undefined && call.queue >= ringCount) {
      throw refusal('queue-beyond', { queueMax: ringCount - 1 });
    }
    return call.run(this.#device, fds);
  }

  #explain(
    row: RequestRow | undefined,
    message: Message,
    error: unknown,
  ): CloseReason & { kind: 'protocol-error' | 'backend-error' } {
    const about = aboutRequest(row, message);
    const mistake = mistakeOf(error);
    if (mistake !== undefined) return { kind: 'protocol-error', ...this.#named(mistake, about) };
    const failed = told('device-failed', { cause: messageOf(error) });
    return { kind: 'backend-error', ...this.#named(failed, about), cause: error };
  }

  /** The same, with a sentence that names the port and the request. */
  #named<F extends Fault>(told: Told<F>, about: AboutRequest = {}): Told<F> & AboutRequest {
    const { request, queue } = about;
    const ofQueue = queue === undefined ? '' : ` for queue ${queue}`;
    const named = typeof request === 'number' ? `request ${request}` : request;
    const subject = named === undefined ? '' : ` ${named}${ofQueue}:`;
    return { ...told, ...about, sentence: `port ${this.#name}:${subject} ${told.sentence}` };
  }

  #answer(row: RequestRow | undefined, message: Message, outcome: Outcome): void {
    const wantsAck =
      (message.flags & headerFlags.NEED_REPLY) !== 0 &&
      row?.replies !== true &&
      this.#device.has('VHOST_USER_PROTOCOL_F_REPLY_ACK');
    if (outcome.kind === 'done') {
      const answer = outcome.answer ?? (wantsAck ? ack(ackSuccess) : undefined);
      const unsent = answer === undefined ? undefined : this.#send(row, message, answer);
      if (unsent !== undefined) this.#finish(unsent);
      return;
    }
    if (outcome.declined) {
      this.#decline(row, message, wantsAck, outcome.reason as Mistake);
      return;
    }
    const unsent = wantsAck ? this.#send(row, message, ack(ackFailure)) : undefined;
    if (row === undefined && wantsAck && unsent === undefined) {
      this.#pending.push(refused(outcome.reason as Mistake));
      return;
    }
    this.#finish(outcome.reason);
  }

  /**
   * "Zero length of payload [...] indicate[s] an error" where there is an answer
   * (VHOST_USER_GET_CONFIG).
   */
  #decline(
    row: RequestRow | undefined,
    message: Message,
    wantsAck: boolean,
    mistake: Mistake,
  ): void {
    const answer = row?.replies === true ? { payload: new Uint8Array(0) } : ack(ackFailure);
    const isDue = row?.replies === true || wantsAck;
    if (!this.#toldDeclined) this.#pending.push(refused(mistake));
    this.#toldDeclined = true;
    const unsent = isDue ? this.#send(row, message, answer) : undefined;
    if (unsent !== undefined) this.#finish(unsent);
  }

  /** Returns why the answer could not be sent, if so. */
  #send(
    row: RequestRow | undefined,
    message: Message,
    { payload, fd }: Answer,
  ): CloseReason | undefined {
    const flags = headerFlags.VERSION | headerFlags.REPLY;
    const fds = fd === undefined ? [] : [fd];
    try {
      this.#channel.send(encodeMessage(message.request, flags, payload), fds);
      return undefined;
    } catch (cause) {
      const unsent = told('answer-unsent', { cause: messageOf(cause) });
      return { kind: 'send-failed', ...this.#named(unsent, aboutRequest(row, message)), cause };
    } finally {
      this.#closeFds(fds);
    }
  }

  /** The one way to the end. What the backend holds is given back even if parts of that fail. */
  #finish(reason: CloseReason): void {
    if (!this.#open) return;
    this.#open = false;
    this.#closeFds(this.#reader.abandon());
    let first = reason;
    for (const step of this.#device.shutDownSteps()) {
      try {
        step();
      } catch (cause) {
        if (first.kind === 'backend-error') continue;
        const failed = told('device-failed-at-end', { cause: messageOf(cause) });
        first = { kind: 'backend-error', ...this.#named(failed), cause };
      }
    }
    this.#pending.push({ type: 'closed', reason: first });
  }

  #deliverEvents(): void {
    for (let event = this.#pending.shift(); event !== undefined; event = this.#pending.shift()) {
      this.#onEvent(event);
    }
  }

  #closeFds(fds: readonly number[]): void {
    for (const fd of fds) this.#channel.closeFd(fd);
  }
}

function ack(status: bigint): Answer {
  return { payload: u64Layout.encode(status) };
}

/** Without the queue where the payload does not say it. */
function aboutRequest(row: RequestRow | undefined, { request, payload }: Message): AboutRequest {
  if (row === undefined) return { request };
  const { min, max } = row.payloadBytes;
  const readable = payload.length >= min && payload.length <= max;
  const queue = readable ? row.read(payload)?.queue : undefined;
  return { request: row.name, ...(queue === undefined ? {} : { queue }) };
}

/** Without what only its end knows. */
function refused({ code, fault, parameters, request, queue, sentence }: Mistake): SessionEvent {
  const about = {
    ...(request === undefined ? {} : { request }),
    ...(queue === undefined ? {} : { queue }),
  };
  return { type: 'request-refused', code, fault, parameters, ...about, sentence };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
