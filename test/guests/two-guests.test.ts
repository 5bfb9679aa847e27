/**
 * Guests on a switch in this process: what one sends the other receives, whole, once and in order,
 * whatever the layout, the features, the memory, and who has left and come back.
 */

import { afterEach, describe, expect, onTestFinished, test } from 'vitest';
import type { TestGuest } from '../../src/testing/index.ts';
import { virtioFeatures } from '../../src/vhost-user/features.ts';
import { frameBetween, frameBytesMin, macOf } from '../support/ethernet.ts';
import { borrowHugePages, hugePagesMissing } from '../support/huge-pages.ts';
import { needs } from '../support/needs.ts';
import {
  announce,
  deliveredTo,
  dropsOf,
  expectDelivery,
  SwitchNetwork,
} from '../support/network.ts';

const {
  VIRTIO_F_VERSION_1: version1,
  VIRTIO_NET_F_MRG_RXBUF: mergeable,
  VIRTIO_F_ANY_LAYOUT: anyLayout,
  VIRTIO_F_INDIRECT_DESC: indirectDesc,
  VIRTIO_F_EVENT_IDX: eventIdx,
} = virtioFeatures;

let network: SwitchNetwork;

afterEach(() => network.close());

describe('every layout and feature', () => {
  const lengths = [frameBytesMin, 60, 61, 64, 590, 1514];
  const kinds: [string, bigint][] = [
    ['modern, all features', version1 | mergeable | anyLayout | indirectDesc | eventIdx],
    ['modern, nothing else', version1],
    ['modern, mergeable buffers', version1 | mergeable],
    ['modern, event index', version1 | eventIdx],
    ['legacy, 10-byte header', 0n],
    ['legacy, mergeable buffers', mergeable],
  ];
  const pairs = kinds.flatMap((one) => kinds.map((other) => ({ one, other })));

  test.each(pairs)('$one.0 talks to $other.0, both ways', async ({ one, other }) => {
    network = SwitchNetwork.open(2);
    const a = await network.connect(0, { features: one[1] });
    const b = await network.connect(1, { features: other[1] });
    const agreed = (guest: TestGuest) =>
      guest.features & ~virtioFeatures.VHOST_USER_F_PROTOCOL_FEATURES;
    expect([agreed(a), agreed(b)]).toEqual([one[1], other[1]]);
    await expectDelivery(
      a,
      b,
      lengths.map((bytes, i) => frameBetween(0, 1, i, bytes)),
    );
    await expectDelivery(
      b,
      a,
      lengths.map((bytes, i) => frameBetween(1, 0, i, bytes)),
    );
  });

  test('a frontend without any protocol feature is served', async () => {
    network = SwitchNetwork.open(2);
    const [a, b] = (await network.connectAll({ protocolFeatures: 0n })) as [TestGuest, TestGuest];
    await expectDelivery(a, b, [frameBetween(0, 1)]);
    await expectDelivery(b, a, [frameBetween(1, 0)]);
  });

  test.each([
    ['the header alone in the first descriptor', { pieces: [12] }],
    ['the header cut in two', { pieces: [5, 7] }],
    ['the Ethernet header cut', { pieces: [12, 3, 8] }],
    ['header and frame cut anywhere', { pieces: [1, 5, 6, 14, 1, 100] }],
    ['one byte in each of the first pieces', { pieces: Array(60).fill(1) }],
    ['an indirect table', { indirect: true }],
    ['an indirect table with many entries', { indirect: true, pieces: [3, 9, 6, 6, 2, 33, 1] }],
  ])('a frame laid out with %s arrives whole', async (_, layout) => {
    network = SwitchNetwork.open(2);
    const [a, b] = (await network.connectAll()) as [TestGuest, TestGuest];
    await expectDelivery(a, b, [frameBetween(0, 1, 5, 1514), frameBetween(0, 1, 6, 200)], layout);
  });

  test('a chain as long as the ring is one frame', async () => {
    network = SwitchNetwork.open(2);
    const [a, b] = (await network.connectAll({ queueSize: 64 })) as [TestGuest, TestGuest];
    await expectDelivery(a, b, [frameBetween(0, 1, 1, 1514)], { pieces: Array(63).fill(1) });
  });

  test.each([64, 512, 1500])('frames arrive in mergeable buffers of %i bytes', async (bytes) => {
    network = SwitchNetwork.open(2);
    const a = await network.connect(0);
    const b = await network.connect(1, { receiveBufferBytes: bytes });
    const sizes = [1514, 60, bytes - 12, bytes - 11, 9000];
    await expectDelivery(
      a,
      b,
      sizes.map((size, i) => frameBetween(0, 1, i, size)),
    );
  });

  test('the longest frame arrives; one byte more is dropped and counted', async () => {
    network = SwitchNetwork.open(2);
    const [a, b] = (await network.connectAll()) as [TestGuest, TestGuest];
    const longestBytes = 65_550;
    await expectDelivery(a, b, [frameBetween(0, 1, 1, longestBytes)]);
    a.raw.send(frameBetween(0, 1, 2, longestBytes + 1));
    await a.flush();
    expect(deliveredTo(b)).toBe(Math.ceil((12 + longestBytes) / 2048));
    expect(dropsOf(network.port(0).counters)).toEqual({ tooLong: 1 });
  });

  test.each([1, 2, 64, 1024])('rings of %i entries go round', async (queueSize) => {
    network = SwitchNetwork.open(2);
    const [a, b] = (await network.connectAll({ queueSize, memorySizeBytes: 16 << 20 })) as [
      TestGuest,
      TestGuest,
    ];
    for (let number = 0; number < 3 * queueSize; number += 1) {
      await expectDelivery(a, b, [frameBetween(0, 1, number)]);
      await expectDelivery(b, a, [frameBetween(1, 0, number)]);
    }
  });

  test('ring indexes pass 65535 without losing or repeating a frame', async () => {
    network = SwitchNetwork.open(2);
    const [a, b] = (await network.connectAll()) as [TestGuest, TestGuest];
    const frames = 66_000;
    const burst = 100;
    for (let first = 0; first < frames; first += burst) {
      const numbers = Array.from({ length: burst }, (_, i) => first + i);
      await expectDelivery(
        a,
        b,
        numbers.map((number) => frameBetween(0, 1, number)),
      );
    }
    expect(a.transmitq.driver.ring.usedIndex).toBe(frames - 65_536);
    expect(network.port(1).counters.toGuest.frames).toBe(frames);
  }, 300_000);

  test('sending more than the ring holds waits for room', async () => {
    network = SwitchNetwork.open(2);
    const a = await network.connect(0, { queueSize: 16 });
    const b = await network.connect(1);
    await expectDelivery(
      a,
      b,
      Array.from({ length: 200 }, (_, i) => frameBetween(0, 1, i)),
    );
  });
});

