/**
 * A vhost-user frontend: one connection to a backend, requests with fds, replies in order.
 *
 * Methods are named after what a well-behaved frontend does; request() and sendBytes() say
 * anything, for tests of what a backend makes of it. Requests that change the backend are
 * acknowledged where REPLY_ACK was negotiated, so that their failure is an error here and not a
 * guess.
 *
 * It knows no memory and no rings; guest.ts puts them together.
 *
 * Sources: vhost-user "Communication", "Front-end message types", "REPLY_ACK".
 */

import { failure, type TsvswitchError } from '../model/errors.ts';
import { type MappedRegion, native, type RingAddresses } from '../native/addon.ts';
import { FdListener, FdSocket } from '../native/fd-socket.ts';
import { protocolFeatures, virtioFeatures } from '../vhost-user/features.ts';
import {
  emptyLayout,
  encodeMessage,
  headerFlags,
  type Layout,
  type Message,
  memoryRegionLayout,
  memoryTableLayout,
  memoryTableRegionsMax,
  type RequestName,
  requestNumbers,
  u64Layout,
  vringAddressesLayout,
  vringFdLayout,
  vringStateLayout,
} from '../vhost-user/message.ts';
import { MessageReader } from '../vhost-user/message-reader.ts';
import { Wakeup } from './wakeup.ts';

const defaultTimeoutMs = 5000;
/** Messages taken per callback; the rest calls back again. */
const messagesPerCallbackMax = 64;

/** Where the backend is, and how long it may take to answer. */
export interface FrontendOptions {
  readonly path: string;
  /** How long a reply may take; 5 seconds unless given. */
  readonly timeoutMs?: number;
}

/** One connection to a vhost-user backend: requests, fds and replies. */
export class VhostUserFrontend {
  readonly #socket: FdSocket;
  readonly #timeoutMs: number;
  readonly #reader = new MessageReader('frontend');
  readonly #replies: Message[] = [];
  readonly #arrived = new Wakeup();
  readonly #onEnd: ((error: TsvswitchError) => void)[] = [];
  #end: TsvswitchError | undefined;
  #protocolFeatures = 0n;
  /** The exchange under way; the next waits for it, so replies belong to who asked. */
  #exchange: Promise<unknown> = Promise.resolve();

