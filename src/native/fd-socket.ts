/**
 * Unix stream sockets that carry file descriptors: the listening one of a port, and a connection.
 *
 * The addon makes the system calls; this file holds the policy: in which order a listener is made,
 * and whose file is removed at close. What its file needs is in socket-file.ts.
 *
 * The umask belongs to the whole process, so the mode is not set through it. A socket is bound,
 * given its mode and group, and only then listens: before that the kernel refuses every connection,
 * so the wider rights the file is born with open nothing.
 *
 * It knows no vhost-user: bytes and fds pass through uninterpreted.
 *
 * Sources: unix(7), "vhost-user" protocol document, heading "Communication".
 */

import { chmodSync, lstatSync, unlinkSync } from 'node:fs';
import { failure, type TsvswitchError } from '../model/errors.ts';
import { native, type PeerCredentials } from './addon.ts';
import { type Gated, gate } from './gate.ts';
import {
  bindError,
  checkedAccess,
  checkGiven,
  checkPath,
  type FileIdentity,
  identityOf,
  isSameFile,
  type ListenOptions,
  removeStale,
  setGroup,
} from './socket-file.ts';
import { type StoredListener, storedListeners } from './stored-listeners.ts';

export type { ListenOptions } from './socket-file.ts';

/** A port serves one frontend; a few more may wait for a sentence that says so. */
const backlog = 8;
/** How long a listener rests after it failed to accept, which is when fds have run out. */
const acceptRetryMs = 1000;

/** A socket that listens on `path`; its fd is the holder's. */
export type ListeningSocket = StoredListener & { readonly path: string };

/** A listening socket and the file it is bound to. */
export class FdListener {
  readonly path: string;
  readonly #file: FileIdentity;
  readonly #origin: StoredListener['origin'] | undefined;
  #fd: number | undefined;
  #retry: NodeJS.Timeout | undefined;
  #gated: Gated | undefined;

  private constructor(path: string, fd: number, origin?: StoredListener['origin']) {
    this.path = path;
    this.#fd = fd;
    this.#file = identityOf(lstatSync(path));
    this.#origin = origin;
  }

  /**
   * Listens on `path`, replacing a stale socket file, or with the socket that this process was
   * started with (stored-listeners.ts). Throws SOCKET_PATH_TOO_LONG, SOCKET_FOLDER_MISSING,
   * SOCKET_NO_PERMISSION, SOCKET_NOT_A_SOCKET, SOCKET_IN_USE, SOCKET_GROUP_UNKNOWN, BAD_OPTION or
   * SYSTEM, and then has left nothing behind.
   */
  static listen(path: string, options: ListenOptions = {}): FdListener {
    const { socketBind, socketListen } = native();
    const { mode, gid } = checkedAccess(path, options);
    const stored = storedListeners.take(path);
    if (stored !== undefined) {
      const listener = new FdListener(path, stored.fd, stored.origin);
      try {
        listener.prepareAccess(options)();
      } catch (cause) {
        listener.close();
        throw cause;
      }
      return listener;
    }
    removeStale(path);
    let fd: number;
    try {
      fd = socketBind(path);
    } catch (cause) {
      throw bindError(path, cause);
    }
    const listener = new FdListener(path, fd);
    try {
      chmodSync(path, mode);
      if (gid !== undefined) setGroup(path, gid, options.group!);
      socketListen(fd, backlog);
    } catch (cause) {
      listener.close();
      throw cause;
    }
    storedListeners.opened(path, fd);
    return listener;
  }

  /** Throws what listen() throws for a path and access that cannot be, and SOCKET_GROUP_UNKNOWN. */
  static checkAccess(path: string, options: ListenOptions): void {
    checkedAccess(path, options);
  }

  /**
   * What lets others connect from then on; of a socket that a socket unit made, it lets in nobody
   * else all the same. Throws SOCKET_GROUP_UNKNOWN, SOCKET_NO_PERMISSION for such a socket, and
   * SYSTEM if the file is not there any more; what it returns throws SOCKET_NO_PERMISSION, and has
   * then changed nothing.
   */
  prepareAccess(options: ListenOptions): () => void {
    const { mode, gid = process.getegid!() } = checkedAccess(this.path, options);
    if (!this.inPlace) {
      throw failure('socket-file-gone', { path: this.path });
    }
    if (this.#origin === 'given') {
      checkGiven(this.path, mode, options.group === undefined ? undefined : gid);
      return () => {};
    }
    return () => {
      // Before its permissions: the old group never gets the rights of the new one.
      if (lstatSync(this.path).gid !== gid) setGroup(this.path, gid, options.group ?? gid);
      chmodSync(this.path, mode);
    };
  }

