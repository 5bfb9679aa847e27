/**
 * Keeps a session for the next process (native/stored-sessions.ts), and goes on with one that was
 * kept.
 *
 * It is kept after every turn of reading that has changed it. From the first byte that is read to
 * that moment it is unsettled: a request may be answered and not be kept yet, and whoever went on
 * would miss it, or the frontend would wait for an answer that is nobody's to give.
 *
 *     text: NAME, a line, then JSON: {"version", "requests": [[name, payload, files]],
 *           "running": [{queue, file, offset}], "files": [role]}
 *     fds:  the connection, then one for each of "files"
 *
 * Going on is telling a fresh session all requests, with nobody to hear its answers. So everything
 * that is checked of a frontend is checked of what was kept.
 */

import { readSync } from 'node:fs';
import { native } from '../../native/addon.ts';
import type { Bundle } from '../../native/bundle.ts';
import {
  type LeftSession,
  type SessionPlace,
  storedSessions,
} from '../../native/stored-sessions.ts';
import type { Backend, Channel } from '../../vhost-user/backend.ts';
import {
  encodeMessage,
  headerBytes,
  headerFlags,
  requestNumbers,
} from '../../vhost-user/message.ts';
import type { Session } from '../../vhost-user/session.ts';
import {
  baseRequest,
  type FileRole,
  type SessionSnapshot,
  type SnapshotRequest,
} from '../../vhost-user/snapshot.ts';
import { SessionFiles } from './session-files.ts';

/** Raised when an earlier program could not go on with what is kept, nor this one with theirs. */
const version = 1;

interface Kept {
  readonly version: number;
  readonly requests: readonly (readonly [string, string, readonly string[]])[];
  readonly running: readonly {
    readonly queue: number;
    readonly file?: string;
    readonly offset?: string;
  }[];
  readonly files: readonly string[];
}

export class KeptSession {
  readonly #name: string;
  readonly #place: SessionPlace;
  readonly #files = new SessionFiles();
  #text = '';
  #revision = -1;

  private constructor(name: string, place: SessionPlace) {
    this.#name = name;
    this.#place = place;
  }

  /** For a session that begins; undefined where nobody keeps sessions. */
  static begin(name: string, place = storedSessions.place()): KeptSession | undefined {
    return place === undefined ? undefined : new KeptSession(name, place);
  }

  keeping(backend: Backend): Backend {
    return this.#files.keeping(backend);
  }

  /** Something is about to be read. */
  unsettled(): void {
    this.#place.unsettled();
  }

  /** All that was read is done. `socket` is the connection's fd, the caller's. */
  keep(session: Session, socket: number): void {
    const snapshot = session.snapshot();
    if (snapshot !== undefined) this.#keep(snapshot, socket);
  }

