/**
 * Class 17: a second thread of the guest (rewriter.mjs) rewrites descriptors, headers and indirect
 * tables while the backend reads them. It writes two values in turn to the same place; of each
 * chain the backend has to see one of them, once: what was checked is what is used.
 *
 * The chains of a queue are offered all at once, lap after lap, as they are in memory then. A lap
 * is over when the backend has handed all of it back, or has given the queue up.
 */

import { resolve } from 'node:path';
import { Worker } from 'node:worker_threads';
import {
  VIRTQ_DESC_F_AVAIL as AVAIL,
  VIRTQ_DESC_F_USED as USED,
} from '../../../src/testing/packed-ring.ts';
import {
  VIRTQ_DESC_F_INDIRECT as INDIRECT,
  VIRTQ_DESC_F_NEXT as NEXT,
  VIRTQ_DESC_F_WRITE as WRITE,
} from '../../../src/testing/split-ring.ts';
import { virtioFeatures } from '../../../src/vhost-user/features.ts';
import {
  type Format,
  featuresOf,
  formats,
  type Link,
  packet,
  RawQueue,
  receiveq,
  transmitq,
} from '../raw-queue.ts';
import { fromAttacker, type Stage, toAttacker } from '../stage.ts';
import type { Attack } from './attack.ts';

const rewriter = resolve('test/hostile/rewriter.mjs');
/** What every chain carries. */
export const racedFrame = fromAttacker(1);
const chainBytes = packet(racedFrame).length;
/** A chain that is longer than any frame, all of it mapped. */
const overlongBytes = 0x2_0000;
const needsCsum = 1;
/** Laps of an attack on a backend that cannot be asked what it has seen. */
const lapsWithoutEnd = 200;
/** Bursts of the bystanders after which a lap that is not back never will be. */
const waitsMax = 10;

/** A word of 32 bits, which is written whole: what is read is one value or the other. */
interface Rewrite {
  /** Into guest memory. */
  readonly offset: number;
  readonly values: readonly [number, number];
}

/** What is rewritten in a queue that holds these chains, and how this switch tells. */
export interface Race {
  readonly name: string;
  readonly queue: number;
  /** Both unless given. */
  readonly only?: Format;
  /**
   * Why the queue breaks once the wrong value was seen, or the reason that frames are dropped for.
   */
  readonly outcome: { readonly breaks: string } | { readonly drops: string };
  /** The descriptor of the last chain, if it is another one than those of the others. */
  readonly link?: (ring: RawQueue, buffer: Link) => Link;
  readonly rewrites: (laps: Laps) => readonly Rewrite[];
}

const unmapped = 'a descriptor points outside guest memory';
/** The upper half of an address is 1 in guest memory; below 4 GiB there is none. */
const upperHalf = (at: number): Rewrite => ({ offset: at + 4, values: [1, 0] });

export const races: readonly Race[] = [
  {
    name: 'addresses, within memory and outside',
    queue: transmitq,
    outcome: { breaks: unmapped },
    // One descriptor only: the others are served until its turn comes at the wrong moment.
    rewrites: ({ offsets }) => [upperHalf(offsets.at(-1)!)],
  },
  {
    name: 'addresses of receive buffers, within memory and outside',
    queue: receiveq,
    outcome: { breaks: unmapped },
    rewrites: ({ offsets }) => [upperHalf(offsets.at(-1)!)],
  },
  {
    name: 'an entry of an indirect table, within memory and outside',
    queue: transmitq,
    outcome: { breaks: unmapped },
    link: (ring, buffer) => ({
      address: ring.guest.memory.guestAddress(ring.table([buffer])),
      lengthBytes: 16,
      flags: INDIRECT,
    }),
    rewrites: ({ lastOffset }) => [upperHalf(lastOffset)],
  },
  {
    name: 'the next of a descriptor, to another one and beyond the queue',
    queue: transmitq,
    only: 'split',
    outcome: { breaks: "a descriptor's next lies beyond its table" },
    rewrites: ({ offsets }) => {
      const word = (next: number) => (next << 16) | NEXT;
      return [{ offset: offsets.at(-1)! + 12, values: [word(0), word(offsets.length)] }];
    },
  },
  {
    name: 'lengths, of a frame and of far more',
    queue: transmitq,
    outcome: { drops: 'tooLong' },
    rewrites: ({ offsets }) =>
      offsets.map((at) => ({ offset: at + 8, values: [chainBytes, overlongBytes] })),
  },
  {
    name: 'headers, plain and with a checksum behind the frame',
    queue: transmitq,
    outcome: { drops: 'badHeader' },
    rewrites: ({ ring, lastOffset }) => {
      // csum_start and csum_offset lie all along, and mean nothing while flags do not ask for them.
      ring.guest.memory.bytes.fill(0xff, lastOffset + 6, lastOffset + 10);
      return [{ offset: lastOffset, values: [0, needsCsum] }];
    },
  },
];

export function racesIn(format: Format): Race[] {
  return races.filter(({ only = format }) => only === format);
}