describe('every kind of memory', () => {
  test.each([
    ['memfd', 'file'],
    ['file', 'memfd'],
  ] as const)('a guest in %s and one in %s talk', async (one, other) => {
    network = SwitchNetwork.open(2);
    const a = await network.connect(0, { memory: one });
    const b = await network.connect(1, { memory: other });
    await expectDelivery(a, b, [frameBetween(0, 1, 1, 1514)]);
    await expectDelivery(b, a, [frameBetween(1, 0, 2, 1514)]);
  });

  test('two guests in huge pages talk', needs(hugePagesMissing(8)), async () => {
    // Given back when the network, which is closed after each test, is gone.
    onTestFinished(borrowHugePages(8));
    network = SwitchNetwork.open(2);
    const [a, b] = (await network.connectAll({ memory: 'hugetlbfs' })) as [TestGuest, TestGuest];
    await expectDelivery(a, b, [frameBetween(0, 1, 1, 1514)]);
    await expectDelivery(b, a, [frameBetween(1, 0, 2, 1514)]);
  });

  test.each([2, 8])('frames cross the borders of %i regions', async (memoryRegions) => {
    network = SwitchNetwork.open(2);
    const [a, b] = (await network.connectAll({ memoryRegions })) as [TestGuest, TestGuest];
    // Every buffer of both rings is used at least once, those on a border included.
    const numbers = Array.from({ length: 200 }, (_, i) => i);
    for (let round = 0; round < 2; round++) {
      await expectDelivery(
        a,
        b,
        numbers.map((i) => frameBetween(0, 1, i, 1514)),
      );
      await expectDelivery(
        b,
        a,
        numbers.map((i) => frameBetween(1, 0, i, 1514)),
      );
    }
  });
});

