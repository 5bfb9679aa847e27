/**
 * Rings that break: classes 1, 2, 4 to 12, 18 and 19, in both ring formats and both directions.
 * Each is what a driver offers once, and the reason for which this switch gives up the queue.
 */

import {
  VIRTQ_DESC_F_INDIRECT as INDIRECT,
  VIRTQ_DESC_F_NEXT as NEXT,
  VIRTQ_DESC_F_WRITE as WRITE,
} from '../../../src/testing/split-ring.ts';
import { virtioFeatures } from '../../../src/vhost-user/features.ts';
import {
  chained,
  type Format,
  featuresOf,
  formats,
  type Link,
  RawQueue,
  receiveq,
  transmitq,
} from '../raw-queue.ts';
import { type Stage, toAttacker } from '../stage.ts';
import type { Attack } from './attack.ts';

const unmapped = 'a descriptor points outside guest memory';
const tooLong = 'a descriptor chain is a loop or longer than the queue size';
const incomplete = 'a descriptor chain runs into descriptors that are not available';
const beyond = "a descriptor's next lies beyond its table";
const nested = 'an indirect descriptor is nested or also has NEXT';
const badTable = 'an indirect table is empty, of odd size or longer than the queue size';

/** What a driver may offer; `flag` is what makes a descriptor right for the queue's direction. */
export interface Violation {
  readonly class: number;
  readonly name: string;
  readonly reason: string;
  /** Both unless given. */
  readonly only?: Format;
  readonly queues?: readonly number[];
  /** Instead of the format's usual ones. */
  readonly without?: bigint;
  readonly commit: (ring: RawQueue, flag: number) => void;
}

const lastByte = ({ guest: { memory } }: RawQueue) => memory.guestAddress(memory.bytes.length - 1);

/** Descriptor 0 refers to an indirect table. */
function indirect(
  entries: (ring: RawQueue, flag: number) => Link[],
  change: Partial<Link> = {},
): Violation['commit'] {
  return (ring, flag) => {
    const table = entries(ring, flag);
    const address = ring.guest.memory.guestAddress(ring.table(table));
    ring.offer([{ address, lengthBytes: 16 * table.length, flags: INDIRECT, ...change }]);
  };
}

const oneEntry = (ring: RawQueue, flag: number) => [ring.buffer(64, flag)];

