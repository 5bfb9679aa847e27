/**
 * The memory of a guest that exists only in this process: a file, mapped here and shared with the
 * backend, with an allocator that only grows.
 *
 * Three address spaces meet in it and are numerically far apart, so that a mix-up is an address
 * outside memory and not a silent success: offsets into the file (number), guest addresses and user
 * addresses (bigint). Memory can be split into regions that touch each other in the guest's view
 * and do not in the user's, as with a QEMU that has more than one memory backend.
 *
 * Hot-plug: the whole file is mapped from the start, and every region is either plugged, which is
 * to say the backend knows it, or not. Nothing is allocated in or behind an unplugged one. Who
 * tells the backend is guest.ts.
 *
 * The addon maps it; close() ends the mapping, and so does the collector where nobody closes it.
 */

import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { failure } from '../model/errors.ts';
import { type MappedRegion, native } from '../native/addon.ts';

/** Every kind of file that guest memory can lie in. */
export const memoryKinds = ['memfd', 'file', 'hugetlbfs'] as const;

/** One of those kinds. */
export type MemoryKind = (typeof memoryKinds)[number];

/** What guest memory is made of, and how it is cut. */
export interface GuestMemoryOptions {
  /** 'memfd' unless given; 'file' lies in the temporary folder. */
  readonly kind?: MemoryKind;
  /** Bytes, a multiple of the page size (2 MiB with hugetlbfs) for each region. */
  readonly sizeBytes: number;
  /** Number of equal regions; 1 unless given. */
  readonly regions?: number;
  /** How many of the regions, from the first, are plugged at the start; all unless given. */
  readonly pluggedRegions?: number;
  /** Where hugetlbfs is mounted; /dev/hugepages unless given. */
  readonly hugetlbfs?: string;
}

const guestBase = 0x1_0000_0000n;
const wordRange = 2 ** 32;
const guestBaseHigh = Number(guestBase >> 32n);
const userBase = 0x7f00_0000_0000n;
/** Keeps regions apart in the user's view. */
const userGapBytes = 0x1000_0000n;

/** Memory that a guest in this process shares with its backend. */
export class GuestMemory {
  readonly fd: number;
  /** The whole of memory. */
  readonly bytes: Buffer;
  readonly view: DataView;
  readonly #regions: readonly MappedRegion[];
  readonly #plugged: boolean[];
  /** The same bytes for Atomics. */
  readonly #words: Uint16Array;
  readonly #file: MemoryFile;
  #allocatedBytes = 0;
  #closed = false;