describe('guests come and go', () => {
  test.each([
    ['closes', (guest: TestGuest) => guest.close()],
    ['dies', (guest: TestGuest) => guest.disconnect()],
  ])('a guest that %s is forgotten, and may return on either port', async (_, leave) => {
    network = SwitchNetwork.open(2);
    let [a, b] = (await network.connectAll()) as [TestGuest, TestGuest];
    await announce(0, [a, b]);
    await announce(1, [a, b]);
    await leave(b);
    expect((await network.event('frontend-left')).reason).toEqual({ kind: 'frontend-left' });
    expect(network.vswitch.bridge.fdb).toMatchObject([{ mac: macOf(0), port: 'p0' }]);
    await a.send(frameBetween(0, 1, 1));
    await a.flush();
    expect(dropsOf(network.port(1).counters)).toEqual({ notReady: 1 });

    b = await network.connect(1);
    await expectDelivery(a, b, [frameBetween(0, 1, 2)]);
    await expectDelivery(b, a, [frameBetween(1, 0, 3)]);

    await leave(a);
    a = await network.connect(0);
    await expectDelivery(b, a, [frameBetween(1, 0, 4)]);
    await expectDelivery(a, b, [frameBetween(0, 1, 5)]);
  });

  test('a guest that moves to another port is found there', async () => {
    network = SwitchNetwork.open(3);
    const a = await network.connect(0);
    let b = await network.connect(1);
    await announce(1, [a, b]);
    b.disconnect();
    b = await network.connect(2);
    await announce(1, [a, b]);
    await expectDelivery(a, b, [frameBetween(0, 1, 1)]);
    expect(network.port(1).frontendPid).toBeUndefined();
  });

  test('a port that is added while guests talk joins the bridge', async () => {
    network = SwitchNetwork.open(2);
    const [a, b] = (await network.connectAll()) as [TestGuest, TestGuest];
    await expectDelivery(a, b, [frameBetween(0, 1, 1)]);
    network.addPort();
    const c = await network.connect(2);
    await announce(2, [a, b, c]);
    await expectDelivery(a, c, [frameBetween(0, 2, 2)]);
  });

  test('a port that is removed takes its addresses along', async () => {
    network = SwitchNetwork.open(3);
    const guests = await network.connectAll();
    const [a, b, c] = guests as [TestGuest, TestGuest, TestGuest];
    await announce(2, guests);
    network.vswitch.removePort(network.port(2));
    expect(network.vswitch.bridge.fdb).toEqual([]);
    await expectDelivery(a, b, [frameBetween(0, 2, 1)]);
    expect(network.port(0).counters.floodedFrames).toBe(1);
    await expect(c.receive()).rejects.toMatchObject({ code: 'DISCONNECTED' });
  });
});

describe('workers', () => {
  test('one that sleeps at once is woken by every kick', async () => {
    network = SwitchNetwork.open(2, { idleUs: 0 });
    const [a, b] = (await network.connectAll()) as [TestGuest, TestGuest];
    for (let i = 0; i < 500; i++) {
      await expectDelivery(a, b, [frameBetween(0, 1, i)]);
      await expectDelivery(b, a, [frameBetween(1, 0, i)]);
    }
  });

  test('two of them serve four guests that all talk at once, and nothing is lost', async () => {
    network = SwitchNetwork.open(4, { workers: 2 });
    const guests = await network.connectAll();
    const perGuest = 2000;
    await Promise.all(
      guests.map(async (guest, index) => {
        const next = (index + 1) % guests.length;
        for (let number = 0; number < perGuest; number++) {
          await guest.send(frameBetween(index, next, number));
          if (number % 10 !== 9) continue;
          await guest.flush();
          // The receivers refill in this process too: no more on the way than their rings hold.
          while (guests[next]!.pendingFrames <= number) await new Promise(setImmediate);
        }
      }),
    );
    const counters = network.vswitch.ports.map((port) => port.counters);
    for (const one of counters) {
      expect(one.fromGuest.frames).toBe(perGuest);
      expect(dropsOf(one)).toEqual({});
    }
    const delivered = counters.reduce((sum, one) => sum + one.toGuest.frames, 0);
    const flooded = counters.reduce((sum, one) => sum + one.floodedFrames, 0);
    expect(delivered).toBe(guests.length * perGuest + 2 * flooded);
    expect(guests.reduce((sum, guest) => sum + guest.pendingFrames, 0)).toBe(delivered);
  });
});
