/**
 * Which of a frontend's memory regions lie on huge pages, as the file system of their files says.
 * It makes no difference to what is forwarded, only to how fast.
 *
 * Source: statfs(2).
 */

import { statfsSync } from 'node:fs';
import type { MappedRegion, MemoryRegion } from '../../native/addon.ts';

const hugetlbfsMagic = 0x958458f6;

export class HugePages {
  /** By a region's guest address. */
  readonly #pageBytes = new Map<bigint, number>();

  /** The fd is only looked at. */
  added({ guestAddress, fd }: MappedRegion): void {
    this.#pageBytes.set(guestAddress, hugePageBytes(fd));
  }

  removed({ guestAddress }: MemoryRegion): void {
    this.#pageBytes.delete(guestAddress);
  }

  clear(): void {
    this.#pageBytes.clear();
  }

  /** The smallest page; undefined without regions, and where some are ordinary memory. */
  get pageBytes(): number | undefined {
    const smallest = Math.min(...this.#pageBytes.values());
    return smallest > 0 && Number.isFinite(smallest) ? smallest : undefined;
  }
}

/** The page size of a file on huge pages, 0 of any other. */
function hugePageBytes(fd: number): number {
  try {
    const { type, bsize } = statfsSync(`/proc/self/fd/${fd}`);
    return type === hugetlbfsMagic ? bsize : 0;
  } catch {
    // Nothing is known of it without /proc, and nobody's session ends for that.
    return 0;
  }
}
