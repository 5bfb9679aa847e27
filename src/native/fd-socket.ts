/**
 * Unix stream sockets that carry file descriptors: the listening one of a port, and a connection.
 *
 * The addon makes the system calls; this file holds the policy: what to do when a path is taken,
 * who may connect, whose file is removed at close, and the sentence an operator reads when it goes
 * wrong.
 *
 * The umask belongs to the whole process, so the mode is not set through it. A socket is bound,
 * given its mode and group, and only then listens: before that the kernel refuses every connection,
 * so the wider rights the file is born with open nothing.
 *
 * A socket file outlives a process that died. Whether one is stale can only be found out by
 * connecting: if that is refused, nobody listens and the file is replaced. A live listener sees one
 * connection that closes at once.
 *
 * It knows no vhost-user: bytes and fds pass through uninterpreted.
 *
 * Sources: unix(7), "vhost-user" protocol document, heading "Communication".
 */

import { chmodSync, chownSync, lstatSync, type Stats, unlinkSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname } from 'node:path';
import { TsvswitchError } from '../model/errors.ts';
import { native, type PeerCredentials } from './addon.ts';

/** Bytes of a path that fit in sockaddr_un beside the NUL. */
const pathBytesMax = 107;
/** A port serves one frontend; a few more may wait for a sentence that says so. */
const backlog = 8;
/** How long a listener rests after it failed to accept, which is when fds have run out. */
const acceptRetryMs = 1000;

/** Who may connect to a socket. */
export interface ListenOptions {
  /** Permissions of the socket file; 0o660 unless given. */
  readonly mode?: number;
  /** Group of the socket file, by name or number; the process's own unless given. */
  readonly group?: string | number;
}

/** A listening socket and the file it is bound to. */
export class FdListener {
  readonly path: string;
  readonly #file: FileIdentity;
  #fd: number | undefined;
  #retry: NodeJS.Timeout | undefined;

  private constructor(path: string, fd: number, file: FileIdentity) {
    this.path = path;
    this.#fd = fd;
    this.#file = file;
  }

  /**
   * Listens on `path`, replacing a stale socket file. Throws SOCKET_PATH_TOO_LONG,
   * SOCKET_FOLDER_MISSING, SOCKET_NO_PERMISSION, SOCKET_NOT_A_SOCKET, SOCKET_IN_USE,
   * SOCKET_GROUP_UNKNOWN, BAD_OPTION or SYSTEM, and then has left nothing behind.
   */
  static listen(path: string, options: ListenOptions = {}): FdListener {
    const { socketBind, socketListen } = native();
    const { mode, gid } = checkedAccess(path, options);
    removeStale(path);
    let fd: number;
    try {
      fd = socketBind(path);
    } catch (cause) {
      throw bindError(path, cause);
    }
    const file = identityOf(lstatSync(path));
    const listener = new FdListener(path, fd, file);
    try {
      chmodSync(path, mode);
      if (gid !== undefined) setGroup(path, gid, options.group!);
      socketListen(fd, backlog);
    } catch (cause) {
      listener.close();
      throw cause;
    }
    return listener;
  }

  /** Throws what listen() throws for a path and access that cannot be, and SOCKET_GROUP_UNKNOWN. */
  static checkAccess(path: string, options: ListenOptions): void {
    checkedAccess(path, options);
  }

  /**
   * What lets others connect from then on. Throws SOCKET_GROUP_UNKNOWN, and SYSTEM if the file is
   * not there any more; what it returns throws SOCKET_NO_PERMISSION, and has then changed nothing.
   */
  prepareAccess(options: ListenOptions): () => void {
    const { mode, gid = process.getegid!() } = checkedAccess(this.path, options);
    if (!this.inPlace) {
      throw new TsvswitchError(
        'SYSTEM',
        `socket ${this.path}: its file is gone, or another one is in its place; open the port anew`,
      );
    }
    return () => {
      // Before its permissions: the old group never gets the rights of the new one.
      if (lstatSync(this.path).gid !== gid) setGroup(this.path, gid, options.group ?? gid);
      chmodSync(this.path, mode);
    };
  }

  /** Delivers nothing more until onConnection() is called again; who connects meanwhile waits. */
  rest(): void {
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
    const fd = this.#fd;
    if (fd === undefined) throw new TsvswitchError('CLOSED', `socket ${this.path} is closed`);
    native().watchReadable(fd, () => {
      let connection: number | undefined;
      try {
        connection = native().socketAccept(fd);
      } catch (error) {
        native().unwatchReadable(fd);
        this.#retry = setTimeout(() => this.onConnection(onConnection, onError), acceptRetryMs);
        onError(error as TsvswitchError);
        return;
      }
      // One per call: the callback may close this listener, and more connections call again.
      if (connection !== undefined) onConnection(new FdSocket(connection));
    });
  }

