/**
 * A session between a Backend and a Channel that only record, and a frontend's side of it to drive.
 *
 * Every fd given to the session has a number of its own, so `settled` can say of each how often it
 * was handed over or closed; once is right, on every path.
 */

import type {
  DirtyLog,
  MappedRegion,
  MemoryRegion,
  QueueStart,
  RingAddresses,
} from '../../src/native/addon.ts';
import type {
  Backend,
  BackendChannel,
  Channel,
  ChannelReader,
  FilePiece,
} from '../../src/vhost-user/backend.ts';
import { type Offer, offerOf, servable, virtioFeatures } from '../../src/vhost-user/features.ts';
import {
  decodeHeader,
  encodeMessage,
  headerBytes,
  headerFlags,
  memoryRegionLayout,
  memoryTableLayout,
  type RequestName,
  requestNumbers,
  u64Layout,
  vringAddressesLayout,
  vringFdLayout,
  vringStateLayout,
} from '../../src/vhost-user/message.ts';
import { type CloseReason, Session, type SessionEvent } from '../../src/vhost-user/session.ts';

/** The least a switch offers: split rings, eventfds. */
export const basicOffer: Offer = offerOf(
  [
    'VIRTIO_NET_F_MRG_RXBUF',
    'VIRTIO_NET_F_CTRL_VQ',
    'VIRTIO_NET_F_GUEST_ANNOUNCE',
    'VIRTIO_NET_F_MQ',
    'VIRTIO_F_ANY_LAYOUT',
    'VIRTIO_F_INDIRECT_DESC',
    'VIRTIO_F_EVENT_IDX',
    'VHOST_USER_F_PROTOCOL_FEATURES',
    'VIRTIO_F_VERSION_1',
  ],
  [
    'VHOST_USER_PROTOCOL_F_MQ',
    'VHOST_USER_PROTOCOL_F_REPLY_ACK',
    'VHOST_USER_PROTOCOL_F_RESET_DEVICE',
    'VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS',
    'VHOST_USER_PROTOCOL_F_STATUS',
  ],
);
export const offeredFeatures = basicOffer.virtio;
export const offeredProtocolFeatures = basicOffer.protocol;

export interface Reply {
  readonly request: number;
  readonly flags: number;
  readonly payload: Uint8Array;
}

/** A message this backend sent on its own channel. */
export interface BackendMessage {
  readonly request: number;
  readonly flags: number;
  readonly index: number;
}

export interface SendOptions {
  readonly payload?: Uint8Array;
  readonly fds?: readonly number[];
  readonly needReply?: boolean;
}

type BackendMethod = keyof Backend;

/** Writes every call down; `failures` makes a method throw after it has taken its fds. */
export class RecordingBackend implements Backend {
  readonly calls: [BackendMethod, ...unknown[]][] = [];
  readonly failures = new Map<BackendMethod, Error>();
  readonly running = new Set<number>();
  nextAvail = 0;
  /** What came over the backend channel; `channelReader` takes the answers. */
  readonly sent: BackendMessage[] = [];
  channelReader: ChannelReader | undefined;
  channelFailure: Error | undefined;
  channelsOpen = 0;
  readonly #take: (fd: number) => void;
  readonly #issue: () => number;

  /** `take` is told of every fd that is handed over, and `issue` gives one nobody else has. */
  constructor(take: (fd: number) => void, issue: () => number) {
    this.#take = take;
    this.#issue = issue;
  }

  setMemory(regions: readonly MappedRegion[]): void {
    for (const { fd } of regions) this.#take(fd);
    this.#record('setMemory', regions.length);
  }

  addMemoryRegion(region: MappedRegion): void {
    this.#take(region.fd);
    this.#record('addMemoryRegion', region.guestAddress);
  }

  removeMemoryRegion(region: MemoryRegion): void {
    this.#record('removeMemoryRegion', region.guestAddress);
  }

  setMtu(bytes: number): void {
    this.#record('setMtu', bytes);
  }

  setFeatures(features: bigint): void {
    if (this.running.size > 0) throw new Error('setFeatures while a queue runs');
    this.#record('setFeatures', features);
  }

  startQueue(queue: number, start: QueueStart): void {
    if (start.kickFd !== -1) this.#take(start.kickFd);
    if (this.running.has(queue)) throw new Error('started twice');
    this.#record('startQueue', queue, start);
    this.running.add(queue);
  }

  moveQueue(queue: number, rings: RingAddresses): void {
    if (!this.running.has(queue)) throw new Error('moved while stopped');
    this.#record('moveQueue', queue, rings);
  }

  stopQueue(queue: number): number {
    if (!this.running.delete(queue)) throw new Error('stopped twice');
    this.#record('stopQueue', queue);
    return this.nextAvail;
  }

