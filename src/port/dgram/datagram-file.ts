/**
 * A unix datagram socket and its file: bound where nobody has one open, and removed at the end
 * unless somebody else has put theirs there.
 */

import { chmodSync, lstatSync, unlinkSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname } from 'node:path';
import { failure } from '../../model/errors.ts';
import { native } from '../../native/addon.ts';
import type { KeptSocket } from '../kind.ts';

const { EACCES, ECONNREFUSED, ENOENT, EPROTOTYPE } = constants.errno;

export class DatagramFile implements KeptSocket {
  readonly kind = 'dgram';
  readonly path: string;
  readonly fd: number;
  readonly #inode: number;

  private constructor(path: string, fd: number, inode: number) {
    this.path = path;
    this.fd = fd;
    this.#inode = inode;
  }

  /**
   * Throws SOCKET_FOLDER_MISSING, SOCKET_NO_PERMISSION, SOCKET_NOT_A_SOCKET, SOCKET_IN_USE or
   * SYSTEM, and has then left nothing behind.
   */
  static bind(path: string, mode: number): DatagramFile {
    removeStale(path);
    const fd = bindTo(path);
    try {
      chmodSync(path, mode);
      return new DatagramFile(path, fd, lstatSync(path).ino);
    } catch (error) {
      native().closeFd(fd);
      unlinkSync(path);
      throw error;
    }
  }

  /** What gives it these permissions. Throws SYSTEM if it is not there any more. */
  prepareMode(mode: number): () => void {
    if (!this.inPlace) {
      throw failure('socket-file-gone', { path: this.path });
    }
    return () => chmodSync(this.path, mode);
  }

  /** For another port. Throws as prepareMode(), and is closed then. */
  takeOver(mode: number): void {
    try {
      this.prepareMode(mode)();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Nobody else has put theirs in its place, and it was not removed. */
  get inPlace(): boolean {
    return lstatSync(this.path, { throwIfNoEntry: false })?.ino === this.#inode;
  }

  close(): void {
    try {
      if (this.inPlace) unlinkSync(this.path);
    } catch {
      // Its folder is another user's now. Nothing that this program holds depends on the file.
    }
    native().closeFd(this.fd);
  }
}

function bindTo(path: string): number {
  let cause: unknown;
  try {
    return native().datagramBind(path);
  } catch (failure) {
    cause = failure;
  }
  const error = errnoOf(cause);
  if (error === ENOENT) {
    throw failure('datagram-folder-missing', { path, folder: dirname(path) });
  }
  if (error === EACCES) {
    throw failure('datagram-no-permission', { path, folder: dirname(path) });
  }
  throw cause;
}

/** Clears `path` of a socket file that nobody has open; throws if anything else is there. */
function removeStale(path: string): void {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return;
  if (!stats.isSocket()) {
    throw failure('datagram-path-taken', { path });
  }
  // Connecting a datagram socket sends nothing: it only finds out whether the other one is there.
  let error: number | undefined;
  try {
    native().closeFd(native().datagramConnect(path));
  } catch (cause) {
    error = errnoOf(cause);
  }
  if (error === undefined || error === EPROTOTYPE) {
    throw failure('datagram-in-use', { path });
  }
  if (error === ECONNREFUSED) unlinkSync(path);
}

/** The number of the errno behind an error of the addon. */
function errnoOf(error: unknown): number | undefined {
  const { errno } = ((error as Error).cause ?? {}) as { errno?: number };
  return errno === undefined ? undefined : -errno;
}