/** The chains of the whole ring, lap after lap. */
export class Laps {
  readonly ring: RawQueue;
  /** Of every descriptor: where it lies in guest memory. */
  readonly offsets: readonly number[];
  /** Where what the last descriptor refers to lies: the buffer of all chains, or a table. */
  readonly lastOffset: number;
  readonly #links: readonly Link[];
  #lap = -1;

  constructor(ring: RawQueue, describe: Race['link'] = (_, buffer) => buffer) {
    this.ring = ring;
    const { memory, queuePairs } = ring.guest;
    const { driver } = queuePairs[0]![ring.queue === transmitq ? 'transmitq' : 'receiveq'];
    const first = Number(driver.addresses.desc - memory.userAddress(0));
    this.offsets = Array.from({ length: ring.size }, (_, i) => first + 16 * i);
    const flags = ring.queue === transmitq ? 0 : WRITE;
    const link = ring.buffer(packet(racedFrame), flags);
    const last = describe(ring, link);
    this.lastOffset = Number(last.address - memory.guestAddress(0));
    this.#links = this.offsets.map((_, i) => (i === ring.size - 1 ? last : link));
    for (const [i, offset] of this.offsets.entries()) {
      const { address, flags: linkFlags = 0 } = this.#links[i]!;
      memory.view.setBigUint64(offset, address, true);
      if (ring.format === 'split') memory.view.setUint16(offset + 12, linkFlags, true);
    }
  }

  /** One more lap. */
  offer(): void {
    const { guest, size, queue, format } = this.ring;
    this.#lap++;
    // A device writes the length, too, into descriptors of a packed ring.
    for (const [i, { lengthBytes }] of this.#links.entries()) {
      guest.memory.view.setUint32(this.offsets[i]! + 8, lengthBytes, true);
    }
    if (format === 'split') {
      const ring = guest.raw.splitRing(queue);
      for (let slot = 0; slot < size; slot++) ring.setAvailEntry(slot, slot);
      ring.availIndex = ((this.#lap + 1) * size) & 0xffff;
    } else {
      const ring = guest.raw.packedRing(queue);
      const owner = this.#lap % 2 === 0 ? AVAIL : USED;
      for (let at = size - 1; at >= 0; at--) {
        ring.setFlags(at, (this.#links[at]!.flags ?? 0) | owner);
      }
    }
  }

  /** Whether all of the lap was handed back. */
  get isBack(): boolean {
    const { guest, size, queue, format } = this.ring;
    if (format === 'split') {
      return guest.raw.splitRing(queue).usedIndex === (((this.#lap + 1) * size) & 0xffff);
    }
    const owner = AVAIL | USED;
    return (
      (guest.raw.packedRing(queue).flags(size - 1) & owner) === (this.#lap % 2 === 0 ? owner : 0)
    );
  }
}

/** Rewrites guest memory from now until the returned function has returned. */
async function rewrite(ring: RawQueue, rewrites: readonly Rewrite[]): Promise<() => Promise<void>> {
  const { fd, bytes } = ring.guest.memory;
  const word = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(rewriter, {
    workerData: { fd, sizeBytes: bytes.length, rewrites, word },
  });
  const exited = new Promise<void>((resolve, reject) => {
    worker.once('error', reject);
    worker.once('exit', () => resolve());
  });
  await Promise.race([new Promise((resolve) => worker.once('message', resolve)), exited]);
  return async () => {
    Atomics.store(word, 0, 1);
    await exited;
  };
}

/**
 * How far a race has come: whole laps, and bursts of the bystanders since the present one began.
 */
export interface Progress {
  readonly laps: number;
  readonly waits: number;
}

/** Runs laps until there have been enough. */
export async function run(
  stage: Stage,
  format: Format,
  race: Race,
  isEnough: (progress: Progress) => boolean | Promise<boolean>,
): Promise<void> {
  const guest = await stage.attacker(format, {
    features: featuresOf(format) | virtioFeatures.VIRTIO_NET_F_CSUM,
    receiveBuffers: race.queue === transmitq ? 8 : 0,
  });
  await (race.queue === transmitq ? stage.reach(guest) : stage.hear(guest));
  const ring = new RawQueue(guest, race.queue);
  const laps = new Laps(ring, race.link);
  const stop = await rewrite(ring, race.rewrites(laps));
  try {
    for (const progress = { laps: 0, waits: 0 }; !(await isEnough(progress)); ) {
      if (progress.laps === 0 || laps.isBack) {
        progress.laps++;
        progress.waits = 0;
        laps.offer();
        if (race.queue === transmitq) ring.kick();
        else await stage.peer.sendAll(Array.from({ length: ring.size }, () => toAttacker(1)));
      }
      await stage.goOn();
      progress.waits++;
    }
  } finally {
    await stop();
  }
}

export const racingGuests: readonly Attack[] = formats.flatMap((format) =>
  racesIn(format).map((race) => ({
    class: 17,
    format,
    name: race.name,
    strike: (stage: Stage) =>
      run(stage, format, race, ({ laps, waits }) => laps >= lapsWithoutEnd || waits >= waitsMax),
  })),
);