  enableQueue(queue: number, enabled: boolean): void {
    this.#record('enableQueue', queue, enabled);
  }

  setCall(queue: number, fd: number): void {
    if (fd !== -1) this.#take(fd);
    this.#record('setCall', queue, fd);
  }

  setErr(queue: number, fd: number): void {
    if (fd !== -1) this.#take(fd);
    this.#record('setErr', queue, fd);
  }

  setLog(log: DirtyLog | undefined): void {
    if (log !== undefined) this.#take(log.fd);
    this.#record('setLog', log && { sizeBytes: log.sizeBytes, offsetBytes: log.offsetBytes });
  }

  setLogging(enabled: boolean): void {
    this.#record('setLogging', enabled);
  }

  announce(mac: number): void {
    this.#record('announce', mac);
  }

  createEventfd(): number {
    this.#record('createEventfd');
    return this.#issue();
  }

  kick(queue: number): void {
    if (!this.running.has(queue)) throw new Error('kicked while stopped');
    this.#record('kick', queue);
  }

  setCallInBand(queue: number): void {
    this.#record('setCallInBand', queue);
  }

  openChannel(fd: number, reader: ChannelReader): BackendChannel {
    this.#take(fd);
    this.#record('openChannel');
    this.channelReader = reader;
    this.channelsOpen++;
    let isOpen = true;
    return {
      send: (bytes) => {
        if (this.channelFailure !== undefined) throw this.channelFailure;
        const { request, flags } = decodeHeader(bytes);
        const state = vringStateLayout.decode(bytes.subarray(headerBytes))!;
        this.sent.push({ request, flags, index: state.index });
      },
      closeFd: this.#take,
      close: () => {
        if (isOpen) this.channelsOpen--;
        isOpen = false;
      },
    };
  }

  createMemoryFile(sizeBytes: number, contents: readonly FilePiece[]): number {
    this.#record('createMemoryFile', sizeBytes, contents);
    return this.#issue();
  }

  /** The arguments of each call of one method, in order. */
  callsOf(method: BackendMethod): unknown[][] {
    return this.calls.filter(([name]) => name === method).map(([, ...args]) => args);
  }

  #record(method: BackendMethod, ...args: unknown[]): void {
    this.calls.push([method, ...args]);
    const failure = this.failures.get(method);
    if (failure !== undefined) throw failure;
  }
}

export const region = {
  guestAddress: 0x1_0000n,
  sizeBytes: 0x100_0000n,
  userAddress: 0x7f00_0000_0000n,
  mmapOffset: 0n,
} as const satisfies MemoryRegion;

/** Where the tests put ring `queue`: 1 MiB each, in `region`. */
export function ringAddresses(queue: number): RingAddresses {
  const desc = region.userAddress + BigInt(queue) * 0x10_0000n;
  return { desc, avail: desc + 0x8_0000n, used: desc + 0xc_0000n };
}

export class Recording {
  readonly session: Session;
  readonly backend: RecordingBackend;
  readonly events: SessionEvent[] = [];
  readonly replies: Reply[] = [];
  /** How many fds went along with replies. */
  fdsSent = 0;
  readonly offered: Offer;
  sendFailure: Error | undefined;
  onEvent: (event: SessionEvent) => void = () => {};
  readonly #settled = new Map<number, number>();
  #fdsIssued = 0;

  constructor(queuePairs = 1, offered = basicOffer) {
    this.offered = offered;
    const settle = (fd: number) => this.#settled.set(fd, (this.#settled.get(fd) ?? 0) + 1);
    this.backend = new RecordingBackend(settle, () => this.fds(1)[0]!);
    const channel: Channel = {
      send: (bytes, fds = []) => {
        if (this.sendFailure !== undefined) throw this.sendFailure;
        this.fdsSent += fds.length;
        const { request, flags } = decodeHeader(bytes);
        this.replies.push({ request, flags, payload: bytes.slice(headerBytes) });
      },
      closeFd: settle,
    };
    this.session = new Session({
      name: 'web1',
      queuePairs,
      offered,
      backend: this.backend,
      channel,
      onEvent: (event) => {
        this.events.push(event);
        this.onEvent(event);
      },
    });
  }

  /** `count` fds nobody else has. */
  fds(count: number): number[] {
    const first = 100 + this.#fdsIssued;
    this.#fdsIssued += count;
    return Array.from({ length: count }, (_, i) => first + i);
  }

