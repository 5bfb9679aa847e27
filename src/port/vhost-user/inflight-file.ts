/**
 * The memory file that a port has made for its frontend (GET_INFLIGHT_FD), of which there is one at
 * a time.
 *
 * Pages of such a file count for whoever writes them first, which is this process, and a frontend
 * can keep the file for as long as it likes. So when it asks for another one, and when its session
 * ends, the pages are given back, whoever else has the file: it reads as zeros then, which the
 * protocol calls a region that is not set up. What a frontend makes the switch hold is bounded by
 * one file.
 *
 * Source: vhost-user "Inflight I/O tracking" (a version of zero).
 */

import { native } from '../../native/addon.ts';
import type { FilePiece } from '../../vhost-user/backend.ts';
import { createMemoryFile } from './memory-file.ts';

export class InflightFile {
  #fd: number | undefined;

  /** A zeroed file with some bytes set, in place of the last one; the fd is the caller's. */
  make(sizeBytes: number, contents: readonly FilePiece[]): number {
    this.discard();
    const fd = createMemoryFile(sizeBytes, contents);
    this.#fd = fd;
    return native().dupFd(fd);
  }

  /** Takes the file's pages away from whoever has it. Idempotent. */
  discard(): void {
    const fd = this.#fd;
    if (fd === undefined) return;
    this.#fd = undefined;
    try {
      native().discardPages(fd);
    } finally {
      native().closeFd(fd);
    }
  }
}
