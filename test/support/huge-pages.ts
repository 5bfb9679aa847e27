/**
 * Huge pages for the tests that are about them. Those that are free are taken; where there are too
 * few, root borrows some from the kernel, and a hugetlbfs to put files in, for as long as a suite
 * runs.
 */

import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';

const poolFile = '/proc/sys/vm/nr_hugepages';
/** Where TestGuest looks for it. */
const mountPoint = '/dev/hugepages';

/** Of the kernel's default size. */
export function freeHugePages(): number {
  return hugePages('Free');
}

function hugePages(which: 'Free' | 'Total'): number {
  const meminfo = readFileSync('/proc/meminfo', 'utf8');
  return Number(new RegExp(`^HugePages_${which}:\\s+(\\d+)`, 'm').exec(meminfo)?.[1] ?? 0);
}

const isMounted = () =>
  readFileSync('/proc/self/mounts', 'utf8').includes(` ${mountPoint} hugetlbfs `);

/** Why there is no way to have so many, or undefined: they are borrowed once to see. */
export function hugePagesMissing(count: number): string | undefined {
  try {
    borrowHugePages(count)();
    return undefined;
  } catch (error) {
    return `needs ${count} free huge pages and a hugetlbfs at ${mountPoint}: ${(error as Error).message}`;
  }
}

/** Makes so many free; returns how to give back what was borrowed. */
export function borrowHugePages(count: number): () => void {
  const undo: (() => void)[] = [];
  const giveBack = () => {
    for (const step of undo.splice(0).reverse()) step();
  };
  try {
    const borrowed = count - freeHugePages();
    if (borrowed > 0) {
      const pool = Number(readFileSync(poolFile, 'utf8'));
      undo.push(() => writeFileSync(poolFile, `${pool}`));
      // What programs and files left behind lies scattered until it is moved together.
      writeFileSync('/proc/sys/vm/compact_memory', '1');
      // The total may be more than the pool is meant to be: pages that were in use when it was made
      // smaller.
      writeFileSync(poolFile, `${hugePages('Total') + borrowed}`);
    }
    if (!isMounted()) {
      mkdirSync(mountPoint, { recursive: true });
      execFileSync('mount', ['-t', 'hugetlbfs', 'none', mountPoint], { stdio: 'pipe' });
      // What is still mapped is unmapped when somebody looks after garbage.
      undo.push(() => execFileSync('umount', ['--lazy', mountPoint]));
    }
    if (freeHugePages() < count) throw new Error('the kernel finds too few that lie together');
  } catch (error) {
    giveBack();
    throw error;
  }
  return giveBack;
}
