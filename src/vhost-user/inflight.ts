/**
 * The shared region in which a backend would note the chains it holds, as this backend formats it.
 *
 * The data plane returns every chain in the round that took it, in ring order, and holds none
 * between rounds. So nothing is ever written here after the region is made: at any time it says,
 * rightly, that no chain is in flight, and whoever takes over goes on at the used index. A packed
 * ring keeps its used index nowhere but in such a region, and this one would not have it; for
 * packed rings none is given, which the protocol spells as a size of 0.
 *
 * Pure. Source: vhost-user "Inflight I/O tracking" (QueueRegionSplit, DescStateSplit).
 */

import type { Backend, FilePiece } from './backend.ts';
import type { InflightArea } from './message.ts';
import { refusal } from './refusal.ts';
import { ringSizeMax } from './ring-format.ts';

const headBytes = 16;
const versionOffset = 8;
const descNumOffset = 10;
const version = 1;
const descriptorStateBytes = 16;
/** Every queue's part begins on a cache line, as in libvhost-user and DPDK. */
const queueAlignBytes = 64;

function queueBytes(queueSize: number): number {
  const bytes = headBytes + queueSize * descriptorStateBytes;
  return Math.ceil(bytes / queueAlignBytes) * queueAlignBytes;
}

export function inflightBytes(queues: number, queueSize: number): number {
  return queues * queueBytes(queueSize);
}

/** What has to be in the otherwise zeroed region: version and size in the head of each queue. */
export function inflightHeads(queues: number, queueSize: number): FilePiece[] {
  return Array.from({ length: queues }, (_, queue) => {
    const bytes = new Uint8Array(headBytes);
    const fields = new DataView(bytes.buffer);
    fields.setUint16(versionOffset, version, true);
    fields.setUint16(descNumOffset, queueSize, true);
    return { offsetBytes: queue * queueBytes(queueSize), bytes };
  });
}

/** A new region, and its file's fd, the caller's; none for packed rings. Throws Refusal. */
export function createInflight(
  wanted: InflightArea,
  ringCount: number,
  isPacked: boolean,
  backend: Pick<Backend, 'createMemoryFile'>,
): { area: InflightArea; fd: number | undefined } {
  const { queues, queueSize } = wanted;
  checkInflight(wanted, ringCount);
  if (isPacked) return { area: { ...wanted, sizeBytes: 0n, offsetBytes: 0n }, fd: undefined };
  const sizeBytes = inflightBytes(queues, queueSize);
  const fd = backend.createMemoryFile(sizeBytes, inflightHeads(queues, queueSize));
  return { area: { ...wanted, sizeBytes: BigInt(sizeBytes), offsetBytes: 0n }, fd };
}

/** Throws Refusal if a device of `ringCount` rings has no such queues. */
export function checkInflight({ queues, queueSize }: InflightArea, ringCount: number): void {
  if (queues < 1 || queues > ringCount) {
    throw refusal('inflight-queues', { queues, max: ringCount });
  }
  if (queueSize < 1 || queueSize > ringSizeMax) {
    throw refusal('ring-size', { size: queueSize, max: ringSizeMax });
  }
}

/** Throws Refusal if a region that comes back has no room for its queues. */
export function checkReturnedInflight(area: InflightArea, ringCount: number): void {
  checkInflight(area, ringCount);
  const { queues, queueSize, sizeBytes } = area;
  const needed = inflightBytes(queues, queueSize);
  if (sizeBytes < needed) {
    const bytes = String(sizeBytes);
    throw refusal('inflight-too-small', { bytes, needed, queues, size: queueSize });
  }
}
