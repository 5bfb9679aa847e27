/**
 * Class 17: a second thread of the guest rewrites descriptors and headers while the switch reads them. It
 * writes two values in turn to the same place; of each chain the switch has to see one of them, once:
 * what was checked is what is used. That both were seen is shown by what became of the frames.
 */

import { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import {
  VIRTQ_DESC_F_AVAIL as AVAIL,
  VIRTQ_DESC_F_USED as USED,
} from '../../src/testing/packed-ring.ts';
import { virtioFeatures } from '../../src/vhost-user/features.ts';
import { destinationOf } from '../support/ethernet.ts';
import { Arena, fromAttacker } from './arena.ts';
import { type Format, featuresOf, formats, RawQueue, transmitq } from './raw-queue.ts';

const headerBytes = 12;
const chainBytes = headerBytes + 60;
/** A chain that is longer than any frame, all of it mapped. */
const overlongBytes = 0x2_0000;
const needsCsum = 1;
const limitMs = 5000;

let arena: Arena;
beforeAll(async () => {
  arena = await Arena.open();
});
afterAll(() => arena.close());

/** A word of 32 bits, which is written whole: what is read is one value or the other. */
interface Rewrite {
  /** Into guest memory. */
  readonly offset: number;
  readonly values: readonly [number, number];
}

/** Rewrites guest memory from now until the returned function has returned. */
async function rewrite(ring: RawQueue, rewrites: readonly Rewrite[]): Promise<() => Promise<void>> {
  const { fd, bytes } = ring.guest.memory;
  const word = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(new URL('./rewriter.mjs', import.meta.url), {
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

/** Offers descriptor after descriptor of the whole ring, lap after lap, as they are in memory. */
class Laps {
  readonly #ring: RawQueue;
  /** Of every descriptor: where it lies in guest memory. */
  readonly offsets: readonly number[];
  #lap = 0;

  constructor(ring: RawQueue) {
    this.#ring = ring;
    const { memory } = ring.guest;
    const { desc } = ring.guest.transmitq.driver.addresses;
    const first = Number(desc - memory.userAddress(0));
    this.offsets = Array.from({ length: ring.size }, (_, i) => first + 16 * i);
    const bytes = new Uint8Array(chainBytes);
    bytes.set(fromAttacker(1), headerBytes);
    const { address } = ring.buffer(bytes);
    for (const offset of this.offsets) {
      memory.view.setBigUint64(offset, address, true);
      memory.view.setUint32(offset + 8, chainBytes, true);
    }
  }

  /** Where the one buffer of all descriptors lies. */
  get bufferOffset(): number {
    const { memory } = this.#ring.guest;
    return Number(memory.view.getBigUint64(this.offsets[0]!, true) - memory.guestAddress(0));
  }

  /** One more lap; false once the queue no longer gives them back. */
  async run(): Promise<boolean> {
    const { guest, size, format } = this.#ring;
    const { view } = guest.memory;
    const lap = this.#lap++;
    // A device writes the length, too, into descriptors of a packed ring.
    for (const at of this.offsets) view.setUint32(at + 8, chainBytes, true);
    if (format === 'split') {
      const ring = guest.raw.splitRing(transmitq);
      for (let slot = 0; slot < size; slot++) ring.setAvailEntry(slot, slot);
      ring.availIndex = (lap + 1) * size;
    } else {
      const ring = guest.raw.packedRing(transmitq);
      for (let at = size - 1; at >= 0; at--) ring.setFlags(at, lap % 2 === 0 ? AVAIL : USED);
    }
    this.#ring.kick();
    const isBack = () => {
      if (format === 'split') {
        return guest.raw.splitRing(transmitq).usedIndex === (((lap + 1) * size) & 0xffff);
      }
      const flags = guest.raw.packedRing(transmitq).flags(size - 1);
      return (flags & (AVAIL | USED)) === (lap % 2 === 0 ? AVAIL | USED : 0);
    };
    const deadlineMs = performance.now() + limitMs;
    while (!isBack()) {
      if (arena.warnings.length > 0) return false;
      if (performance.now() > deadlineMs) throw new Error(`lap ${lap} was not handed back`);
      await new Promise(setImmediate);
    }
    return true;
  }
}

async function start(format: Format): Promise<{ ring: RawQueue; laps: Laps }> {
  const guest = await arena.connect({
    features: featuresOf(format) | virtioFeatures.VIRTIO_NET_F_CSUM,
    receiveBuffers: 8,
  });
  const ring = new RawQueue(guest, transmitq);
  return { ring, laps: new Laps(ring) };
}

/** Runs laps until as many frames as these were both forwarded and dropped for the reason. */
async function untilBoth(laps: Laps, drop: string): Promise<void> {
  const wanted = 20;
  const before = await arena.status();
  const isEnough = async () => {
    const { counters } = await arena.status();
    const forwarded = counters.fromGuest.frames - before.counters.fromGuest.frames;
    const dropped = counters.drops[drop]! - before.counters.drops[drop]!;
    return forwarded >= wanted && dropped >= wanted;
  };
  const deadlineMs = performance.now() + limitMs;
  while (!(await isEnough())) {
    expect(performance.now()).toBeLessThan(deadlineMs);
    for (let i = 0; i < 8; i++) expect(await laps.run()).toBe(true);
  }
}

/** What the peer was sent is what the attacker offered, whole. */
async function expectWhole(): Promise<void> {
  await vi.waitFor(() => expect(arena.peer.pendingFrames).toBeGreaterThan(0));
  for (const { frame } of await arena.peer.receiveAll()) {
    // The bystanders' first frames were flooded to everybody.
    if (destinationOf(frame) !== destinationOf(fromAttacker())) continue;
    expect(Buffer.compare(frame, fromAttacker(1))).toBe(0);
  }
}

describe.each(formats)('class 17: under a thread that rewrites a %s ring', (format) => {
  test('addresses, within memory and outside, the queue breaks when it sees one outside', () =>
    arena.attack(async () => {
      const { ring, laps } = await start(format);
      // One descriptor only: the others are served until its turn comes at the wrong moment.
      // The upper half of its address is 1 for guest memory; below 4 GiB there is none.
      const offset = laps.offsets.at(-1)! + 4;
      const stop = await rewrite(ring, [{ offset, values: [1, 0] }]);
      const deadlineMs = performance.now() + limitMs;
      while (await laps.run()) expect(performance.now()).toBeLessThan(deadlineMs);
      await stop();
      expect(await arena.warning()).toBe(
        'port attacked: queue 1 is broken until the guest resets it: a descriptor points outside guest memory',
      );
      await expectWhole();
    }));

  test('lengths, of a frame and of far more, each chain is forwarded whole or counted', () =>
    arena.attack(async () => {
      const { ring, laps } = await start(format);
      const values = [chainBytes, overlongBytes] as const;
      const stop = await rewrite(
        ring,
        laps.offsets.map((at) => ({ offset: at + 8, values })),
      );
      await untilBoth(laps, 'tooLong');
      await stop();
      await expectWhole();
      expect(arena.warnings).toEqual([]);
    }));

  test('headers, plain and with a checksum behind the frame, each frame is plain or counted', () =>
    arena.attack(async () => {
      const { ring, laps } = await start(format);
      // csum_start and csum_offset lie all along, and mean nothing while flags do not ask for them.
      ring.guest.memory.bytes.fill(0xff, laps.bufferOffset + 6, laps.bufferOffset + 10);
      const offset = laps.bufferOffset;
      const stop = await rewrite(ring, [{ offset, values: [0, needsCsum] }]);
      await untilBoth(laps, 'badHeader');
      await stop();
      await expectWhole();
      expect(arena.warnings).toEqual([]);
    }));
});