  /** If it can be left so, which is to follow in this turn, its guest sends nothing more. */
  prepareLeaving(session: Session, how: 'leave' | 'hand over'): void {
    if (how === 'leave' && !this.#place.outlives) return;
    const now = session.snapshot();
    if (now !== undefined && this.#hasAll(now)) session.stopSending();
  }

  /** Leaves the session to the next process; false, and nothing is done, if it cannot be. */
  leave(session: Session, socket: number): boolean {
    return this.#place.outlives && this.#leave(session, socket, () => true) === true;
  }

  /**
   * As leave(), to a process that is told: returns what it has to know, its fds the caller's.
   * Undefined, and nothing is done, if it cannot be left.
   */
  handOver(session: Session, socket: number): LeftSession | undefined {
    const now = session.snapshot();
    if (now === undefined || !this.#hasAll(now)) return undefined;
    return this.#leave(session, socket, (snapshot) => {
      const fds = [socket, ...filesOf(snapshot).map((role) => this.#files.fd(role)!)];
      const copies = fds.map((fd) => native().dupFd(fd));
      const bundle = { text: this.#textOf(snapshot), fds: copies };
      return { name: this.#name, bundle, stored: this.#place.asStored };
    });
  }

  /** The session has ended. */
  close(): void {
    this.#place.close();
    this.#files.close();
  }

  #leave<Left>(
    session: Session,
    socket: number,
    withIt: (snapshot: SessionSnapshot) => Left,
  ): Left | undefined {
    this.#place.unsettled();
    const snapshot = session.leave();
    if (snapshot === undefined) {
      this.keep(session, socket);
      return undefined;
    }
    this.#keep(snapshot, socket);
    const left = withIt(snapshot);
    this.#place.leave();
    this.#files.close();
    return left;
  }

  #hasAll(snapshot: SessionSnapshot): boolean {
    return filesOf(snapshot).every((role) => this.#files.fd(role) !== undefined);
  }

  #textOf(snapshot: SessionSnapshot): string {
    return keptText(this.#name, snapshot);
  }

  #keep(snapshot: SessionSnapshot, socket: number): void {
    const text = this.#textOf(snapshot);
    if (text === this.#text && this.#revision === this.#files.revision) {
      this.#place.settled();
      return;
    }
    const fds = filesOf(snapshot).map((role) => this.#files.fd(role));
    // Without one of them nobody could go on: it stays unsettled.
    if (fds.includes(undefined)) return;
    if (!this.#place.keep({ text, fds: [socket, ...(fds as number[])] })) return;
    this.#text = text;
    this.#revision = this.#files.revision;
  }
}

export function keptText(name: string, snapshot: SessionSnapshot): string {
  return `${name}\n${JSON.stringify(keptOf(snapshot))}`;
}

/** A session that was kept, read. */
export interface KeptFiles {
  readonly connection: number;
  readonly requests: readonly SnapshotRequest[];
  readonly fds: ReadonlyMap<FileRole, number>;
}

function filesOf({ requests }: SessionSnapshot): FileRole[] {
  return [...new Set(requests.flatMap(({ files }) => files))];
}

function keptOf(snapshot: SessionSnapshot): Kept {
  return {
    version,
    requests: snapshot.requests.map(({ name, payload, files }) => [
      name,
      Buffer.from(payload).toString('hex'),
      files,
    ]),
    running: snapshot.running.map(({ queue, usedIndex }) => ({
      queue,
      ...(usedIndex && { file: usedIndex.file, offset: `${usedIndex.offsetBytes}` }),
    })),
    files: filesOf(snapshot),
  };
}

/**
 * What `bundle` says, with rings where their used indexes are. Throws an error with the reason why
 * nobody can go on with it; the fds stay the caller's.
 */
export function readKept({ text, fds }: Bundle): KeptFiles {
  const kept = JSON.parse(text.slice(text.indexOf('\n') + 1)) as Kept;
  if (kept.version !== version) throw new Error(`it is of version ${kept.version}`);
  const [connection, ...files] = fds;
  if (connection === undefined || files.length !== kept.files.length) {
    throw new Error(`it has ${fds.length} files of ${1 + kept.files.length}`);
  }
  const byRole = new Map(kept.files.map((role, i) => [role as FileRole, files[i]!]));
  const bases = new Map(
    kept.running.map(({ queue, file, offset }) => [queue, usedIndexOf(byRole, file, offset)]),
  );
  const requests = kept.requests.map(([name, payload, roles]): SnapshotRequest => {
    if (!Object.hasOwn(requestNumbers, name)) throw new Error(`it has a request ${name}`);
    return {
      name: name as SnapshotRequest['name'],
      payload: Buffer.from(payload, 'hex'),
      files: roles as FileRole[],
    };
  });
  return { connection, requests: withBases(requests, bases), fds: byRole };
}

function usedIndexOf(
  files: ReadonlyMap<FileRole, number>,
  file: string | undefined,
  offset: string | undefined,
): number {
  if (file === undefined || offset === undefined) {
    throw new Error('it has packed rings, which keep their places nowhere');
  }
  const word = Buffer.alloc(2);
  const read = readSync(files.get(file as FileRole) ?? -1, word, 0, 2, BigInt(offset));
  if (read !== 2) throw new Error('its memory is gone');
  return word.readUInt16LE(0);
}

/** Before a ring is started. */
function withBases(
  requests: readonly SnapshotRequest[],
  bases: ReadonlyMap<number, number>,
): SnapshotRequest[] {
  return requests.flatMap((request) => {
    const queue = request.name === 'SET_VRING_KICK' ? request.payload[0]! : -1;
    const base = bases.get(queue);
    return base === undefined ? [request] : [baseRequest(queue, base), request];
  });
}

/**
 * Tells a fresh session all requests, until it closes for one; but for the start of transmitqs,
 * which the function it returns makes: what waits in them has somewhere to go once all other
 * sessions were told, too. Copies of fds go along.
 */
export function tell(session: Session, { requests, fds }: KeptFiles): () => void {
  const say = ({ name, payload, files }: SnapshotRequest) => {
    if (session.wants === 0) return;
    const bytes = encodeMessage(requestNumbers[name], headerFlags.VERSION, payload);
    const along = files.map((role) => native().dupFd(fds.get(role) ?? -1));
    session.receive(bytes.subarray(0, headerBytes), along);
    if (payload.length > 0) session.receive(bytes.subarray(headerBytes), []);
  };
  for (const request of requests) if (!startsTransmitq(request)) say(request);
  return () => requests.filter(startsTransmitq).forEach(say);
}

/** Starts it, or calls its driver once it runs. */
function startsTransmitq({ name, payload }: SnapshotRequest): boolean {
  return (name === 'SET_VRING_KICK' || name === 'SET_VRING_CALL') && payload[0]! % 2 === 1;
}

/** The channel of a session that is told what it was told before: nobody hears its answers. */
export class MutedChannel implements Channel {
  readonly #channel: Channel;
  isMuted = true;

  constructor(channel: Channel) {
    this.#channel = channel;
  }

  send(bytes: Uint8Array, fds: readonly number[] = []): void {
    if (!this.isMuted) this.#channel.send(bytes, fds);
  }

  closeFd(fd: number): void {
    this.#channel.closeFd(fd);
  }
}
