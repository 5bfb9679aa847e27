/**
 * Huge pages for the tests that are about them. Those that are free are taken; where there are too few,
 * root borrows some from the kernel, and a hugetlbfs to put files in, for as long as a suite runs.
 */

import { execFileSync } from 'node:child_process';
import { accessSync, constants, mkdirSync, readFileSync, writeFileSync } from 'node:fs';

const poolFile = '/proc/sys/vm/nr_hugepages';
/** Where TestGuest looks for it. */
const mountPoint = '/dev/hugepages';

/** Of the kernel's default size. */
export function freeHugePages(): number {
  const line = /^HugePages_Free:\s+(\d+)/m.exec(readFileSync('/proc/meminfo', 'utf8'));
  return Number(line?.[1] ?? 0);
}

const isMounted = () =>
  readFileSync('/proc/self/mounts', 'utf8').includes(` ${mountPoint} hugetlbfs `);

/** Why there is no way to have so many, or undefined. */
export function hugePagesMissing(count: number): string | undefined {
  if (freeHugePages() >= count && isMounted()) return undefined;
  try {
    accessSync(poolFile, constants.W_OK);
    execFileSync('unshare', ['--mount', 'true'], { stdio: 'ignore' });
    return undefined;
  } catch {
    return `needs ${count} free huge pages and a hugetlbfs at ${mountPoint} (as root they are borrowed)`;
  }
}

/** Makes so many free; returns how to give back what was borrowed. */
export function borrowHugePages(count: number): () => void {
  const undo: (() => void)[] = [];
  const giveBack = () => {
    for (const step of undo.splice(0).reverse()) step();
  };
  const pool = () => Number(readFileSync(poolFile, 'utf8'));
  const borrowed = Math.max(0, count - freeHugePages());
  if (borrowed > 0) {
    writeFileSync(poolFile, `${pool() + borrowed}`);
    undo.push(() => writeFileSync(poolFile, `${Math.max(0, pool() - borrowed)}`));
  }
  if (!isMounted()) {
    mkdirSync(mountPoint, { recursive: true });
    execFileSync('mount', ['-t', 'hugetlbfs', 'none', mountPoint]);
    // What is still mapped is unmapped when somebody looks after garbage.
    undo.push(() => execFileSync('umount', ['--lazy', mountPoint]));
  }
  if (freeHugePages() < count) {
    giveBack();
    throw new Error(`the kernel finds no ${count} huge pages that lie together`);
  }
  return giveBack;
}
