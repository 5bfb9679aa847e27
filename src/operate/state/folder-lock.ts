/**
 * A state folder is one switch's at a time: who has it has locked a file in it, which also says
 * which process that is. The lock ends with the last process that has a copy of it, however it
 * ends; in an upgrade the next one has one.
 *
 * Source: flock(2).
 */

import { ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { failure } from '../../model/errors.ts';
import { native } from '../../native/addon.ts';
import { unusable } from './state-folder.ts';

export class FolderLock {
  readonly #fd: number;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /** Of a folder that is there. Throws STATE_LOCKED, STATE_UNUSABLE, STATE_FULL. */
  static take(folder: string): FolderLock {
    const path = join(folder, 'lock');
    let fd: number;
    try {
      fd = openSync(path, 'a+', 0o600);
    } catch (cause) {
      throw unusable(path, cause);
    }
    if (!native().lockFile(fd)) {
      const pid = readFileSync(fd, 'utf8').trim() || 'unknown';
      native().closeFd(fd);
      throw failure('state-locked', { folder, pid });
    }
    const lock = new FolderLock(fd);
    lock.sign();
    return lock;
  }

  /** A copy of another process's. Takes over the fd. */
  static adopt(fd: number): FolderLock {
    return new FolderLock(fd);
  }

  /** It is this process's. */
  sign(): void {
    try {
      ftruncateSync(this.#fd);
      writeSync(this.#fd, `${process.pid}\n`);
    } catch {
      // The disk is full: it is locked all the same.
    }
  }

  /** A copy, the caller's, for the next process. */
  copy(): number {
    return native().dupFd(this.#fd);
  }
}
