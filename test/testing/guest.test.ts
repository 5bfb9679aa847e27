/**
 * Two test guests joined by DPDK's testpmd: what one sends the other receives, whole, once and in
 * order, with every combination of features and memory. A driver that an independent backend
 * accepts is one to hold our own backend against.
 */

import { readdirSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { TestGuest, type TestGuestOptions } from '../../src/testing/index.ts';
import { virtioFeatures } from '../../src/vhost-user/features.ts';
import { emptyLayout, u64Layout } from '../../src/vhost-user/message.ts';
import { borrowHugePages, hugePagesMissing } from '../support/huge-pages.ts';
import { needs } from '../support/needs.ts';
import { startTestpmd, type Testpmd, testpmdMissing } from './testpmd.ts';

const missing = testpmdMissing();

const {
  VIRTIO_F_VERSION_1: version1,
  VIRTIO_NET_F_MRG_RXBUF: mergeable,
  VIRTIO_F_INDIRECT_DESC: indirectDesc,
  VIRTIO_F_EVENT_IDX: eventIdx,
  VIRTIO_F_RING_PACKED: packed,
  VIRTIO_F_IN_ORDER: inOrder,
} = virtioFeatures;

/** A frame that says which it is in every byte, so that a mixed-up piece shows. */
function frameOf(lengthBytes: number, seed: number): Uint8Array {
  return Uint8Array.from({ length: lengthBytes }, (_, i) => (seed * 31 + i * 7 + (i >> 8)) & 0xff);
}

describe('two guests through testpmd', needs(missing), () => {
  let testpmd: Testpmd;
  let guests: TestGuest[] = [];

  beforeAll(async () => {
    testpmd = await startTestpmd();
  }, 15_000);

  afterEach(async () => {
    for (const guest of guests) await guest.close();
    guests = [];
  });

  afterAll(() => testpmd?.stop());

  async function connectBoth(
    options: Omit<TestGuestOptions, 'path'> = {},
  ): Promise<[TestGuest, TestGuest]> {
    return [await connect(0, options), await connect(1, options)];
  }

  async function connect(port: 0 | 1, options: Omit<TestGuestOptions, 'path'> = {}) {
    const guest = await TestGuest.connect({ path: testpmd.paths[port], ...options });
    guests.push(guest);
    // DPDK acknowledges the last request first and brings the port up then; a further answer proves
    // that this is done and that no frame will be lost for it.
    await guest.frontend.ask('GET_FEATURES', emptyLayout, undefined, u64Layout);
    return guest;
  }

  async function expectDelivery(from: TestGuest, to: TestGuest, frames: Uint8Array[]) {
    for (const frame of frames) await from.send(frame);
    for (const frame of frames) expect(Buffer.compare(await to.receive(), frame)).toBe(0);
    expect(to.pendingFrames).toBe(0);
  }

  const lengths = [60, 61, 64, 590, 1514];

  test.each([
    ['modern, all features', version1 | mergeable | indirectDesc | eventIdx],
    ['modern, nothing else', version1],
    ['modern, mergeable buffers', version1 | mergeable],
    ['modern, event index', version1 | eventIdx],
    ['modern, in order', version1 | inOrder],
    ['packed', version1 | packed],
    ['packed, all features', version1 | packed | inOrder | mergeable | indirectDesc | eventIdx],
    ['packed, event index', version1 | packed | eventIdx],
    ['packed, in order, mergeable buffers', version1 | packed | inOrder | mergeable],
    ['legacy, 10-byte header', 0n],
    ['legacy, mergeable buffers', mergeable],
  ])('%s: frames arrive whole and in order, both ways', async (_, features) => {
    const [a, b] = await connectBoth({ features });
    expect(a.features & ~virtioFeatures.VHOST_USER_F_PROTOCOL_FEATURES).toBe(features);
    const frames = lengths.map(frameOf);
    await expectDelivery(a, b, frames);
    await expectDelivery(b, a, frames);
    await a.flush();
    await b.flush();
  });

  test.each([
    ['split', version1 | mergeable | eventIdx],
    ['packed', version1 | mergeable | eventIdx | packed],
    ['packed, in order', version1 | mergeable | packed | inOrder],
  ])('%s rings go round many times without losing or repeating a frame', async (_, features) => {
    const [a, b] = await connectBoth({ queueSize: 64, features });
    for (let round = 0; round < 60; round++) {
      await expectDelivery(
        a,
        b,
        Array.from({ length: 32 }, (_, i) => frameOf(60 + i, round)),
      );
    }
  });

  test('sending more than the ring holds waits for room', async () => {
    const [a, b] = await connectBoth({ queueSize: 32 });
    let received = 0;
    const all = (async () => {
      for (let i = 0; i < 200; i++) {
        await a.send(frameOf(60, i));
        // Keeps the other guest's receiveq from overflowing, where frames are rightly lost.
        if (i % 16 === 15) for (; received <= i; received++) await b.receive();
      }
    })();
    await all;
    await a.flush();
    expect(a.transmitq.driver.outstanding).toBe(0);
    for (; received < 200; received++) await b.receive();
  });

  test.each([
    ['the header alone in the first descriptor', { pieces: [12] }],
    ['header and frame cut anywhere', { pieces: [1, 5, 6, 14, 1, 100] }],
    ['an indirect table', { indirect: true }],
    ['an indirect table with many entries', { indirect: true, pieces: [3, 9, 6, 6, 2, 33, 1] }],
  ])('a frame laid out with %s arrives whole', async (_, layout) => {
    const frame = frameOf(1514, 5);
    for (const format of [0n, packed]) {
      const [a, b] = await connectBoth({ features: version1 | mergeable | indirectDesc | format });
      await a.send(frame, layout);
      expect(Buffer.compare(await b.receive(), frame)).toBe(0);
      await a.close();
      await b.close();
    }
  });

  test('a frame larger than a receive buffer arrives in several, put together', async () => {
    const [a, b] = await connectBoth({ receiveBufferBytes: 512 });
    await expectDelivery(a, b, [frameOf(1514, 1), frameOf(60, 2), frameOf(9000, 3)]);
  });

  test('memory in several regions works, frames crossing them included', async () => {
    const [a, b] = await connectBoth({ memoryRegions: 4, memorySizeBytes: 4 << 20 });
    const frames = Array.from({ length: 128 }, (_, i) => frameOf(1514, i));
    await expectDelivery(a, b, frames);
    await expectDelivery(b, a, frames);
  });

  test('memory in a plain shared file works', async () => {
    const [a, b] = await connectBoth({ memory: 'file' });
    await expectDelivery(a, b, [frameOf(1514, 1)]);
  });

  test('memory in huge pages works', needs(hugePagesMissing(8)), async () => {
    // Given back when the guests, which are closed after each test, are gone.
    onTestFinished(borrowHugePages(8));
    const [a, b] = await connectBoth({ memory: 'hugetlbfs' });
    await expectDelivery(a, b, [frameOf(1514, 1)]);
  });

  test('frames() yields what arrives and ends when the guest is closed', async () => {
    const [a, b] = await connectBoth();
    const seen: number[] = [];
    for (let i = 0; i < 3; i++) await a.send(frameOf(60 + i, i));
    for await (const frame of b.frames()) {
      seen.push(frame.length);
      if (seen.length === 3) await b.close();
    }
    expect(seen).toEqual([60, 61, 62]);
  });

  test('a wait has a limit and says what it waited for', async () => {
    const [a] = await connectBoth();
    await expect(a.receive({ timeoutMs: 20 })).rejects.toMatchObject({
      code: 'TIMEOUT',
      message: expect.stringContaining('a frame'),
    });
  });

  test('a closed guest refuses work, ends its waits and can be closed again', async () => {
    const [a] = await connectBoth();
    const waiting = a.receive({ timeoutMs: 10_000 });
    const rejected = expect(waiting).rejects.toMatchObject({ code: 'CLOSED' });
    await a.close();
    await rejected;
    await a.close();
    await expect(a.send(frameOf(60, 0))).rejects.toMatchObject({ code: 'CLOSED' });
  });

  test('neither closing nor dying leaves an fd behind', async () => {
    const before = readdirSync('/proc/self/fd');
    const [a, b] = await connectBoth({ memory: 'file' });
    await expectDelivery(a, b, [frameOf(60, 1)]);
    await a.close();
    b.disconnect();
    expect(readdirSync('/proc/self/fd')).toEqual(before);
  });

  test('a guest that died makes way for another on the same socket', async () => {
    const [a, b] = await connectBoth();
    a.disconnect();
    const again = await connect(0);
    await expectDelivery(again, b, [frameOf(100, 1)]);
    await expectDelivery(b, again, [frameOf(100, 2)]);
  });
});

describe('guests with several queue pairs', needs(missing), () => {
  test.each([
    ['split', version1 | mergeable | eventIdx | virtioFeatures.VIRTIO_NET_F_MQ],
    ['packed', version1 | mergeable | packed | virtioFeatures.VIRTIO_NET_F_MQ],
  ])(
    'testpmd passes on what arrives by each pair on the same of the other guest, %s',
    async (_, features) => {
      const queuePairs = 4;
      const testpmd = await startTestpmd(queuePairs);
      const guests: TestGuest[] = [];
      try {
        for (const path of testpmd.paths) {
          guests.push(await TestGuest.connect({ path, queuePairs, features }));
        }
        const [a, b] = guests as [TestGuest, TestGuest];
        for (const guest of guests) {
          await guest.frontend.ask('GET_FEATURES', emptyLayout, null, u64Layout);
        }
        for (let number = 0; number < 40; number++) {
          const queuePair = number % queuePairs;
          await a.send(frameOf(100, number), { queuePair });
          const packet = await b.receivePacket();
          expect(packet.queuePair).toBe(queuePair);
          expect(Buffer.compare(packet.frame, frameOf(100, number))).toBe(0);
        }
      } finally {
        for (const guest of guests) await guest.close();
        await testpmd.stop();
      }
    },
  );
});
