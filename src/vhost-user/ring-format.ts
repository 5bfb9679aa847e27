/**
 * Where a split and a packed ring differ for a frontend: sizes, parts and what a base means. Pure.
 *
 * The three addresses of SET_VRING_ADDR keep their names: in a packed ring `avail` is the driver
 * area and `used` the device area, four bytes each (their event suppression structures).
 *
 * Sources: virtio 1.2 §2.7 (split: sizes, alignments), §2.7.10.1 (size 32768), §2.8.10.1 (packed);
 * vhost-user "Vring descriptor indices for packed virtqueues".
 */

import type { RingAddresses } from '../native/addon.ts';
import { refusal } from './refusal.ts';

type RingPart = Exclude<keyof RingAddresses, 'usedLogAddress'>;

interface Part {
  readonly name: RingPart;
  readonly alignBytes: bigint;
  readonly lengthBytes: (size: bigint) => bigint;
}

export interface RingFormat {
  readonly parts: readonly Part[];
  /** The base of a ring nobody has used. */
  readonly initialBase: number;
  checkSize(size: number): void;
  /** `size` is undefined as long as it was not told. */
  checkBase(base: number, size: number | undefined): void;
  /** The base as the data plane is to have it. */
  startBase(base: number): number;
}

export const ringSizeMax = 32768;
const splitIndexMax = 0xffff;
const packedIndexMask = 0x7fff;
const packedHalfBits = 16;
const packedHalfMask = 0xffff;
/** Index 0 in both halves; the wrap counters (bits 15 and 31) begin at 1. */
const packedInitialBase = 0x8000_8000;

function checkSizeRange(size: number): void {
  if (size < 1 || size > ringSizeMax) {
    throw refusal('ring-size', { size, max: ringSizeMax });
  }
}

/** Lengths include the event index fields. */
export const splitRing: RingFormat = {
  parts: [
    { name: 'desc', alignBytes: 16n, lengthBytes: (size) => 16n * size },
    { name: 'avail', alignBytes: 2n, lengthBytes: (size) => 6n + 2n * size },
    { name: 'used', alignBytes: 4n, lengthBytes: (size) => 6n + 8n * size },
  ],
  initialBase: 0,
  checkSize(size) {
    checkSizeRange(size);
    if ((size & (size - 1)) !== 0) {
      throw refusal('ring-size-no-power-of-two', { size });
    }
  },
  checkBase(base) {
    if (base > splitIndexMax) {
      throw refusal('ring-base', { base, max: splitIndexMax });
    }
  },
  startBase: (base) => base,
};

export const packedRing: RingFormat = {
  parts: [
    { name: 'desc', alignBytes: 16n, lengthBytes: (size) => 16n * size },
    { name: 'avail', alignBytes: 4n, lengthBytes: () => 4n },
    { name: 'used', alignBytes: 4n, lengthBytes: () => 4n },
  ],
  initialBase: packedInitialBase,
  checkSize: checkSizeRange,
  checkBase(base, size) {
    const index = base & packedIndexMask;
    if (size !== undefined && index >= size) {
      throw refusal('ring-base-beyond-size', { base, index, size });
    }
  },
  // Nothing is in flight while a ring stands, so the next chain to return is the next one to take.
  // DPDK's virtio-user leaves the used half 0, which would be a wrap counter out of step.
  startBase(base) {
    const avail = base & packedHalfMask;
    return avail + avail * 2 ** packedHalfBits;
  },
};
