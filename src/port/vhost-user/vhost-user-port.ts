/**
 * A vhost-user port: serves one frontend at a time and binds its session to a port of the data
 * plane. Connections come from a source, which listens or connects (frontend-source.ts).
 *
 *     free --connection--> connected --frontend left, or its mistake--> free
 *                              |
 *     a second connection is refused while the first lives; a dead one makes room at once
 *
 * The port reads exactly what the session wants, so that fds stay with their message. When a
 * session ends, its rings are stopped and its memory is unmapped before anybody else is served, and
 * what was learned behind the port is forgotten, so that frames for it are flooded and find it
 * elsewhere. What the data plane has still to report of a session is delivered before it ends, and
 * never after it.
 *
 * Not here: the protocol (vhost-user/), and the guest's rings, which only the data plane sees. Runs
 * on the event loop's thread. Sources: vhost-user "Starting and stopping rings", "Communication".
 */

import { resolve } from 'node:path';
import { failure } from '../../model/errors.ts';
import { type Told, told } from '../../model/faults/table.ts';
import {
  type NativeRingPort,
  native,
  type PeerCredentials,
  type PortReport,
} from '../../native/addon.ts';
import { closeAll } from '../../native/bundle.ts';
import { FdSocket, type ListeningSocket, type ListenOptions } from '../../native/fd-socket.ts';
import {
  type LeftSession,
  type StoredSession,
  storedSessions,
} from '../../native/stored-sessions.ts';
import type { Channel } from '../../vhost-user/backend.ts';
import { Session, type SessionEvent } from '../../vhost-user/session.ts';
import type { KeptSocket, PortPlace } from '../kind.ts';
import {
  addressEvent,
  CounterReader,
  ofPort,
  type Port,
  type PortCounters,
  type PortEvent,
  type ToldEvent,
  type ToldFault,
} from '../port.ts';
import { openChannel } from './backend-channel.ts';
import { ControlQueue } from './control-queue.ts';
import type { FrontendSource, SourceEvent } from './frontend-source.ts';
import { frontendStatus } from './frontend-status.ts';
import { HugePages } from './huge-pages.ts';
import { InBandQueues } from './in-band.ts';
import { InflightFile } from './inflight-file.ts';
import { type KeptFiles, KeptSession, MutedChannel, readKept, tell } from './kept-session.ts';
import { offerOfPort } from './offer.ts';
import type { State } from './port-state.ts';
import { readInto } from './reading.ts';
import { sessionBackend } from './session-backend.ts';
import type { VhostUserPortStatus } from './status.ts';
import type { PortTerms, VhostUserPortOptions } from './terms.ts';

/** How long nobody is served on a port whose frontend made a worker wait, for 50 ms at most. */
const penaltyMs = 2000;

type Unnamed<Event> = Event extends unknown ? Omit<Event, 'port'> : never;

/** A port of a machine: one socket, one frontend at a time. */
export class VhostUserPort implements Port {
  readonly kind = 'vhost-user';
  readonly name: string;
  readonly path: string;
  /** The port's number in the data plane. */
  readonly number: number;
  /** @internal */
  readonly handle: NativeRingPort;
  readonly #place: PortPlace;
  readonly #counters: CounterReader;
  readonly #source: FrontendSource;
  readonly #options: VhostUserPortOptions;
  #terms: PortTerms;
  /** Who was refused last by the list and reported: one that tries on is reported once. */
  #refusedPid: number | undefined;
  readonly #inBand = new InBandQueues();
  readonly #control: ControlQueue;
  readonly #inflight = new InflightFile();
  #state: State = { kind: 'free' };
  #closedUntilMs = Number.NEGATIVE_INFINITY;

