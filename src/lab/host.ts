/**
 * What of the host a lab uses: huge pages, and where memory for guests comes from.
 *
 * Guests get huge pages where enough are free and a hugetlbfs is mounted and writable, and memfd
 * otherwise, which works everywhere and costs some speed. Only reserveHugepages changes the
 * machine, only as root, only upwards, and it says what it changed.
 *
 * Source: Linux Documentation/admin-guide/mm/hugetlbpage.rst.
 */

import { access, constants, mkdir, readFile, writeFile } from 'node:fs/promises';
import { execa } from 'execa';
import { TsvswitchError } from '../errors.ts';
import type { MachineMemory } from './qemu.ts';

export interface HugepageState {
  /** Size of the kernel's default huge page. */
  readonly pageBytes: number;
  readonly total: number;
  /** Free and not promised to anyone. */
  readonly available: number;
  /** A mounted hugetlbfs of that page size that this user may write to. */
  readonly folder: string | undefined;
}

export interface MemoryChoice {
  readonly memory: MachineMemory;
  /** One sentence for people. */
  readonly reason: string;
}

const mountPoint = '/dev/hugepages';
const poolFile = '/proc/sys/vm/nr_hugepages';
const mebibyte = 2 ** 20;

export async function hugepages(): Promise<HugepageState> {
  const [meminfo, mounts] = await Promise.all([
    readFile('/proc/meminfo', 'utf8'),
    readFile('/proc/self/mounts', 'utf8'),
  ]);
  const { pageBytes, total, available } = parseMeminfo(meminfo);
  return { pageBytes, total, available, folder: await writableMount(mounts, pageBytes) };
}

/** Page counts out of the text of /proc/meminfo; all zero on a kernel without huge pages. */
export function parseMeminfo(text: string): Omit<HugepageState, 'folder'> {
  const field = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(text)?.[1] ?? 0);
  return {
    pageBytes: field('Hugepagesize') * 1024,
    total: field('HugePages_Total'),
    available: field('HugePages_Free') - field('HugePages_Rsvd'),
  };
}

/** The hugetlbfs mounts in the text of /proc/self/mounts whose pages are of `pageBytes`. */
export function hugetlbfsMounts(text: string, pageBytes: number): string[] {
  return text.split('\n').flatMap((line) => {
    const [, folder, type, options] = line.split(' ');
    if (type !== 'hugetlbfs' || folder === undefined) return [];
    const size = /pagesize=(\d+)([KMG])/.exec(options ?? '');
    const unit = { K: 1024, M: mebibyte, G: 1024 * mebibyte }[size?.[2] ?? ''] ?? 0;
    return size && Number(size[1]) * unit !== pageBytes ? [] : [folder];
  });
}

async function writableMount(mounts: string, pageBytes: number): Promise<string | undefined> {
  for (const folder of hugetlbfsMounts(mounts, pageBytes)) {
    const writable = access(folder, constants.W_OK | constants.X_OK);
    if (
      await writable.then(
        () => true,
        () => false,
      )
    )
      return folder;
  }
  return undefined;
}

/** Where machines of these sizes get their memory from, with things as they are. */
export async function chooseMemory(sizesMiB: readonly number[]): Promise<MemoryChoice> {
  const { pageBytes, available, folder } = await hugepages();
  const needed = sizesMiB.reduce((sum, memoryMiB) => sum + pagesFor(memoryMiB, pageBytes), 0);
  if (folder !== undefined && needed > 0 && available >= needed) {
    return {
      memory: { type: 'hugepages', folder },
      reason: `huge pages (${needed} of ${available} free ones)`,
    };
  }
  const lack =
    available < needed || needed === 0
      ? `${available} huge pages are free, ${needed} would be needed`
      : 'no hugetlbfs is mounted where this user may write';
  return { memory: { type: 'memfd' }, reason: `memfd (${lack})` };
}

/**
 * Makes sure that `machines` machines of `memoryMiB` each find free huge pages: raises
 * vm.nr_hugepages and mounts a hugetlbfs if need be. Needs root. Returns what it changed, one
 * sentence each, none if nothing had to be.
 */
export async function reserveHugepages(machines: number, memoryMiB: number): Promise<string[]> {
  const changes: string[] = [];
  const before = await hugepages();
  const needed = machines * pagesFor(memoryMiB, before.pageBytes);
  if (needed === 0) {
    throw new TsvswitchError('HUGEPAGES_UNAVAILABLE', 'this kernel has no huge pages');
  }
  if (before.available < needed) {
    const total = before.total + needed - before.available;
    await writeFile(poolFile, `${total}\n`).catch((cause: Error) => {
      throw new TsvswitchError(
        'HUGEPAGES_UNAVAILABLE',
        `vm.nr_hugepages cannot be set (${cause.message}); run \`sysctl vm.nr_hugepages=${total}\` as root`,
        { cause },
      );
    });
    const { available } = await hugepages();
    if (available < needed) {
      // Pages the kernel could not find are of no use to us; neither are the ones it did.
      await writeFile(poolFile, `${before.total}\n`);
      throw new TsvswitchError(
        'HUGEPAGES_UNAVAILABLE',
        `the kernel found ${available} free huge pages, ${needed} are needed; free some memory or go without`,
      );
    }
    changes.push(`vm.nr_hugepages raised from ${before.total} to ${total}`);
  }
  if (before.folder === undefined) {
    await mkdir(mountPoint, { recursive: true });
    const mount = await execa('mount', ['-t', 'hugetlbfs', 'hugetlbfs', mountPoint], {
      reject: false,
    });
    if (mount.failed) {
      throw new TsvswitchError(
        'HUGEPAGES_UNAVAILABLE',
        `hugetlbfs cannot be mounted on ${mountPoint}: ${mount.stderr || mount.shortMessage}`,
      );
    }
    changes.push(`hugetlbfs mounted on ${mountPoint}`);
  }
  return changes;
}

function pagesFor(memoryMiB: number, pageBytes: number): number {
  return pageBytes === 0 ? 0 : Math.ceil((memoryMiB * mebibyte) / pageBytes);
}