  /** Whether `path` still leads here: its file was not removed, and nobody has put theirs there. */
  get inPlace(): boolean {
    try {
      return isSameFile(identityOf(lstatSync(this.path)), this.#file);
    } catch {
      return false;
    }
  }

  /** Stops listening and removes the socket file, unless somebody else has put theirs there. */
  close(): void {
    if (this.#fd === undefined) return;
    clearTimeout(this.#retry);
    // Before the close, so that nobody finds a file that refuses connections.
    removeFile(this);
    native().closeFd(this.#fd);
    this.#fd = undefined;
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
      throw new TsvswitchError(
        'SYSTEM',
        `the peer does not read: ${sent} of ${bytes.length} bytes could be sent`,
      );
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
    if (this.#fd === undefined) throw new TsvswitchError('CLOSED', 'the connection is closed');
    return this.#fd;
  }
}

/** What tells one file from another that later takes its name. */
interface FileIdentity {
  readonly device: number;
  readonly inode: number;
}

function identityOf(stats: Stats): FileIdentity {
  return { device: stats.dev, inode: stats.ino };
}

function isSameFile(a: FileIdentity, b: FileIdentity): boolean {
  return a.device === b.device && a.inode === b.inode;
}

function checkPath(path: string): void {
  if (path === '') throw new TsvswitchError('BAD_OPTION', 'the socket path is empty');
  const bytes = Buffer.byteLength(path);
  if (bytes > pathBytesMax) {
    throw new TsvswitchError(
      'SOCKET_PATH_TOO_LONG',
      `socket ${path}: the path has ${bytes} bytes, but a unix socket path holds at most ` +
        `${pathBytesMax}; choose a shorter one, for example under /run`,
    );
  }
}

function checkedAccess(path: string, options: ListenOptions): { mode: number; gid?: number } {
  checkPath(path);
  const mode = options.mode ?? 0o660;
  if (!Number.isInteger(mode) || mode < 0 || mode > 0o777) {
    throw new TsvswitchError('BAD_OPTION', `socket ${path}: mode ${mode} is not one of 0 to 0o777`);
  }
  return options.group === undefined ? { mode } : { mode, gid: groupNumber(path, options.group) };
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

/** Clears `path` of a socket file that nobody listens on; throws if anything else is there. */
function removeStale(path: string): void {
  let stats: Stats | undefined;
  try {
    stats = lstatSync(path, { throwIfNoEntry: false });
  } catch (cause) {
    throw bindError(path, cause);
  }
  if (stats === undefined) return;
  if (!stats.isSocket()) {
    throw new TsvswitchError(
      'SOCKET_NOT_A_SOCKET',
      `socket ${path}: ${kindOf(stats)} is in the way; remove it or choose another path`,
    );
  }
  const listener = findListener(path);
  if (listener !== undefined) {
    throw new TsvswitchError(
      'SOCKET_IN_USE',
      `socket ${path}: ${listener} listens on it; stop that process or choose another path`,
    );
  }
  try {
    unlinkSync(path);
  } catch (cause) {
    throw bindError(path, cause);
  }
}

/** Who listens on the socket file at `path`, in words, or undefined if nobody does. */
function findListener(path: string): string | undefined {
  let probe: FdSocket;
  try {
    probe = FdSocket.connect(path);
  } catch (cause) {
    const errno = errnoOf(cause);
    // ENOENT: its owner has just removed it.
    if (errno === constants.errno.ECONNREFUSED || errno === constants.errno.ENOENT)
      return undefined;
    if (errno === constants.errno.EAGAIN) return 'a process with a full backlog';
    if (errno === constants.errno.EPROTOTYPE) return 'a process with another type of socket';
    throw bindError(path, cause);
  }
  const { pid } = probe.peer;
  probe.close();
  return pid === process.pid ? 'this process already' : `process ${pid}`;
}

function kindOf(stats: Stats): string {
  if (stats.isDirectory()) return 'a folder';
  if (stats.isSymbolicLink()) return 'a symbolic link';
  return stats.isFile() ? 'a regular file' : 'a special file';
}

function groupNumber(path: string, group: string | number): number {
  const gid = typeof group === 'number' ? group : native().groupId(group);
  if (gid === undefined || !Number.isInteger(gid) || gid < 0) {
    throw new TsvswitchError(
      'SOCKET_GROUP_UNKNOWN',
      `socket ${path}: there is no group ${group}; \`getent group\` lists those there are`,
    );
  }
  return gid;
}

function setGroup(path: string, gid: number, group: string | number): void {
  try {
    chownSync(path, -1, gid);
  } catch (cause) {
    throw new TsvswitchError(
      'SOCKET_NO_PERMISSION',
      `socket ${path}: user ${process.getuid?.()} may not give it to group ${group}; ` +
        'join that group or run as root',
      { cause },
    );
  }
}

/** The number of the errno behind an error of Node or of the addon, or undefined. */
function errnoOf(error: unknown): number | undefined {
  const { errno, cause } = error as { errno?: number; cause?: { errno?: number } };
  const negative = errno ?? cause?.errno;
  return negative === undefined ? undefined : -negative;
}

/** Why a socket file cannot be made at `path`, with the way to mend it. */
function bindError(path: string, cause: unknown): TsvswitchError {
  const folder = dirname(path);
  const { errno } = constants;
  switch (errnoOf(cause)) {
    case errno.ENOENT:
      return new TsvswitchError(
        'SOCKET_FOLDER_MISSING',
        `socket ${path}: folder ${folder} does not exist; create it with \`mkdir -p ${folder}\``,
        { cause },
      );
    case errno.ENOTDIR:
      return new TsvswitchError(
        'SOCKET_FOLDER_MISSING',
        `socket ${path}: ${folder} is not a folder; choose another path`,
        { cause },
      );
    case errno.EACCES:
    case errno.EPERM:
    case errno.EROFS:
      return new TsvswitchError(
        'SOCKET_NO_PERMISSION',
        `socket ${path}: user ${process.getuid?.()} may not create or replace it in ${folder}; ` +
          'choose a folder you may write to, or change its owner',
        { cause },
      );
    case errno.EADDRINUSE:
      return new TsvswitchError(
        'SOCKET_IN_USE',
        `socket ${path}: another process has just taken it; stop that process or choose another ` +
          'path',
        { cause },
      );
    default:
      return new TsvswitchError('SYSTEM', `socket ${path}: ${(cause as Error).message}`, { cause });
  }
}
