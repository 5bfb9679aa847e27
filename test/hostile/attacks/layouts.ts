/**
 * Rings that are odd but legal: classes 3, 5, 13 and 19, in both ring formats and both directions.
 * A frame has to arrive whole however its buffer lies in memory.
 */

import { VIRTQ_DESC_F_WRITE as WRITE } from '../../../src/testing/split-ring.ts';
import { NotForwarded } from '../outcome.ts';
import {
  chained,
  type Format,
  formats,
  headerBytes,
  type Link,
  packet,
  RawQueue,
  receiveq,
  transmitq,
} from '../raw-queue.ts';
import { type AttackerOptions, fromAttacker, type Stage, toAttacker } from '../stage.ts';
import type { Attack } from './attack.ts';

/** More than the longest chain here. */
const queueSize = 64;

export interface Layout {
  readonly class: number;
  readonly name: string;
  /** Both unless given. */
  readonly only?: Format;
  readonly options?: AttackerOptions;
  readonly id?: number;
  /** A chain of these bytes, which lie in the ring's memory now. */
  readonly links: (ring: RawQueue, bytes: Uint8Array) => readonly Link[];
}

/** A buffer cut into pieces of these lengths; the last takes what is left. */
function pieces(ring: RawQueue, bytes: Uint8Array, lengths: readonly number[]): Link[] {
  let at = 0;
  const cuts = [...lengths, bytes.length - lengths.reduce((sum, length) => sum + length, 0)];
  return cuts.map((lengthBytes) => {
    at += lengthBytes;
    return ring.buffer(bytes.subarray(at - lengthBytes, at));
  });
}

const layouts: readonly Layout[] = [
  {
    class: 3,
    name: 'a buffer that crosses from one region into the next',
    options: { memoryRegions: 2, memorySizeBytes: 2 << 20 },
    links({ guest: { memory } }, bytes) {
      const offset = memory.bytes.length / 2 - 40;
      memory.bytes.set(bytes, offset);
      return [{ address: memory.guestAddress(offset), lengthBytes: bytes.length }];
    },
  },
  {
    class: 5,
    name: 'buffers without a byte before, within and behind a frame',
    links: (ring, bytes) => pieces(ring, bytes, [0, 30, 0, 0, bytes.length - 30]),
  },
  ...Array.from(
    { length: headerBytes },
    (_, i): Layout => ({
      class: 13,
      name: `a header over ${i + 1} descriptors`,
      links: (ring, bytes) => pieces(ring, bytes, [...Array(i).fill(1), headerBytes - i]),
    }),
  ),
  {
    class: 13,
    name: 'a descriptor for every second byte of header and frame',
    links: (ring, bytes) => pieces(ring, bytes, Array(bytes.length / 2 - 1).fill(2)),
  },
  {
    class: 19,
    name: 'a buffer id that no ring of this size has',
    only: 'packed',
    id: 0xfffe,
    links: (ring, bytes) => [ring.buffer(bytes)],
  },
];

export function layoutsIn(format: Format): Layout[] {
  return layouts.filter(({ only = format }) => only === format);
}

/**
 * Sends or receives one frame by a chain that lies so, and returns its ring; throws NotForwarded.
 */
export async function move(
  stage: Stage,
  format: Format,
  queue: number,
  { options, links, id = 0 }: Layout,
): Promise<RawQueue> {
  const isReceiving = queue === receiveq;
  const receiveBuffers = isReceiving ? 0 : 8;
  const guest = await stage.attacker(format, { queueSize, ...options, receiveBuffers });
  await (isReceiving ? stage.hear(guest) : stage.reach(guest));
  const ring = new RawQueue(guest, queue);
  const sent = packet(isReceiving ? toAttacker(5) : fromAttacker(5));
  const flags = isReceiving ? WRITE : 0;
  const chain = chained(
    links(ring, isReceiving ? new Uint8Array(sent.length) : sent).map((link) => ({
      ...link,
      flags,
    })),
  );
  ring.offer(chain, id);
  if (!isReceiving) {
    ring.kick();
    await stage.arrives(sent.subarray(headerBytes));
    return ring;
  }
  await stage.peer.send(toAttacker(5));
  const deadlineMs = performance.now() + stage.backend.patienceMs;
  while (!ring.isDrained && performance.now() < deadlineMs) await stage.goOn();
  const received = Buffer.concat(chain.map((link) => ring.bytesOf(link)));
  const isWhole = Buffer.compare(received.subarray(headerBytes), sent.subarray(headerBytes)) === 0;
  if (!ring.isDrained || !isWhole) throw new NotForwarded();
  return ring;
}

export const oddLayouts: readonly Attack[] = formats.flatMap((format) =>
  [receiveq, transmitq].flatMap((queue) =>
    layoutsIn(format).map((layout) => ({
      class: layout.class,
      format,
      name: `${layout.name}, in the ${queue === receiveq ? 'receiveq' : 'transmitq'}`,
      strike: async (stage: Stage) => {
        await move(stage, format, queue, layout);
      },
    })),
  ),
);