  private constructor(socket: FdSocket, timeoutMs: number) {
    this.#socket = socket;
    this.#timeoutMs = timeoutMs;
    socket.onReadable(() => this.#receive());
  }

  /** Connects to a backend that listens. Throws the SOCKET_* codes and SYSTEM. */
  static connect(options: FrontendOptions): VhostUserFrontend {
    const socket = FdSocket.connect(options.path);
    return new VhostUserFrontend(socket, options.timeoutMs ?? defaultTimeoutMs);
  }

  /**
   * Listens for one backend, which may take `waitMs`, or as long as a reply. Throws TIMEOUT, or
   * what listening throws.
   */
  static async listen(options: FrontendOptions, waitMs?: number): Promise<VhostUserFrontend> {
    const { path, timeoutMs = defaultTimeoutMs } = options;
    const listener = FdListener.listen(path);
    const arrived = new Wakeup();
    let socket: FdSocket | undefined;
    listener.onConnection(
      (connection) => {
        socket = connection;
        listener.close();
        arrived.wake();
      },
      (error) => arrived.fail(error),
    );
    try {
      await arrived.wait(waitMs ?? timeoutMs, `a backend on ${path}`);
    } finally {
      listener.close();
    }
    return new VhostUserFrontend(socket!, timeoutMs);
  }

  /** Calls back once when the connection has ended, also if it has already, and says why. */
  onEnd(callback: (error: TsvswitchError) => void): void {
    if (this.#end === undefined) this.#onEnd.push(callback);
    else callback(this.#end);
  }

  /** Why the connection has ended, or undefined while it stands. */
  get end(): TsvswitchError | undefined {
    return this.#end;
  }

  /**
   * Feature negotiation from SET_OWNER to SET_FEATURES. Takes of `features` and
   * `wantedProtocolFeatures` what the backend offers and returns the agreed virtio features.
   */
  async negotiate(features: bigint, wantedProtocolFeatures: bigint): Promise<bigint> {
    const { VHOST_USER_F_PROTOCOL_FEATURES } = virtioFeatures;
    await this.tell('SET_OWNER', emptyLayout, undefined);
    const offered = await this.ask('GET_FEATURES', emptyLayout, undefined, u64Layout);
    const agreed = offered & (features | VHOST_USER_F_PROTOCOL_FEATURES);
    if ((agreed & VHOST_USER_F_PROTOCOL_FEATURES) !== 0n) {
      const protocol = await this.ask('GET_PROTOCOL_FEATURES', emptyLayout, undefined, u64Layout);
      const agreedProtocol = protocol & wantedProtocolFeatures;
      await this.tell('SET_PROTOCOL_FEATURES', u64Layout, agreedProtocol);
      this.#protocolFeatures = agreedProtocol;
    }
    await this.tell('SET_FEATURES', u64Layout, agreed);
    return agreed;
  }

  /** Whether the protocol feature `bit` was agreed on. */
  speaks(bit: bigint): boolean {
    return (this.#protocolFeatures & bit) !== 0n;
  }

  /** Throws BAD_OPTION for more than the eight regions a table holds. */
  async setMemory(regions: readonly MappedRegion[]): Promise<void> {
    if (regions.length > memoryTableRegionsMax) {
      throw failure('memory-table-too-long', {
        regions: regions.length,
        max: memoryTableRegionsMax,
      });
    }
    const fds = regions.map(({ fd }) => fd);
    await this.tell('SET_MEM_TABLE', memoryTableLayout, regions, fds);
  }

  /**
   * Shares one more region, whose fd stays the caller's. Throws REFUSED and what request() throws.
   */
  addMemoryRegion(region: MappedRegion): Promise<void> {
    return this.tell('ADD_MEM_REG', memoryRegionLayout, region, [region.fd]);
  }

  /** Takes a region back. Throws REFUSED and what request() throws. */
  removeMemoryRegion(region: MappedRegion): Promise<void> {
    return this.tell('REM_MEM_REG', memoryRegionLayout, region);
  }

  /** Queue pairs the backend can serve; 1 if it does not speak MQ. */
  async queuePairsMax(): Promise<number> {
    if (!this.speaks(protocolFeatures.VHOST_USER_PROTOCOL_F_MQ)) return 1;
    return Number(await this.ask('GET_QUEUE_NUM', emptyLayout, null, u64Layout));
  }

  /** Everything a ring needs to run, in the order QEMU says it. The fds stay the caller's. */
  async startRing(
    index: number,
    ring: { size: number; base: number; addresses: RingAddresses; callFd: number; kickFd: number },
  ): Promise<void> {
    const withFd = { index, hasFd: true };
    await this.tell('SET_VRING_NUM', vringStateLayout, { index, num: ring.size });
    await this.tell('SET_VRING_BASE', vringStateLayout, { index, num: ring.base });
    const addresses = { index, flags: 0, log: 0n, ...ring.addresses };
    await this.tell('SET_VRING_ADDR', vringAddressesLayout, addresses);
    await this.tell('SET_VRING_CALL', vringFdLayout, withFd, [ring.callFd]);
    await this.tell('SET_VRING_KICK', vringFdLayout, withFd, [ring.kickFd]);
  }

  /** SET_VRING_ENABLE. Throws REFUSED and what request() throws. */
  enableRing(index: number, enabled: boolean): Promise<void> {
    return this.tell('SET_VRING_ENABLE', vringStateLayout, { index, num: enabled ? 1 : 0 });
  }

  /**
   * GET_VRING_BASE: stops the ring and returns the next avail index the backend would have taken.
   */
  async stopRing(index: number): Promise<number> {
    const state = { index, num: 0 };
    const reply = await this.ask('GET_VRING_BASE', vringStateLayout, state, vringStateLayout);
    return reply.num;
  }

  /** Sends a request that the specification answers, and returns the answer. */
  async ask<Q, A>(name: RequestName, question: Layout<Q>, value: Q, answer: Layout<A>): Promise<A> {
    const reply = await this.request(requestNumbers[name], 0, question.encode(value), [], true);
    const { length } = reply!.payload;
    const decoded =
      length >= answer.bytesMin && length <= answer.bytesMax
        ? answer.decode(reply!.payload)
        : undefined;
    // emptyLayout is no answer, so undefined always means malformed.
    if (decoded === undefined) {
      throw this.#finish(failure('answer-size', { request: name, bytes: length }));
    }
    return decoded;
  }

  /** Sends a request that has no answer, and waits for its acknowledgement if there is one. */
  async tell<T>(
    name: RequestName,
    layout: Layout<T>,
    value: T,
    fds: readonly number[] = [],
  ): Promise<void> {
    const acked = this.speaks(protocolFeatures.VHOST_USER_PROTOCOL_F_REPLY_ACK);
    const flags = acked ? headerFlags.NEED_REPLY : 0;
    const payload = layout.encode(value);
    const reply = await this.request(requestNumbers[name], flags, payload, fds, acked);
    if (reply === undefined) return;
    const status = reply.payload.length === 8 ? u64Layout.decode(reply.payload) : undefined;
    if (status === undefined) {
      throw this.#finish(
        failure('acknowledgement-size', { request: name, bytes: reply.payload.length }),
      );
    }
    if (status !== 0n) throw failure('request-failed', { request: name, status });
  }

  /**
   * Sends a message of any kind, and waits for the reply if one is `expected`. The version is added
   * to `flags`; fds stay the caller's. Throws DISCONNECTED, TIMEOUT, PEER_VIOLATION or SYSTEM.
   */
  request(
    request: number,
    flags: number,
    payload: Uint8Array,
    fds: readonly number[],
    expected: boolean,
  ): Promise<Message | undefined> {
    const exchange = this.#exchange.then(async () => {
      this.sendBytes(encodeMessage(request, flags | headerFlags.VERSION, payload), fds);
      return expected ? this.#reply(request) : undefined;
    });
    this.#exchange = exchange.catch(() => {});
    return exchange;
  }

  /** Sends bytes as they are. */
  sendBytes(bytes: Uint8Array, fds: readonly number[] = []): void {
    if (this.#end !== undefined) throw this.#end;
    try {
      this.#socket.send(bytes, fds);
    } catch (cause) {
      throw this.#finish(
        failure('connection-lost', { cause: (cause as Error).message }, { cause }),
      );
    }
  }

  /** Breaks the connection off; idempotent. */
  close(): void {
    this.#finish(failure('frontend-closed'));
  }

  async #reply(request: number): Promise<Message> {
    if (this.#replies.length === 0) {
      try {
        await this.#arrived.wait(this.#timeoutMs, `the reply to request ${request}`);
      } catch (error) {
        // Without its reply the stream can no longer be told apart from later ones.
        throw this.#finish(error as TsvswitchError);
      }
    }
    const reply = this.#replies.shift()!;
    if (reply.request !== request) {
      throw this.#finish(failure('answer-of-another', { request, other: reply.request }));
    }
    return reply;
  }

  #receive(): void {
    // Header and payload are one step each.
    for (let i = 0; i < 2 * messagesPerCallbackMax && this.#end === undefined; i++) {
      const received = this.#socket.receive(this.#reader.wants);
      if (received === 'would-block') return;
      if (received === 'end') {
        this.#finish(failure('backend-closed'));
        return;
      }
      const { bytes, fds, fdsTruncated } = received;
      const step = this.#reader.feed(bytes, fds, fdsTruncated);
      if (step.kind === 'message') {
        // No reply of a request sent here carries fds.
        for (const fd of step.message.fds) native().closeFd(fd);
        this.#replies.push(step.message);
        this.#arrived.wake();
      } else if (step.kind === 'error') {
        for (const fd of step.fds) native().closeFd(fd);
        this.#finish(failure('backend-framing', { what: step.error.sentence }));
      }
    }
  }

  /** Ends the connection for the first reason given, and returns that. */
  #finish(error: TsvswitchError): TsvswitchError {
    if (this.#end !== undefined) return this.#end;
    this.#end = error;
    this.#socket.close();
    for (const fd of this.#reader.abandon()) native().closeFd(fd);
    this.#arrived.fail(error);
    for (const callback of this.#onEnd) callback(error);
    return error;
  }
}