  /** Delivers nothing more until onConnection() is called again; who connects meanwhile waits. */
  rest(): void {
    if (this.#gated !== undefined) gate.leave(this.#gated);
    this.#gated = undefined;
    this.#hold();
  }

  #hold(): void {
    clearTimeout(this.#retry);
    if (this.#fd !== undefined) native().unwatchReadable(this.#fd);
  }

  /**
   * Calls `onConnection` with every connection from now on. When one cannot be accepted `onError`
   * learns why and the listener tries again after a second; without this pause it would spin,
   * because the connection still waits.
   */
  onConnection(
    onConnection: (socket: FdSocket) => void,
    onError: (error: TsvswitchError) => void,
  ): void {
    if (this.#fd === undefined) throw failure('socket-closed', { path: this.path });
    this.rest();
    const goOn = () => this.#accept(onConnection, onError);
    this.#gated = { hold: () => this.#hold(), goOn };
    gate.join(this.#gated);
    if (gate.isOpen) goOn();
  }

  /** A copy of its fd, the caller's, for another process to listen with. */
  copy(): ListeningSocket {
    const fd = native().dupFd(this.#fd!);
    return { path: this.path, fd, origin: this.#origin ?? 'kept' };
  }

  /** Whether `path` still leads here: its file was not removed, and nobody has put theirs there. */
  get inPlace(): boolean {
    try {
      return isSameFile(identityOf(lstatSync(this.path)), this.#file);
    } catch {
      return false;
    }
  }

  /**
   * Stops listening and removes the socket file, unless somebody else has put theirs there. What a
   * socket unit made stays, for the next who listens there.
   */
  close(): void {
    if (this.#fd === undefined) return;
    const fd = this.#fd;
    this.rest();
    this.#fd = undefined;
    if (this.#origin === 'given') {
      storedListeners.add(this.path, { fd, origin: this.#origin });
      return;
    }
    // Else another process listens there.
    if (gate.isOpen) {
      // Before the close, so that nobody finds a file that refuses connections.
      removeFile(this);
      storedListeners.closed(this.path);
    }
    native().closeFd(fd);
  }

  #accept(
    onConnection: (socket: FdSocket) => void,
    onError: (error: TsvswitchError) => void,
  ): void {
    const fd = this.#fd!;
    native().watchReadable(fd, () => {
      let connection: number | undefined;
      try {
        connection = native().socketAccept(fd);
      } catch (error) {
        this.#hold();
        this.#retry = setTimeout(() => this.#accept(onConnection, onError), acceptRetryMs);
        onError(error as TsvswitchError);
        return;
      }
      // One per call: the callback may close this listener, and more connections call again.
      if (connection !== undefined) onConnection(new FdSocket(connection));
    });
  }
}

export interface Received {
  readonly bytes: Buffer;
  /** The receiver's to close. */
  readonly fds: number[];
  /** More fds came than were taken over; the kernel closed the others. */
  readonly fdsTruncated: boolean;
}

/** One connection. Nothing in it waits: it says 'would-block' and calls back when there is more. */
export class FdSocket {
  #fd: number | undefined;
  #watched = false;

  /** Takes over `fd`, a connected non-blocking stream socket. */
  constructor(fd: number) {
    this.#fd = fd;
  }

  /** Throws SOCKET_PATH_TOO_LONG or BAD_OPTION for what can be no socket path. */
  static checkPath(path: string): void {
    checkPath(path);
  }

  /** Connects to the listener at `path`. Throws SOCKET_PATH_TOO_LONG or SYSTEM. */
  static connect(path: string): FdSocket {
    checkPath(path);
    return new FdSocket(native().socketConnect(path));
  }

  get closed(): boolean {
    return this.#fd === undefined;
  }

  /** Still this object's. Throws CLOSED. */
  get fd(): number {
    return this.#open();
  }

  /** Who opened the other end, as the kernel remembers it. */
  get peer(): PeerCredentials {
    return native().socketPeer(this.#open());
  }

  /**
   * Reads up to `maxBytes`, stopping early at the end of what was sent together with fds, so that
   * fds always arrive with the first byte they were sent with.
   */
  receive(maxBytes: number): Received | 'would-block' | 'end' {
    const into = Buffer.allocUnsafe(maxBytes);
    const message = native().socketReceive(this.#open(), into);
    if (message === undefined) return 'would-block';
    if (message.bytes === 0) return 'end';
    return {
      bytes: into.subarray(0, message.bytes),
      fds: message.fds,
      fdsTruncated: message.fdsTruncated,
    };
  }

  /**
   * Sends all bytes, with `fds` (still the caller's) beside the first. Throws SYSTEM if the peer is
   * gone or has left so much unread that the kernel takes no more; the stream is then unusable.
   */
  send(bytes: Uint8Array, fds: readonly number[] = []): void {
    const sent = native().socketSend(this.#open(), bytes, fds);
    if (sent < bytes.length) {
      throw failure('peer-does-not-read', { sent, bytes: bytes.length });
    }
  }

  /**
   * Calls back whenever there is something to receive, the end included; replaces the last
   * callback.
   */
  onReadable(callback: () => void): void {
    const fd = this.#open();
    if (this.#watched) native().unwatchReadable(fd);
    native().watchReadable(fd, callback);
    this.#watched = true;
  }

  closeFd(fd: number): void {
    native().closeFd(fd);
  }

  /** Hands the fd to the caller; for this object it is as after close(). */
  release(): number {
    const fd = this.#open();
    if (this.#watched) native().unwatchReadable(fd);
    this.#fd = undefined;
    return fd;
  }

  /** No callback runs afterwards. */
  close(): void {
    if (this.#fd === undefined) return;
    native().closeFd(this.#fd);
    this.#fd = undefined;
  }

  #open(): number {
    if (this.#fd === undefined) throw failure('connection-closed');
    return this.#fd;
  }
}

/** Unless somebody else has put theirs there. One that may not be removed is stale from then on. */
function removeFile(listener: FdListener): void {
  if (!listener.inPlace) return;
  try {
    unlinkSync(listener.path);
  } catch {
    // Its folder is another user's now. Nothing that this program holds depends on the file.
  }
}