export const violations: readonly Violation[] = [
  {
    class: 1,
    name: 'an address outside all regions',
    reason: unmapped,
    commit: (ring, flags) => ring.offer([{ address: 0x10n, lengthBytes: 64, flags }]),
  },
  {
    class: 2,
    name: 'a buffer that begins inside memory and ends outside',
    reason: unmapped,
    commit: (ring, flags) => ring.offer([{ address: lastByte(ring), lengthBytes: 64, flags }]),
  },
  {
    class: 4,
    name: 'address and length that wrap 64 bits',
    reason: unmapped,
    commit: (ring, flags) =>
      ring.offer([{ address: 0xffff_ffff_ffff_fff0n, lengthBytes: 0xffff_ffff, flags }]),
  },
  {
    class: 6,
    name: 'a length of 4 GiB that begins at the last byte',
    reason: unmapped,
    commit: (ring, flags) =>
      ring.offer([{ address: lastByte(ring), lengthBytes: 0xffff_ffff, flags }]),
  },
  {
    class: 7,
    name: 'a next beyond the queue',
    reason: beyond,
    only: 'split',
    commit: (ring, flag) => ring.offer([{ ...ring.buffer(8, flag | NEXT), next: ring.size }]),
  },
  {
    class: 7,
    name: 'a next into descriptors that are not available',
    reason: incomplete,
    only: 'packed',
    commit: (ring, flag) => ring.offer([ring.buffer(8, flag | NEXT)]),
  },
  {
    class: 8,
    name: 'a descriptor that is its own next',
    reason: tooLong,
    only: 'split',
    commit: (ring, flag) => ring.offer([{ ...ring.buffer(1, flag | NEXT), next: 0 }]),
  },
  {
    class: 8,
    name: 'a loop of two descriptors without a byte',
    reason: tooLong,
    only: 'split',
    commit: (ring, flag) => {
      const empty = { ...ring.buffer(1, flag | NEXT), lengthBytes: 0 };
      ring.offer([empty, { ...empty, next: 0 }]);
    },
  },
  ...[0, 1].map(
    (lengthBytes): Violation => ({
      class: 8,
      name: `a chain around the whole ring, each of ${lengthBytes} bytes`,
      reason: tooLong,
      commit: (ring, flag) => {
        const link = { ...ring.buffer(1, flag | NEXT), lengthBytes };
        const links = Array.from({ length: ring.size }, () => link);
        ring.offer(links.map((each, i) => ({ ...each, next: (i + 1) % ring.size })));
      },
    }),
  ),
  ...[17, 0x8000, 0xffff].map(
    (jump): Violation => ({
      class: 9,
      name: `an avail index that jumps by ${jump}`,
      reason: 'the avail index moved by more than the queue size',
      only: 'split',
      commit: (ring) => {
        ring.guest.raw.splitRing(ring.queue).availIndex = jump;
      },
    }),
  ),
  ...[16, 0xffff].map(
    (head): Violation => ({
      class: 10,
      name: `an avail ring entry of ${head}`,
      reason: 'the avail ring names a descriptor beyond the queue size',
      only: 'split',
      commit: (ring) => {
        const split = ring.guest.raw.splitRing(ring.queue);
        split.setAvailEntry(0, head);
        split.availIndex = 1;
      },
    }),
  ),
  {
    class: 11,
    name: 'an indirect table of an odd size',
    reason: badTable,
    commit: indirect(oneEntry, { lengthBytes: 17 }),
  },
  { class: 11, name: 'an empty indirect table', reason: badTable, commit: indirect(() => []) },
  {
    class: 11,
    name: 'an indirect table longer than the queue',
    reason: badTable,
    commit: indirect((ring, flag) =>
      chained(Array.from({ length: ring.size + 1 }, () => ring.buffer(1, flag))),
    ),
  },
  {
    class: 11,
    name: 'an indirect table of 4 GiB',
    reason: badTable,
    commit: indirect(oneEntry, { lengthBytes: 0xffff_fff0 }),
  },
  {
    class: 11,
    name: 'an indirect descriptor that has a next',
    reason: nested,
    commit: indirect(oneEntry, { flags: INDIRECT | NEXT }),
  },
  {
    class: 11,
    name: 'an indirect table within an indirect table',
    reason: nested,
    // Of a packed table only WRITE means anything, so there it is no violation but a plain buffer.
    only: 'split',
    commit: indirect((ring, flag) => [ring.buffer(64, flag | INDIRECT)]),
  },
  {
    class: 11,
    name: 'an indirect table behind a buffer',
    reason: nested,
    only: 'packed',
    commit: (ring, flag) =>
      ring.offer([ring.buffer(16, flag | NEXT), ring.buffer(16, flag | INDIRECT)]),
  },
  {
    class: 11,
    name: 'a loop within an indirect table',
    reason: tooLong,
    only: 'split',
    commit: indirect((ring, flag) => [{ ...ring.buffer(1, flag | NEXT), next: 0 }]),
  },
  {
    class: 11,
    name: 'a next beyond the indirect table',
    reason: beyond,
    only: 'split',
    commit: indirect((ring, flag) => [ring.buffer(1, flag | NEXT)]),
  },
  {
    class: 11,
    name: 'an indirect table outside memory',
    reason: unmapped,
    commit: indirect(oneEntry, { address: 0x10n }),
  },
  {
    class: 11,
    name: 'an indirect table that ends outside memory',
    reason: unmapped,
    commit: (ring, flag) => {
      const { memory } = ring.guest;
      const address = memory.guestAddress(memory.bytes.length - 16);
      const entry = ring.buffer(8, flag | NEXT);
      memory.bytes.copy(
        memory.bytes,
        memory.bytes.length - 16,
        ring.table([{ ...entry, next: 1 }]),
      );
      ring.offer([{ address, lengthBytes: 32, flags: INDIRECT }]);
    },
  },
  {
    class: 11,
    name: 'an indirect table that was not negotiated',
    reason: 'an indirect descriptor without VIRTIO_F_INDIRECT_DESC',
    without: virtioFeatures.VIRTIO_F_INDIRECT_DESC,
    commit: indirect(oneEntry),
  },
  {
    class: 12,
    name: 'the write flag of the other direction',
    reason: "a descriptor's write flag does not fit the queue's direction",
    commit: (ring, flag) => ring.offer([ring.buffer(64, flag ^ WRITE)]),
  },
  {
    class: 12,
    name: 'the write flag of the other direction in the middle of a chain',
    reason: "a descriptor's write flag does not fit the queue's direction",
    commit: (ring, flag) =>
      ring.offer(
        chained([ring.buffer(8, flag), ring.buffer(64, flag ^ WRITE), ring.buffer(64, flag)]),
      ),
  },
  {
    class: 18,
    name: 'a receive buffer smaller than the header',
    reason: 'a receive buffer is smaller than the virtio-net header',
    queues: [receiveq],
    commit: (ring, flag) => ring.offer([ring.buffer(11, flag)]),
  },
  {
    class: 18,
    name: 'a receive buffer without a byte',
    reason: 'a receive buffer is smaller than the virtio-net header',
    queues: [receiveq],
    commit: (ring, flags) => ring.offer([{ address: lastByte(ring), lengthBytes: 0, flags }]),
  },
  {
    class: 19,
    name: 'a chain longer than the packed ring',
    reason: incomplete,
    only: 'packed',
    commit: (ring, flag) => {
      // The whole ring but one descriptor, and no end in sight.
      ring.offer(Array.from({ length: ring.size - 1 }, () => ring.buffer(1, flag | NEXT)));
    },
  },
];

/** Those that a queue of this format can commit. */
export function violationsIn(format: Format, queue: number): Violation[] {
  return violations.filter(
    ({ only = format, queues = [receiveq, transmitq] }) =>
      only === format && queues.includes(queue),
  );
}

/** A guest whose other queue has been seen to work commits it, and asks for attention twice. */
export async function commit(
  stage: Stage,
  format: Format,
  queue: number,
  { without = 0n, commit }: Violation,
): Promise<void> {
  const guest = await stage.attacker(format, {
    features: featuresOf(format) & ~without,
    receiveBuffers: queue === receiveq ? 0 : 8,
  });
  // Unicast reaches a receiveq whose guest has been heard; the queue itself is to be found as it
  // is.
  await (queue === receiveq ? stage.hear(guest) : stage.reach(guest));
  const ring = new RawQueue(guest, queue);
  commit(ring, queue === receiveq ? WRITE : 0);
  for (let i = 0; i < 2; i++) {
    // A worker looks at a transmitq when it is kicked, at a receiveq when it has a frame for it.
    if (queue === transmitq) ring.kick();
    else await stage.peer.send(toAttacker());
    await stage.goOn(2);
  }
}

export const brokenRings: readonly Attack[] = formats.flatMap((format) =>
  [receiveq, transmitq].flatMap((queue) =>
    violationsIn(format, queue).map((violation) => ({
      class: violation.class,
      format,
      name: `${violation.name}, in the ${queue === receiveq ? 'receiveq' : 'transmitq'}`,
      strike: (stage: Stage) => commit(stage, format, queue, violation),
    })),
  ),
);
