/**
 * The file of a listening unix socket: who may connect, what is done when its path is taken, and
 * the sentence an operator reads when it cannot be made.
 *
 * A socket file outlives a process that died. Whether one is stale can only be found out by
 * connecting: if that is refused, nobody listens and the file is removed. A live listener sees one
 * connection that closes at once.
 *
 * Sources: unix(7).
 */

import { chownSync, lstatSync, type Stats, unlinkSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname } from 'node:path';
import { failure, type TsvswitchError } from '../model/errors.ts';
import { native } from './addon.ts';

/** Bytes of a path that fit in sockaddr_un beside the NUL. */
const pathBytesMax = 107;

/** Who may connect to a socket. */
export interface ListenOptions {
  /** Permissions of the socket file; 0o660 unless given. */
  readonly mode?: number;
  /** Group of the socket file, by name or number; the process's own unless given. */
  readonly group?: string | number;
}

/** What tells one file from another that later takes its name. */
export interface FileIdentity {
  readonly device: number;
  readonly inode: number;
}

export function identityOf(stats: Stats): FileIdentity {
  return { device: stats.dev, inode: stats.ino };
}

export function isSameFile(a: FileIdentity, b: FileIdentity): boolean {
  return a.device === b.device && a.inode === b.inode;
}

export function checkPath(path: string): void {
  if (path === '') throw failure('socket-path-empty');
  const bytes = Buffer.byteLength(path);
  if (bytes > pathBytesMax) {
    throw failure('socket-path-too-long', { path, bytes, max: pathBytesMax });
  }
}

export function checkedAccess(
  path: string,
  options: ListenOptions,
): { mode: number; gid?: number } {
  checkPath(path);
  const mode = options.mode ?? 0o660;
  if (!Number.isInteger(mode) || mode < 0 || mode > 0o777) {
    throw failure('socket-mode', { path, mode });
  }
  return options.group === undefined ? { mode } : { mode, gid: groupNumber(path, options.group) };
}

/** That a socket unit lets in nobody whom the settings of a port do not. */
export function checkGiven(path: string, mode: number, gid: number | undefined): void {
  const stats = lstatSync(path);
  // Who may write to the file may connect.
  const isOpener = (stats.mode & ~mode & 0o222) !== 0;
  if (!isOpener && (gid === undefined || gid === stats.gid)) return;
  const [is, wanted, key] = isOpener
    ? [octal(stats.mode), octal(mode), `SocketMode=0${octal(mode)}`]
    : [`group ${stats.gid}`, `group ${gid}`, `SocketGroup=${gid}`];
  throw failure('socket-unit-differs', { path, is, wanted, key });
}

function octal(mode: number): string {
  return (mode & 0o777).toString(8).padStart(3, '0');
}

/** Clears `path` of a socket file that nobody listens on; throws if anything else is there. */
export function removeStale(path: string): void {
  let stats: Stats | undefined;
  try {
    stats = lstatSync(path, { throwIfNoEntry: false });
  } catch (cause) {
    throw bindError(path, cause);
  }
  if (stats === undefined) return;
  if (!stats.isSocket()) {
    throw failure('socket-path-taken', { path, what: kindOf(stats) });
  }
  const listener = findListener(path);
  if (listener !== undefined) {
    throw failure('socket-in-use', { path, listener });
  }
  try {
    unlinkSync(path);
  } catch (cause) {
    throw bindError(path, cause);
  }
}

/** Who listens on the socket file at `path`, in words, or undefined if nobody does. */
function findListener(path: string): string | undefined {
  let probe: number;
  try {
    probe = native().socketConnect(path);
  } catch (cause) {
    const errno = errnoOf(cause);
    // ENOENT: its owner has just removed it.
    if (errno === constants.errno.ECONNREFUSED || errno === constants.errno.ENOENT)
      return undefined;
    if (errno === constants.errno.EAGAIN) return 'a process with a full backlog';
    if (errno === constants.errno.EPROTOTYPE) return 'a process with another type of socket';
    throw bindError(path, cause);
  }
  const { pid } = native().socketPeer(probe);
  native().closeFd(probe);
  return pid === process.pid ? 'this process already' : `process ${pid}`;
}

function kindOf(stats: Stats): string {
  if (stats.isDirectory()) return 'a folder';
  if (stats.isSymbolicLink()) return 'a symbolic link';
  return stats.isFile() ? 'a regular file' : 'a special file';
}

/** Throws SOCKET_GROUP_UNKNOWN. */
export function groupNumber(path: string, group: string | number): number {
  const gid = typeof group === 'number' ? group : native().groupId(group);
  if (gid === undefined || !Number.isInteger(gid) || gid < 0) {
    throw failure('socket-group-unknown', { path, group });
  }
  return gid;
}

export function setGroup(path: string, gid: number, group: string | number): void {
  try {
    chownSync(path, -1, gid);
  } catch (cause) {
    throw failure('socket-group-refused', { path, uid: process.getuid!(), group }, { cause });
  }
}

/** The number of the errno behind an error of Node or of the addon, or undefined. */
function errnoOf(error: unknown): number | undefined {
  const { errno, cause } = error as { errno?: number; cause?: { errno?: number } };
  const negative = errno ?? cause?.errno;
  return negative === undefined ? undefined : -negative;
}

/** Why a socket file cannot be made at `path`, with the way to mend it. */
export function bindError(path: string, cause: unknown): TsvswitchError {
  const folder = dirname(path);
  const { errno } = constants;
  switch (errnoOf(cause)) {
    case errno.ENOENT:
      return failure('socket-folder-missing', { path, folder }, { cause });
    case errno.ENOTDIR:
      return failure('socket-folder-no-folder', { path, folder }, { cause });
    case errno.EACCES:
    case errno.EPERM:
    case errno.EROFS:
      return failure(
        'socket-folder-unwritable',
        { path, uid: process.getuid!(), folder },
        { cause },
      );
    case errno.EADDRINUSE:
      return failure('socket-just-taken', { path }, { cause });
    default:
      return failure('socket-failed', { path, cause: (cause as Error).message }, { cause });
  }
}