  /** For each fd ever issued, how often it was handed over or closed. */
  get settled(): number[] {
    return Array.from({ length: this.#fdsIssued }, (_, i) => this.#settled.get(100 + i) ?? 0);
  }

  get fdsIssued(): number {
    return this.#fdsIssued;
  }

  /** Feeds bytes as a socket would give them: never more than wanted, fds with the first read. */
  feed(bytes: Uint8Array, fds: readonly number[] = []): void {
    let left = fds;
    for (let at = 0; at < bytes.length && this.session.wants > 0; ) {
      const chunk = bytes.subarray(at, at + this.session.wants);
      this.session.receive(chunk, left);
      left = [];
      at += chunk.length;
    }
    if (left.length > 0) this.session.receive(new Uint8Array(0), left);
  }

  send(request: RequestName | number, options: SendOptions = {}): Reply | undefined {
    const before = this.replies.length;
    const number = typeof request === 'number' ? request : requestNumbers[request];
    const flags = headerFlags.VERSION | (options.needReply ? headerFlags.NEED_REPLY : 0);
    const payload = options.payload ?? new Uint8Array(0);
    this.feed(encodeMessage(number, flags, payload), options.fds);
    return this.replies[before];
  }

  /** GET_* requests without payload, and their number. */
  ask(request: RequestName): bigint | undefined {
    const reply = this.send(request);
    return reply === undefined ? undefined : u64Layout.decode(reply.payload);
  }

  tell(request: RequestName, value: bigint): void {
    this.send(request, { payload: u64Layout.encode(value) });
  }

  vring(request: RequestName, index: number, num: number): number | undefined {
    const reply = this.send(request, { payload: vringStateLayout.encode({ index, num }) });
    return reply === undefined ? undefined : vringStateLayout.decode(reply.payload)?.num;
  }

  address(queue: number, addresses = ringAddresses(queue), flags = 0, log = 0n): void {
    const payload = vringAddressesLayout.encode({ index: queue, flags, log, ...addresses });
    this.send('SET_VRING_ADDR', { payload });
  }

  eventfd(request: RequestName, index: number, hasFd = true): void {
    const payload = vringFdLayout.encode({ index, hasFd });
    this.send(request, { payload, fds: hasFd ? this.fds(1) : [] });
  }

  memory(regions: readonly MemoryRegion[] = [region]): void {
    const payload = memoryTableLayout.encode(regions);
    this.send('SET_MEM_TABLE', { payload, fds: this.fds(regions.length) });
  }

  addMemory(added: MemoryRegion): void {
    this.send('ADD_MEM_REG', { payload: memoryRegionLayout.encode(added), fds: this.fds(1) });
  }

  removeMemory(removed: MemoryRegion, fds: readonly number[] = []): void {
    this.send('REM_MEM_REG', { payload: memoryRegionLayout.encode(removed), fds });
  }

  /** As QEMU opens: all that is offered is agreed. */
  negotiate(features = this.offered.virtio, protocol = this.offered.protocol): this {
    this.send('SET_OWNER');
    this.tell('SET_PROTOCOL_FEATURES', protocol);
    this.tell('SET_FEATURES', features);
    return this;
  }

  /** NUM, BASE, ADDR, KICK: the order of QEMU and virtio-user. */
  startRing(queue: number, base = 0, size = 256): void {
    this.vring('SET_VRING_NUM', queue, size);
    this.vring('SET_VRING_BASE', queue, base);
    this.address(queue);
    this.eventfd('SET_VRING_KICK', queue);
  }

  get open(): boolean {
    return this.session.wants > 0;
  }

  get closeReason(): CloseReason | undefined {
    const closed = this.events.find((event) => event.type === 'closed');
    return closed?.type === 'closed' ? closed.reason : undefined;
  }

  /** The code of the protocol error that closed the session; undefined for any other end. */
  get refusal(): string | undefined {
    const reason = this.closeReason;
    return reason?.kind === 'protocol-error' ? reason.code : undefined;
  }

  get sentence(): string | undefined {
    const reason = this.closeReason;
    return reason !== undefined && 'sentence' in reason ? reason.sentence : undefined;
  }

  eventTypes(): string[] {
    return this.events.map((event) => event.type);
  }
}

/** Offers all that this protocol side can serve, and agrees on all but packed rings. */
export function everything(queuePairs = 1): Recording {
  const { VIRTIO_F_RING_PACKED } = virtioFeatures;
  return new Recording(queuePairs, servable).negotiate(servable.virtio & ~VIRTIO_F_RING_PACKED);
}

/** A session as far as it goes: two started rings, one enabled, with eventfds. */
export function running(recording = new Recording().negotiate()): Recording {
  recording.memory();
  recording.startRing(0);
  recording.startRing(1);
  recording.eventfd('SET_VRING_CALL', 0);
  recording.eventfd('SET_VRING_ERR', 1);
  recording.vring('SET_VRING_ENABLE', 0, 1);
  return recording;
}