  private constructor(
    file: MemoryFile,
    sizeBytes: number,
    regionCount: number,
    pluggedCount: number,
  ) {
    const { fd } = file;
    this.fd = fd;
    this.#file = file;
    const buffer = native().mapFile(fd, sizeBytes);
    this.bytes = Buffer.from(buffer);
    this.view = new DataView(buffer);
    this.#words = new Uint16Array(buffer);
    const regionBytes = BigInt(sizeBytes / regionCount);
    this.#regions = Array.from({ length: regionCount }, (_, i) => ({
      fd,
      guestAddress: guestBase + BigInt(i) * regionBytes,
      sizeBytes: regionBytes,
      userAddress: userBase + BigInt(i) * (regionBytes + userGapBytes),
      mmapOffset: BigInt(i) * regionBytes,
    }));
    this.#plugged = this.#regions.map((_, i) => i < pluggedCount);
  }

  /** Makes and maps a file of its own. Throws BAD_OPTION, or SYSTEM where it cannot be had. */
  static create(options: GuestMemoryOptions): GuestMemory {
    const { sizeBytes, regions = 1, pluggedRegions = regions, kind = 'memfd' } = options;
    const pageBytes = pageBytesOf(kind);
    const isWhole = Number.isInteger(regions) && regions >= 1 && sizeBytes > 0;
    if (!isWhole || sizeBytes % (regions * pageBytes) !== 0) {
      throw failure('memory-uncuttable', { sizeBytes, regions, pageBytes });
    }
    if (!Number.isInteger(pluggedRegions) || pluggedRegions < 1 || pluggedRegions > regions) {
      throw failure('memory-unpluggable', { plugged: pluggedRegions, regions });
    }
    const file = openMemoryFile(kind, sizeBytes, options.hugetlbfs ?? '/dev/hugepages');
    try {
      return new GuestMemory(file, sizeBytes, regions, pluggedRegions);
    } catch (cause) {
      file.close();
      throw failure(
        'test-memory-unmappable',
        { sizeBytes, kind, cause: (cause as Error).message },
        { cause },
      );
    }
  }

  /** The plugged regions: what SET_MEM_TABLE says. */
  get regions(): readonly MappedRegion[] {
    return this.#regions.filter((_, i) => this.#plugged[i]);
  }

  /** Region `index`, plugged or not. Throws BAD_OPTION. */
  region(index: number): MappedRegion {
    const region = this.#regions[index];
    if (region === undefined) {
      throw failure('memory-region-unknown', { index, regions: this.#regions.length });
    }
    return region;
  }

  /** Whether region `index` is there for the backend. */
  isPlugged(index: number): boolean {
    return this.#plugged[index] ?? false;
  }

  /** Notes what the backend has been told; false changes nothing in the memory itself. */
  setPlugged(index: number, plugged: boolean): void {
    this.region(index);
    this.#plugged[index] = plugged;
  }

  /**
   * Takes `lengthBytes` nobody else has and returns their offset. They may cross from one region
   * into the next, which the guest's addresses do not show. Throws BAD_OPTION.
   */
  allocate(lengthBytes: number, alignBytes: number): number {
    return this.#take(roundUp(this.#allocatedBytes, alignBytes), lengthBytes);
  }

  /** The same within one region, as rings must lie: user addresses jump between regions. */
  allocateWhole(lengthBytes: number, alignBytes: number): number {
    const offset = roundUp(this.#allocatedBytes, alignBytes);
    const regionBytes = Number(this.#regions[0]!.sizeBytes);
    const next = roundUp(offset, regionBytes);
    const crosses = offset < next && offset + lengthBytes > next;
    return this.#take(crosses ? next : offset, lengthBytes);
  }

  /** The guest address of the byte at `offset`; regions touch, so this is one line. */
  guestAddress(offset: number): bigint {
    return guestBase + BigInt(offset);
  }

  /**
   * Reads 16 bits, at an even offset, as an index or flag that another thread writes: what is read
   * after it is at least as new.
   */
  loadWord(offset: number): number {
    return Atomics.load(this.#words, offset / 2);
  }

  /** Writes the lowest 16 bits of `value` so: whoever sees them sees what was written before. */
  storeWord(offset: number, value: number): void {
    Atomics.store(this.#words, offset / 2, value & 0xffff);
  }

  /** Writes that address into a descriptor at `at`, without the cost of a bigint. */
  writeGuestAddress(at: number, offset: number): void {
    this.view.setUint32(at, offset % wordRange, true);
    this.view.setUint32(at + 4, guestBaseHigh + Math.floor(offset / wordRange), true);
  }

  /** The user address of the byte at `offset`. */
  userAddress(offset: number): bigint {
    const at = BigInt(offset);
    const region = this.#regions.find(
      ({ mmapOffset, sizeBytes }) => at >= mmapOffset && at < mmapOffset + sizeBytes,
    );
    if (region === undefined) {
      throw new RangeError(`offset ${offset} is outside memory of ${this.bytes.length} bytes`);
    }
    return region.userAddress + at - region.mmapOffset;
  }

  /**
   * Closes the file and gives the memory back: `bytes` and `view` are empty afterwards. Idempotent.
   */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#file.close();
    native().unmapFile(this.bytes.buffer as ArrayBuffer);
  }

  #take(offset: number, lengthBytes: number): number {
    const unplugged = this.#plugged.indexOf(false);
    const endBytes =
      unplugged === -1 ? this.bytes.length : Number(this.#regions[unplugged]!.mmapOffset);
    if (offset + lengthBytes > endBytes) {
      throw failure('memory-used-up', { bytes: lengthBytes, offset, endBytes });
    }
    this.#allocatedBytes = offset + lengthBytes;
    return offset;
  }
}

/** Bytes that a region of this kind has a multiple of. */
export function pageBytesOf(kind: MemoryKind): number {
  return kind === 'hugetlbfs' ? 2 << 20 : 4096;
}

export function roundUp(value: number, step: number): number {
  return Math.ceil(value / step) * step;
}

/**
 * An open file that has no name any more. Node keeps account of fds that it opened, and of no
 * others.
 */
interface MemoryFile {
  readonly fd: number;
  close(): void;
}

function openMemoryFile(kind: MemoryKind, sizeBytes: number, hugetlbfs: string): MemoryFile {
  if (kind === 'memfd') {
    const fd = native().memfdCreate('tsvswitch-test-guest', sizeBytes);
    return { fd, close: () => native().closeFd(fd) };
  }
  const folder = mkdtempSync(join(kind === 'file' ? tmpdir() : hugetlbfs, 'tsvswitch-guest-'));
  try {
    const fd = openSync(join(folder, 'memory'), 'wx+', 0o600);
    ftruncateSync(fd, sizeBytes);
    return { fd, close: () => closeSync(fd) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
