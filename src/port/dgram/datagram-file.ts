/**
 * A unix datagram socket and its file: bound where nobody has one open, and removed at the end
 * unless somebody else has put theirs there.
 */

import { chmodSync, lstatSync, unlinkSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname } from 'node:path';
import { TsvswitchError } from '../../model/errors.ts';
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
      throw new TsvswitchError(
        'SYSTEM',
        `socket ${this.path}: its file is gone, or another one is in its place; open the port anew`,
      );
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
    throw new TsvswitchError(
      'SOCKET_FOLDER_MISSING',
      `socket ${path}: folder ${dirname(path)} does not exist; make it or choose another path`,
    );
  }
  if (error === EACCES) {
    throw new TsvswitchError(
      'SOCKET_NO_PERMISSION',
      `socket ${path}: no permission to make a file in ${dirname(path)}`,
    );
  }
  throw cause;
}

/** Clears `path` of a socket file that nobody has open; throws if anything else is there. */
function removeStale(path: string): void {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return;
  if (!stats.isSocket()) {
    throw new TsvswitchError(
      'SOCKET_NOT_A_SOCKET',
      `socket ${path}: a file is in the way; remove it or choose another path`,
    );
  }
  // Connecting a datagram socket sends nothing: it only finds out whether the other one is there.
  let error: number | undefined;
  try {
    native().closeFd(native().datagramConnect(path));
  } catch (cause) {
    error = errnoOf(cause);
  }
  if (error === undefined || error === EPROTOTYPE) {
    throw new TsvswitchError(
      'SOCKET_IN_USE',
      `socket ${path} is in use by another program; stop it or choose another path`,
    );
  }
  if (error === ECONNREFUSED) unlinkSync(path);
}

/** The number of the errno behind an error of the addon. */
function errnoOf(error: unknown): number | undefined {
  const { errno } = ((error as Error).cause ?? {}) as { errno?: number };
  return errno === undefined ? undefined : -errno;
}
