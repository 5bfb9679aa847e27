/**
 * Where memory for guests comes from.
 *
 * Guests get huge pages where enough are free and a hugetlbfs is mounted and writable, and memfd
 * otherwise, which works everywhere and costs some speed. Only reserveHugepages changes the
 * machine, only as root, only upwards, and it says what it changed.
 */

import { execa } from 'execa';
import { applied } from '../host/apply.ts';
import { type HostFacts, hostFacts } from '../host/facts.ts';
import { neededChanges } from '../host/needs.ts';
import { failure } from '../model/errors.ts';
import type { MachineMemory } from './qemu.ts';

export interface MemoryChoice {
  readonly memory: MachineMemory;
  /** One sentence for people. */
  readonly reason: string;
}

const mebibyte = 2 ** 20;

/** Where machines of these sizes get their memory from, with things as they are. */
export async function chooseMemory(
  sizesMiB: readonly number[],
  facts?: HostFacts,
): Promise<MemoryChoice> {
  const { pools, mounts } = facts ?? (await hostFacts());
  const pool = pools.find(({ isDefault }) => isDefault);
  if (pool === undefined) {
    return { memory: { type: 'memfd' }, reason: 'memfd (this kernel has no huge pages)' };
  }
  const { pageBytes, available } = pool;
  const needed = pagesFor(sizesMiB, pageBytes);
  if (available < needed) {
    const lack = `${available} huge pages are free, ${needed} would be needed`;
    return { memory: { type: 'memfd' }, reason: `memfd (${lack})` };
  }
  const mount = mounts.find((each) => each.pageBytes === pageBytes && each.isWritable);
  if (mount === undefined) {
    const lack = 'no hugetlbfs is mounted where this user may write';
    return { memory: { type: 'memfd' }, reason: `memfd (${lack})` };
  }
  return {
    memory: { type: 'hugepages', folder: mount.folder },
    reason: `huge pages (${needed} of ${available} free ones)`,
  };
}

/**
 * Makes sure that machines of these sizes each find free huge pages. Needs root. Returns what it
 * changed, one sentence each, none if nothing had to be.
 */
export async function reserveHugepages(sizesMiB: readonly number[]): Promise<string[]> {
  const facts = await hostFacts();
  const pool = facts.pools.find(({ isDefault }) => isDefault);
  const { pageBytes, total, available } = pool ?? { pageBytes: mebibyte, total: 0, available: 0 };
  const inUse = total - available;
  const memoryBytes = (pagesFor(sizesMiB, pageBytes) + inUse) * pageBytes;
  const made: string[] = [];
  for await (const { change, pagesFound } of applied(
    neededChanges(facts, { memoryBytes, persist: false }),
  )) {
    if (pagesFound !== undefined) {
      // Pages the kernel could not find are of no use to us; neither are the ones it did.
      await execa('sh', ['-c', change.undo]);
      throw failure('hugepages-fewer-for-machines', { found: pagesFound, to: change.pages!.to });
    }
    made.push(change.what);
  }
  return made;
}

function pagesFor(sizesMiB: readonly number[], pageBytes: number): number {
  return sizesMiB.reduce((sum, sizeMiB) => sum + Math.ceil((sizeMiB * mebibyte) / pageBytes), 0);
}
