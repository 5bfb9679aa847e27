/**
 * The regions of guest memory one frontend shares, and the checks on what it says about them.
 *
 * Two address spaces meet here and are never mixed: guest addresses are in descriptors, user
 * addresses locate rings. The table keeps descriptions only; mapping files is the backend's work.
 * It changes after the backend has accepted a change, so a refused one leaves it as it was.
 *
 * QEMU before 8.0 tells ADD_MEM_REG and REM_MEM_REG once for every queue pair. The same region may
 * therefore be added several times, and stays until it was removed as often.
 *
 * Sources: vhost-user "Memory access", "Memory regions description", VHOST_USER_REM_MEM_REG.
 */

import { hex } from '../model/sentence.ts';
import type { MappedRegion, MemoryRegion } from '../native/addon.ts';
import { refusal } from './refusal.ts';

/** What GET_MAX_MEM_SLOTS answers: the number of hot-pluggable regions KVM itself allows. */
export const memorySlotsMax = 509;

const addressEnd = 1n << 64n;
/** File offsets are signed: a mapping ends below this. */
const fileEnd = 1n << 63n;

/** What the sentences about a region have in common. */
function regionParameters({ guestAddress, sizeBytes }: MemoryRegion) {
  return { guestAddress: hex(guestAddress), bytes: hex(sizeBytes) };
}

function checkRegion(region: MemoryRegion): void {
  const { guestAddress, userAddress, sizeBytes, mmapOffset } = region;
  if (sizeBytes === 0n) {
    throw refusal('region-empty', regionParameters(region));
  }
  if (guestAddress + sizeBytes > addressEnd || userAddress + sizeBytes > addressEnd) {
    throw refusal('region-beyond-addresses', {
      ...regionParameters(region),
      userAddress: hex(userAddress),
    });
  }
  if (mmapOffset + sizeBytes > fileEnd) {
    throw refusal('region-beyond-file', {
      ...regionParameters(region),
      fileOffset: hex(mmapOffset),
    });
  }
}

function checkApart(regions: readonly MemoryRegion[], added: MemoryRegion): void {
  const end = added.guestAddress + added.sizeBytes;
  const other = regions.find(
    (region) =>
      region.guestAddress < end && added.guestAddress < region.guestAddress + region.sizeBytes,
  );
  if (other !== undefined) {
    throw refusal('region-overlaps', {
      ...regionParameters(added),
      otherAddress: hex(other.guestAddress),
      otherBytes: hex(other.sizeBytes),
    });
  }
}

/** REM_MEM_REG names a region by everything but its file offset. */
function isSame(one: MemoryRegion, other: MemoryRegion): boolean {
  return (
    one.guestAddress === other.guestAddress &&
    one.userAddress === other.userAddress &&
    one.sizeBytes === other.sizeBytes
  );
}

export class MemoryTable {
  #regions: readonly MemoryRegion[] = [];
  /** How often a region was added after the first time. */
  readonly #repeats = new Map<MemoryRegion, number>();

  get count(): number {
    return this.#regions.length;
  }

  /** Each region as often as it was added. */
  get added(): readonly MemoryRegion[] {
    return this.#regions.flatMap((region) =>
      Array<MemoryRegion>(1 + (this.#repeats.get(region) ?? 0)).fill(region),
    );
  }

  get totalBytes(): bigint {
    return this.#regions.reduce((sum, region) => sum + region.sizeBytes, 0n);
  }

  /** The first guest address behind all regions; 0 without any. */
  get guestEnd(): bigint {
    let end = 0n;
    for (const { guestAddress, sizeBytes } of this.#regions) {
      if (guestAddress + sizeBytes > end) end = guestAddress + sizeBytes;
    }
    return end;
  }

  /** Whether `sizeBytes` bytes at a user address lie in one region. */
  covers(userAddress: bigint, sizeBytes: bigint): boolean {
    return this.#regions.some(
      (region) =>
        userAddress >= region.userAddress &&
        userAddress + sizeBytes <= region.userAddress + region.sizeBytes,
    );
  }

  checkReplace(regions: readonly MemoryRegion[]): void {
    if (regions.length === 0) {
      throw refusal('memory-empty');
    }
    regions.forEach((region, i) => {
      checkRegion(region);
      checkApart(regions.slice(0, i), region);
    });
  }

  checkAdd(region: MemoryRegion): void {
    if (this.#regions.length >= memorySlotsMax) {
      throw refusal('region-slots-taken', { ...regionParameters(region), max: memorySlotsMax });
    }
    checkRegion(region);
    checkApart(this.#regions, region);
  }

  /** The stored region that `named` means. */
  find(named: MemoryRegion): MemoryRegion {
    const region = this.#regions.find((candidate) => isSame(candidate, named));
    if (region === undefined) {
      throw refusal('region-unknown', regionParameters(named));
    }
    return region;
  }

  /** Counts a region that is there already, to the byte of its file; false if it is not. */
  addAgain(region: MemoryRegion): boolean {
    const known = this.#regions.find(
      (candidate) => isSame(candidate, region) && candidate.mmapOffset === region.mmapOffset,
    );
    if (known === undefined) return false;
    this.#repeats.set(known, (this.#repeats.get(known) ?? 0) + 1);
    return true;
  }

  /** Undoes one addAgain() of a stored region; false if there is none left to undo. */
  removeAgain(region: MemoryRegion): boolean {
    const repeats = this.#repeats.get(region) ?? 0;
    if (repeats === 0) return false;
    this.#repeats.set(region, repeats - 1);
    return true;
  }

  replace(regions: readonly MemoryRegion[]): void {
    this.#regions = regions;
    this.#repeats.clear();
  }

  add(region: MemoryRegion): void {
    this.#regions = [...this.#regions, region];
  }

  remove(region: MemoryRegion): void {
    this.#regions = this.#regions.filter((candidate) => candidate !== region);
    this.#repeats.delete(region);
  }
}

export function withFd(region: MemoryRegion, takeFd: () => number): MappedRegion {
  return { ...region, fd: takeFd() };
}