  /** The source is the port's from now on. Throws TOO_MANY_PORTS. */
  constructor(place: PortPlace, source: FrontendSource, options: VhostUserPortOptions) {
    this.name = place.name;
    this.#place = place;
    this.#options = options;
    this.#terms = options;
    this.#source = source;
    this.path = source.path;
    try {
      this.handle = place.bridge.handle.addRingPort(this.name, native().queuePairsMax, (report) =>
        this.#onReport(report),
      );
    } catch (error) {
      source.close();
      throw error;
    }
    this.number = this.handle.number;
    this.#counters = new CounterReader(this.handle);
    this.#control = new ControlQueue(this.handle);
    source.start(
      (socket) => this.#accept(socket),
      (event) => this.#onSourceEvent(event),
    );
  }

  /** Name of the bridge that the port is on. */
  get bridge(): string {
    return this.#place.bridge.name;
  }

  /** Nothing goes through it, as its settings say. */
  get isDown(): boolean {
    return this.#place.isDown;
  }

  /** The process id of the connected frontend, or undefined. */
  get frontendPid(): number | undefined {
    return this.#state.kind === 'connected' ? this.#state.pid : undefined;
  }

  /** Throws CLOSED after close(). */
  get counters(): PortCounters {
    if (this.#state.kind === 'closed') throw failure('port-closed', { name: this.name });
    return this.#counters.read();
  }

  /** How the port is right now. Throws CLOSED after close(). */
  get status(): VhostUserPortStatus {
    const { counters } = this;
    const state = this.#state;
    const frontend =
      state.kind === 'connected'
        ? frontendStatus(this.handle, state.session, state.pid, state.hugePages)
        : undefined;
    return {
      name: this.name,
      kind: this.kind,
      bridge: this.bridge,
      path: resolve(this.path),
      listener: this.#source.listens ? 'switch' : 'machine',
      ...(this.#source.lost ? { socketLost: true } : {}),
      ...(frontend === undefined ? {} : { frontend }),
      counters,
    };
  }

  /** The transmitqs that run, with the frames each has moved since the port was added. */
  get transmitqs(): { readonly queue: number; readonly frames: number }[] {
    if (this.#state.kind !== 'connected') return [];
    return this.#state.session.startedRings
      .filter((queue) => queue % 2 === 1)
      .map((queue) => ({ queue, frames: this.#counters.frames(queue) }));
  }

  /** With a manual clock: answers what waits on the control queue. */
  serveControl(): void {
    this.#control.look();
  }

  /** What lets others connect from then on; as FdListener.prepareAccess. */
  prepareAccess(options: ListenOptions): () => void {
    return this.#source.prepareAccess(options);
  }

  /**
   * Holds from now on: a frontend that is not admitted any more is sent away, and the driver of one
   * that reads its MTU here is told of another. What else is new the next session learns.
   */
  setTerms(terms: PortTerms): void {
    this.#terms = terms;
    if (this.#state.kind !== 'connected') return;
    const { socket, session } = this.#state;
    const { peer } = socket;
    if (terms.allow?.admits(peer) === false) {
      this.#refusedPid = peer.pid;
      this.#tell('frontend-refused', this.#notAllowed(peer));
      session.close();
    } else {
      session.mtuConfigured(terms.mtu);
    }
  }

  /**
   * Begins to go on with the session that an earlier process left, if it left one. Its guest hears
   * the others from then on, and is heard once the function that this returns was called.
   */
  resume(): () => void {
    const stored = storedSessions.take(this.#storedName);
    if (stored === undefined) return () => {};
    const isFree = this.#state.kind === 'free' || this.#state.kind === 'left';
    const goOn = isFree ? this.#goOn(stored) : undefined;
    if (goOn === undefined) stored.place.close();
    return () => {
      goOn?.();
      closeAll(stored.bundle.fds);
    };
  }

  /** Before leaveSession() or handOverSession() in this turn: all frames find their ways. */
  prepareLeaving(how: 'leave' | 'hand over'): void {
    const state = this.#state;
    if (state.kind === 'connected') state.kept?.prepareLeaving(state.session, how);
  }

  /** Leaves a session that is kept to the next process; else the port is as it was. */
  leaveSession(): void {
    this.#leave((kept, session, socket) => kept.leave(session, socket) || undefined);
  }

  /** As leaveSession(), for a process that is told; resume() takes it back. */
  handOverSession(): LeftSession | undefined {
    return this.#leave((kept, session, socket) => kept.handOver(session, socket));
  }

  /** No frontend is in the midst of a message. */
  get isBetweenMessages(): boolean {
    return this.#state.kind !== 'connected' || this.#state.session.isBetweenMessages;
  }

  /** A copy of the socket that it listens on, if frontends find it. */
  copySocket(): ListeningSocket | undefined {
    return this.#source.copySocket();
  }

  /** Ends the session, removes the socket and the port. Idempotent. */
  close(): void {
    this.release()?.close();
  }

  /** As close(), but for the socket that the port listens on. */
  release(): KeptSocket | undefined {
    if (this.#state.kind === 'closed') return undefined;
    if (this.#state.kind === 'connected') this.#state.session.close();
    const kept = this.#source.release();
    this.handle.close();
    this.#state = { kind: 'closed' };
    return kept;
  }

  /** What the data plane has seen of the present session; it drops what it has of others. */
  #onReport(report: PortReport): void {
    switch (report.type) {
      case 'mac-learned':
      case 'mac-moved':
      case 'mac-aged':
      case 'spoofed':
        this.#place.onEvent(addressEvent(this.name, report));
        break;
      case 'queue-broken':
        if (this.#state.kind !== 'connected') return;
        this.#state.session.queueBroken(report.queue, report.code);
        break;
      case 'memory-lost':
        this.#memoryLost();
        break;
      case 'eventfd-blocked':
        this.#eventfdBlocked();
        break;
    }
  }

  /** The frontend truncated the file behind its memory: there is nothing left to serve. */
  #memoryLost(): void {
    if (this.#state.kind !== 'connected') return;
    this.#tell('memory-lost', told('memory-truncated'));
    this.#state.session.close();
  }

  /** The frontend made an eventfd blocking and filled it. It could come back and do it again. */
  #eventfdBlocked(): void {
    if (this.#state.kind !== 'connected') return;
    this.#closedUntilMs = performance.now() + penaltyMs;
    this.#state.session.mistake(told('eventfd-held-up', { seconds: penaltyMs / 1000 }));
  }

  #accept(socket: FdSocket): void {
    const { peer } = socket;
    if (this.#terms.allow?.admits(peer) === false) {
      this.#refuse(socket, peer);
      return;
    }
    this.#refusedPid = undefined;
    // What the present frontend left behind may say that it is gone.
    if (this.#state.kind === 'connected') {
      const { socket: presentSocket, session, kept } = this.#state;
      this.#readKept(presentSocket, session, kept);
    }
    const { pid } = peer;
    if (this.#state.kind === 'connected') {
      const present = this.#state.pid;
      this.#tell('frontend-refused', told('port-taken', { pid, present }));
      socket.close();
      return;
    }
    if (performance.now() < this.#closedUntilMs) {
      socket.close();
      this.#source.released();
      return;
    }
    const { session, kept } = this.#begin(socket, socket, KeptSession.begin(this.#storedName));
    socket.onReadable(() => this.#readKept(socket, session, kept));
  }

  /** A session of `socket`, which answers on `channel`; its frontend is here. */
  #begin(
    socket: FdSocket,
    channel: Channel,
    kept: KeptSession | undefined,
  ): State & { kind: 'connected' } {
    const { pid } = socket.peer;
    const hugePages = new HugePages();
    const { macs, mtu } = this.#terms;
    const backend = sessionBackend({
      port: this.handle,
      control: this.#control,
      inBand: this.#inBand,
      inflight: this.#inflight,
      hugePages,
      pid,
      session: () => session,
      openChannel: (fd, reader) => openChannel(fd, (channel) => readInto(reader, channel)),
    });
    const session: Session = new Session({
      name: this.name,
      queuePairs: native().queuePairsMax,
      config: { macs, mtuBytes: mtu },
      offered: offerOfPort({ ...this.#options, hasAddress: macs.length > 0 }),
      backend: kept?.keeping(backend) ?? backend,
      channel,
      onEvent: (event) => this.#onSessionEvent(event, socket),
    });
    const state = { kind: 'connected', socket, session, pid, hugePages, kept } as const;
    this.#state = state;
    this.#emit({ type: 'frontend-connected', pid });
    return state;
  }

  #leave<Left>(by: (kept: KeptSession, session: Session, socket: number) => Left | undefined) {
    if (this.#state.kind !== 'connected' || this.#state.kept === undefined) return undefined;
    const { socket, session, kept } = this.#state;
    const left = by(kept, session, socket.fd);
    if (left === undefined) return undefined;
    socket.close();
    this.#state = { kind: 'left' };
    return left;
  }

  /** Undefined if nobody can; the fds of its bundle, and its place then, stay the caller's. */
  #goOn({ place, bundle, isUnsettled }: StoredSession): (() => void) | undefined {
    if (isUnsettled) {
      this.#tell('frontend-refused', told('session-unsettled'));
      return undefined;
    }
    let left: KeptFiles;
    try {
      left = readKept(bundle);
    } catch (error) {
      const cause = (error as Error).message;
      this.#tell('frontend-refused', told('session-not-resumed', { cause }));
      return undefined;
    }
    const socket = new FdSocket(native().dupFd(left.connection));
    if (this.#terms.allow?.admits(socket.peer) === false) {
      this.#refuse(socket, socket.peer);
      return undefined;
    }
    place.unsettled();
    this.#source.occupied();
    const channel = new MutedChannel(socket);
    const keeps = KeptSession.begin(this.#storedName, place);
    const { session, kept } = this.#begin(socket, channel, keeps);
    const startTransmitqs = tell(session, left);
    return () => {
      startTransmitqs();
      channel.isMuted = false;
      if (session.wants === 0) return;
      kept?.keep(session, socket.fd);
      socket.onReadable(() => this.#readKept(socket, session, kept));
    };
  }

  /** What a session that is kept is called: the same for the port of a later process. */
  get #storedName(): string {
    return `${this.#source.listens ? 'listening' : 'connecting'} ${resolve(this.path)}`;
  }

  #readKept(socket: FdSocket, session: Session, kept: KeptSession | undefined): void {
    kept?.unsettled();
    readInto(session, socket);
    if (session.wants > 0) kept?.keep(session, socket.fd);
  }

  /** Whoever the list does not name. */
  #refuse(socket: FdSocket, peer: PeerCredentials): void {
    socket.close();
    this.#source.released();
    if (this.#refusedPid === peer.pid) return;
    this.#refusedPid = peer.pid;
    this.#tell('frontend-refused', this.#notAllowed(peer));
  }

  #notAllowed({ pid, uid, gid }: PeerCredentials): Told<'frontend-not-allowed'> {
    return told('frontend-not-allowed', { pid, uid, gid, allowed: String(this.#terms.allow) });
  }

  #onSourceEvent(event: SourceEvent): void {
    if (event.type === 'listening') this.#emit({ ...event, path: this.path });
    else this.#tell(event.type, event.told);
  }

  #onSessionEvent(event: SessionEvent, socket: FdSocket): void {
    if (event.type !== 'closed') {
      this.#emit(event);
      return;
    }
    socket.close();
    if (this.#state.kind === 'connected') this.#state.kept?.close();
    this.#place.deliverReports();
    this.handle.endSession();
    this.#inflight.discard();
    this.#state = { kind: 'free' };
    this.#source.released();
    this.#emit({ type: 'frontend-left', reason: event.reason });
  }

  #tell<Type extends ToldEvent['type']>(type: Type, told: Told<ToldFault<Type>>): void {
    this.#emit({ type, ...ofPort(this.name, told) } as Unnamed<PortEvent>);
  }

  #emit(event: Unnamed<PortEvent>): void {
    this.#place.onEvent({ port: this.name, ...event } as PortEvent);
  }
}
