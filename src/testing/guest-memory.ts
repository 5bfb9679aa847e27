/**
 * The memory of a guest that exists only in this process: a file, mapped here and shared with the
 * backend, with an allocator that only grows.
 *
 * Three address spaces meet in it and are numerically far apart, so that a mix-up is an address
 * outside memory and not a silent success: offsets into the file (number), guest addresses and user
 * addresses (bigint). Memory can be split into regions that touch each other in the guest's view and
 * do not in the user's, as with a QEMU that has more than one memory backend.
 *
 * mmap-io unmaps when the Buffer is collected; close() only closes the file.
 */

import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import mmapIo from 'mmap-io';
import { TsvswitchError } from '../errors.ts';
import { type MappedRegion, native } from '../native.ts';

// Its declarations describe an ES module, but it is CommonJS: what they call default is the import.
const mmap = mmapIo as unknown as typeof mmapIo.default;

export type MemoryKind = 'memfd' | 'file' | 'hugetlbfs';

export interface GuestMemoryOptions {
  /** 'memfd' unless given; 'file' lies in the temporary folder. */
  readonly kind?: MemoryKind;
  /** Bytes, a multiple of the page size (2 MiB with hugetlbfs) for each region. */
  readonly sizeBytes: number;
  /** Number of equal regions; 1 unless given. */
  readonly regions?: number;
  /** Where hugetlbfs is mounted; /dev/hugepages unless given. */
  readonly hugetlbfs?: string;
}

const guestBase = 0x1_0000_0000n;
const userBase = 0x7f00_0000_0000n;
/** Keeps regions apart in the user's view. */
const userGapBytes = 0x1000_0000n;

export class GuestMemory {
  readonly fd: number;
  /** The whole of memory. */
  readonly bytes: Buffer;
  readonly view: DataView;
  /** The same bytes for Atomics: indexes and flags of rings are 16 bits wide. */
  readonly words: Uint16Array;
  readonly #regions: readonly MappedRegion[];
  #allocatedBytes = 0;
  #closed = false;

  private constructor(fd: number, sizeBytes: number, regionCount: number) {
    this.fd = fd;
    this.bytes = mmap.map(
      sizeBytes,
      (mmap.PROT_READ | mmap.PROT_WRITE) as 3,
      mmap.MAP_SHARED,
      fd,
      0,
    );
    const { buffer, byteOffset } = this.bytes;
    this.view = new DataView(buffer, byteOffset, sizeBytes);
    this.words = new Uint16Array(buffer, byteOffset, sizeBytes / 2);
    const regionBytes = BigInt(sizeBytes / regionCount);
    this.#regions = Array.from({ length: regionCount }, (_, i) => ({
      fd,
      guestAddress: guestBase + BigInt(i) * regionBytes,
      sizeBytes: regionBytes,
      userAddress: userBase + BigInt(i) * (regionBytes + userGapBytes),
      mmapOffset: BigInt(i) * regionBytes,
    }));
  }

  static create(options: GuestMemoryOptions): GuestMemory {
    const { sizeBytes, regions = 1, kind = 'memfd' } = options;
    const pageBytes = kind === 'hugetlbfs' ? 2 << 20 : 4096;
    if (!(regions >= 1) || !(sizeBytes > 0) || sizeBytes % (regions * pageBytes) !== 0) {
      throw new TsvswitchError(
        'BAD_OPTION',
        `guest memory: ${sizeBytes} bytes cannot be cut into ${regions} regions of whole ` +
          `${pageBytes}-byte pages`,
      );
    }
    const fd = openMemoryFile(kind, sizeBytes, options.hugetlbfs ?? '/dev/hugepages');
    try {
      return new GuestMemory(fd, sizeBytes, regions);
    } catch (cause) {
      closeSync(fd);
      throw new TsvswitchError(
        'MEMORY_UNMAPPABLE',
        `guest memory: ${sizeBytes} bytes of ${kind} cannot be mapped (${(cause as Error).message})`,
        { cause },
      );
    }
  }

  /** What SET_MEM_TABLE says. */
  get regions(): readonly MappedRegion[] {
    return this.#regions;
  }

  /** Takes `lengthBytes` nobody else has and returns their offset. */
  allocate(lengthBytes: number, alignBytes: number): number {
    const offset = Math.ceil(this.#allocatedBytes / alignBytes) * alignBytes;
    if (offset + lengthBytes > this.bytes.length) {
      throw new TsvswitchError(
        'BAD_OPTION',
        `guest memory: ${lengthBytes} bytes do not fit behind the ${offset} in use of ` +
          `${this.bytes.length}; ask for more memory`,
      );
    }
    this.#allocatedBytes = offset + lengthBytes;
    return offset;
  }

  /** The guest address of the byte at `offset`; regions touch, so this is one line. */
  guestAddress(offset: number): bigint {
    return guestBase + BigInt(offset);
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

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    closeSync(this.fd);
  }
}

/** An open file of `sizeBytes` that has no name any more. */
function openMemoryFile(kind: MemoryKind, sizeBytes: number, hugetlbfs: string): number {
  if (kind === 'memfd') return native().memfdCreate('tsvswitch-test-guest', sizeBytes);
  const folder = mkdtempSync(join(kind === 'file' ? tmpdir() : hugetlbfs, 'tsvswitch-guest-'));
  try {
    const fd = openSync(join(folder, 'memory'), 'wx+', 0o600);
    ftruncateSync(fd, sizeBytes);
    return fd;
  } finally {
    rmSync(folder, { recursive: true });
  }
}
