/**
 * Two and three guests on a switch in this process: what one sends arrives where it belongs, whole,
 * once and in order, and every frame is in exactly one counter.
 */

import { readFileSync } from 'node:fs';
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { PortCounters } from '../../src/index.ts';
import type { TestGuest } from '../../src/testing/index.ts';
import { virtioFeatures } from '../../src/vhost-user/features.ts';
import { broadcast, ethernetFrame, frameBytesMin, macOf } from '../support/ethernet.ts';
import { deliveredTo, expectDelivery, SwitchNetwork } from '../support/network.ts';

const {
  VIRTIO_F_VERSION_1: version1,
  VIRTIO_NET_F_MRG_RXBUF: mergeable,
  VIRTIO_F_ANY_LAYOUT: anyLayout,
  VIRTIO_F_INDIRECT_DESC: indirectDesc,
  VIRTIO_F_EVENT_IDX: eventIdx,
} = virtioFeatures;

let network: SwitchNetwork;

afterEach(() => network.close());

/** Guest `from` to guest `to`, each with its own address. */
function frame(from: number, to: number, number = 0, lengthBytes = 60): Uint8Array {
  return ethernetFrame({ from: macOf(from), to: macOf(to), number, lengthBytes });
}

/** As ARP begins: a broadcast that everybody learns the sender from. */
async function announce(index: number, guests: readonly TestGuest[]): Promise<void> {
  await guests[index]!.send(ethernetFrame({ from: macOf(index), to: broadcast }));
  await guests[index]!.flush();
  for (const [i, guest] of guests.entries()) if (i !== index) await guest.receive();
}

function dropsOf({ drops }: PortCounters): Record<string, number> {
  return Object.fromEntries(Object.entries(drops).filter(([, count]) => count > 0));
}

describe('the bridge', () => {
  test('a broadcast reaches every other guest and not its sender', async () => {
    network = SwitchNetwork.open(3);
    const [a, b, c] = (await network.connectAll()) as [TestGuest, TestGuest, TestGuest];
    const sent = ethernetFrame({ from: macOf(0), to: broadcast, number: 7 });
    await a.send(sent);
    expect(Buffer.compare(await b.receive(), sent)).toBe(0);
    expect(Buffer.compare(await c.receive(), sent)).toBe(0);
    await a.flush();
    expect(deliveredTo(a)).toBe(0);
    expect(network.port(0).counters.floodedFrames).toBe(1);
  });

  test('an IPv4 or IPv6 multicast is flooded, and nobody can take its address', async () => {
    network = SwitchNetwork.open(3);
    const [a, b, c] = (await network.connectAll()) as [TestGuest, TestGuest, TestGuest];
    const group = '33:33:00:00:00:01';
    await b.send(ethernetFrame({ from: group, to: macOf(0) }));
    await b.flush();
    expect(dropsOf(network.port(1).counters)).toEqual({ badSource: 1 });
    await a.send(ethernetFrame({ from: macOf(0), to: group }));
    await a.flush();
    expect([deliveredTo(b), deliveredTo(c)]).toEqual([1, 1]);
  });

  test('a frame for an unknown address is flooded; once learned it reaches its port only', async () => {
    network = SwitchNetwork.open(3);
    const guests = await network.connectAll();
    const [a, b, c] = guests as [TestGuest, TestGuest, TestGuest];
    await a.send(frame(0, 1));
    await a.flush();
    expect([deliveredTo(b), deliveredTo(c)]).toEqual([1, 1]);
    await announce(1, [a, b, c]);
    await a.send(frame(0, 1, 1));
    await a.flush();
    expect([deliveredTo(b), deliveredTo(c)]).toEqual([2, 2]);
    // c's second one was the announcement.
    expect(network.port(0).counters.floodedFrames).toBe(1);
    expect(network.port(2).counters.toGuest.frames).toBe(2);
    expect(network.vswitch.bridge.fdb).toEqual(
      expect.arrayContaining([
        { mac: macOf(0), port: 'p0', ageSeconds: expect.any(Number) },
        { mac: macOf(1), port: 'p1', ageSeconds: expect.any(Number) },
      ]),
    );
    expect((await network.event('mac-learned', 2)).mac).toBe(macOf(1));
  });

  test('an address that moves to another port is found there with its first frame', async () => {
    network = SwitchNetwork.open(3);
    const [a, b, c] = (await network.connectAll()) as [TestGuest, TestGuest, TestGuest];
    await announce(1, [a, b, c]);
    const before = [deliveredTo(b), deliveredTo(c)];
    await c.send(frame(1, 0));
    await c.flush();
    await a.send(frame(0, 1));
    await a.flush();
    expect([deliveredTo(b), deliveredTo(c)]).toEqual([before[0]! + 1, before[1]! + 1]);
    // b got c's frame, flooded because a had said nothing yet; c got a's.
    expect(network.port(0).counters.floodedFrames).toBe(0);
    expect(await network.event('mac-moved')).toMatchObject({
      port: 'p2',
      fromPort: 'p1',
      mac: macOf(1),
    });
  });

  test('an address that moves to and fro within a second is always where it was last', async () => {
    network = SwitchNetwork.open(3);
    const [a, b, c] = (await network.connectAll()) as [TestGuest, TestGuest, TestGuest];
    await announce(0, [a, b, c]);
    for (let round = 0; round < 10; round++) {
      for (const [at, other] of [
        [b, c],
        [c, b],
      ] as const) {
        await at.send(frame(1, 0));
        await at.flush();
        const before = deliveredTo(other);
        await a.send(frame(0, 1));
        await a.flush();
        expect(deliveredTo(other)).toBe(before);
      }
    }
  });

  test('after a flush frames are flooded, and the next frame of a guest is learned again', async () => {
    network = SwitchNetwork.open(3);
    const [a, b, c] = (await network.connectAll()) as [TestGuest, TestGuest, TestGuest];
    await announce(1, [a, b, c]);
    await announce(0, [a, b, c]);
    network.vswitch.bridge.flush();
    expect(network.vswitch.bridge.fdb).toEqual([]);
    const before = deliveredTo(c);
    await a.send(frame(0, 1));
    await a.flush();
    expect(deliveredTo(c)).toBe(before + 1);
    await b.send(frame(1, 0));
    await b.flush();
    expect(deliveredTo(c)).toBe(before + 1);
  });

  test('an address that was silent for the ageing time is forgotten', async () => {
    network = SwitchNetwork.open(3, { ageingSeconds: 1 });
    const [a, b, c] = (await network.connectAll()) as [TestGuest, TestGuest, TestGuest];
    await announce(1, [a, b, c]);
    expect(network.vswitch.bridge.fdb).toMatchObject([{ mac: macOf(1), port: 'p1' }]);
    await vi.waitFor(() => expect(network.vswitch.bridge.fdb).toEqual([]), { timeout: 10_000 });
    const before = deliveredTo(c);
    await a.send(frame(0, 1));
    await a.flush();
    expect(deliveredTo(c)).toBe(before + 1);
  });

  test('a frame for the port it came from is dropped and counted as hairpin', async () => {
    network = SwitchNetwork.open(2);
    const [a, b] = (await network.connectAll()) as [TestGuest, TestGuest];
    await announce(0, [a, b]);
    await a.send(frame(0, 0));
    await a.flush();
    expect(dropsOf(network.port(0).counters)).toEqual({ hairpin: 1 });
    expect([deliveredTo(a), deliveredTo(b)]).toEqual([0, 1]);
  });
});

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
      lengths.map((bytes, i) => frame(0, 1, i, bytes)),
    );
    await expectDelivery(
      b,
      a,
      lengths.map((bytes, i) => frame(1, 0, i, bytes)),
    );
  });

  test('a frontend without any protocol feature is served', async () => {
    network = SwitchNetwork.open(2);
    const [a, b] = (await network.connectAll({ protocolFeatures: 0n })) as [TestGuest, TestGuest];
    await expectDelivery(a, b, [frame(0, 1)]);
    await expectDelivery(b, a, [frame(1, 0)]);
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
    await expectDelivery(a, b, [frame(0, 1, 5, 1514), frame(0, 1, 6, 200)], layout);
  });

  test('a chain as long as the ring is one frame', async () => {
    network = SwitchNetwork.open(2);
    const [a, b] = (await network.connectAll({ queueSize: 64 })) as [TestGuest, TestGuest];
    await expectDelivery(a, b, [frame(0, 1, 1, 1514)], { pieces: Array(63).fill(1) });
  });

  test.each([64, 512, 1500])('frames arrive in mergeable buffers of %i bytes', async (bytes) => {
    network = SwitchNetwork.open(2);
    const a = await network.connect(0);
    const b = await network.connect(1, { receiveBufferBytes: bytes });
    const sizes = [1514, 60, bytes - 12, bytes - 11, 9000];
    await expectDelivery(
      a,
      b,
      sizes.map((size, i) => frame(0, 1, i, size)),
    );
  });

  test('the longest frame arrives; one byte more is dropped and counted', async () => {
    network = SwitchNetwork.open(2);
    const [a, b] = (await network.connectAll()) as [TestGuest, TestGuest];
    const longestBytes = 65_550;
    await expectDelivery(a, b, [frame(0, 1, 1, longestBytes)]);
    await a.send(frame(0, 1, 2, longestBytes + 1));
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
      await expectDelivery(a, b, [frame(0, 1, number)]);
      await expectDelivery(b, a, [frame(1, 0, number)]);
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
        numbers.map((number) => frame(0, 1, number)),
      );
    }
    expect(a.transmitq.driver.ring.usedIndex).toBe(frames - 65_536);
    expect(network.port(1).counters.toGuest.frames).toBe(frames);
  }, 60_000);

  test('sending more than the ring holds waits for room', async () => {
    network = SwitchNetwork.open(2);
    const a = await network.connect(0, { queueSize: 16 });
    const b = await network.connect(1);
    await expectDelivery(
      a,
      b,
      Array.from({ length: 200 }, (_, i) => frame(0, 1, i)),
    );
  });
});

describe('every kind of memory', () => {
  const freeHugePages = Number(
    /^HugePages_Free:\s+(\d+)/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1] ?? 0,
  );

  test.each([
    ['memfd', 'file'],
    ['file', 'memfd'],
  ] as const)('a guest in %s and one in %s talk', async (one, other) => {
    network = SwitchNetwork.open(2);
    const a = await network.connect(0, { memory: one });
    const b = await network.connect(1, { memory: other });
    await expectDelivery(a, b, [frame(0, 1, 1, 1514)]);
    await expectDelivery(b, a, [frame(1, 0, 2, 1514)]);
  });

  test.skipIf(freeHugePages < 8)('two guests in huge pages talk (needs 8 free)', async () => {
    network = SwitchNetwork.open(2);
    const [a, b] = (await network.connectAll({ memory: 'hugetlbfs' })) as [TestGuest, TestGuest];
    await expectDelivery(a, b, [frame(0, 1, 1, 1514)]);
    await expectDelivery(b, a, [frame(1, 0, 2, 1514)]);
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
        numbers.map((i) => frame(0, 1, i, 1514)),
      );
      await expectDelivery(
        b,
        a,
        numbers.map((i) => frame(1, 0, i, 1514)),
      );
    }
  });
});

describe('counters', () => {
  test('every frame is in exactly one of them', async () => {
    network = SwitchNetwork.open(3);
    const guests = await network.connectAll();
    const [a, b, c] = guests as [TestGuest, TestGuest, TestGuest];
    await announce(0, [a, b, c]);
    await announce(1, [a, b, c]);
    for (let i = 0; i < 10; i++) await a.send(frame(0, 1, i, 100));
    for (let i = 0; i < 4; i++) await b.send(frame(1, 0, i, 1000));
    for (let i = 0; i < 3; i++) await a.send(frame(0, 2, i, 60));
    await a.send(new Uint8Array(13));
    await a.send(frame(0, 0));
    await a.send(ethernetFrame({ from: broadcast, to: macOf(1) }));
    await a.flush();
    await b.flush();

    const [ofA, ofB, ofC] = [0, 1, 2].map((i) => network.port(i).counters);
    const noDrops = Object.fromEntries(Object.keys(ofC!.drops).map((reason) => [reason, 0]));
    const anyNumber = expect.any(Number);
    expect(ofA).toEqual({
      fromGuest: {
        frames: 1 + 10 + 3 + 2,
        bytes: 60 + 10 * 100 + 3 * 60 + 2 * 60,
        notifications: anyNumber,
      },
      toGuest: { frames: 1 + 4, bytes: 60 + 4 * 1000, notifications: anyNumber },
      floodedFrames: 1 + 3,
      drops: { ...noDrops, tooShort: 1, hairpin: 1, badSource: 1 },
    });
    expect(ofB).toEqual({
      fromGuest: { frames: 1 + 4, bytes: 60 + 4 * 1000, notifications: anyNumber },
      toGuest: {
        frames: 1 + 10 + 3,
        bytes: 60 + 10 * 100 + 3 * 60,
        notifications: anyNumber,
      },
      floodedFrames: 1,
      drops: noDrops,
    });
    expect(ofC).toEqual({
      fromGuest: { frames: 0, bytes: 0, notifications: 0 },
      toGuest: { frames: 1 + 1 + 3, bytes: 5 * 60, notifications: anyNumber },
      floodedFrames: 0,
      drops: noDrops,
    });
  });

  test('a port without a guest drops what is flooded to it as notReady', async () => {
    network = SwitchNetwork.open(2);
    const a = await network.connect(0);
    await a.send(frame(0, 1));
    await a.flush();
    expect(dropsOf(network.port(1).counters)).toEqual({ notReady: 1 });
    expect(network.port(0).counters.floodedFrames).toBe(1);
  });

  test('a guest alone on the bridge has its frames dropped as noDestination', async () => {
    network = SwitchNetwork.open(1);
    const a = await network.connect(0);
    await a.send(frame(0, 1));
    await a.flush();
    expect(dropsOf(network.port(0).counters)).toEqual({ noDestination: 1 });
  });

  test('a guest that offers no buffers has its frames dropped as noBuffer', async () => {
    network = SwitchNetwork.open(2);
    const a = await network.connect(0);
    await network.connect(1, { receiveBuffers: 0 });
    for (let i = 0; i < 5; i++) await a.send(frame(0, 1, i));
    await a.flush();
    expect(dropsOf(network.port(1).counters)).toEqual({ noBuffer: 5 });
    expect(network.port(1).counters.toGuest.frames).toBe(0);
  });

  test('mergeable buffers that are too few for a frame wait for one that fits', async () => {
    network = SwitchNetwork.open(2);
    const a = await network.connect(0);
    const b = await network.connect(1, { receiveBufferBytes: 256, receiveBuffers: 3 });
    await a.send(frame(0, 1, 1, 1000));
    await a.flush();
    expect(dropsOf(network.port(1).counters)).toEqual({ noBuffer: 1 });
    await expectDelivery(a, b, [frame(0, 1, 2, 700)]);
  });

  test('a frame that fits no buffer is dropped as bufferTooSmall and costs no buffer', async () => {
    network = SwitchNetwork.open(2);
    const a = await network.connect(0);
    const b = await network.connect(1, {
      features: version1,
      receiveBufferBytes: 128,
      receiveBuffers: 1,
    });
    await a.send(frame(0, 1, 1, 1514));
    await a.flush();
    expect(dropsOf(network.port(1).counters)).toEqual({ bufferTooSmall: 1 });
    await expectDelivery(a, b, [frame(0, 1, 2, 116)]);
  });

  test('a frame that asks for an offload nobody agreed on is dropped as badHeader', async () => {
    network = SwitchNetwork.open(2);
    const [a, b] = (await network.connectAll()) as [TestGuest, TestGuest];
    const { ring } = a.transmitq.driver;
    const needsChecksum = 1;
    const offset = a.memory.allocate(72, 64);
    a.memory.bytes.set([needsChecksum, ...new Uint8Array(11), ...frame(0, 1)], offset);
    const address = a.memory.guestAddress(offset);
    ring.writeDescriptor(0, { address, lengthBytes: 72, flags: 0, next: 0 });
    ring.setAvailEntry(0, 0);
    ring.availIndex = 1;
    a.kick('transmitq');
    await vi.waitFor(() => expect(ring.usedIndex).toBe(1));
    expect(dropsOf(network.port(0).counters)).toEqual({ badHeader: 1 });
    expect(deliveredTo(b)).toBe(0);
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
    await a.send(frame(0, 1, 1));
    await a.flush();
    expect(dropsOf(network.port(1).counters)).toEqual({ notReady: 1 });

    b = await network.connect(1);
    await expectDelivery(a, b, [frame(0, 1, 2)]);
    await expectDelivery(b, a, [frame(1, 0, 3)]);

    await leave(a);
    a = await network.connect(0);
    await expectDelivery(b, a, [frame(1, 0, 4)]);
    await expectDelivery(a, b, [frame(0, 1, 5)]);
  });

  test('a guest that moves to another port is found there', async () => {
    network = SwitchNetwork.open(3);
    const a = await network.connect(0);
    let b = await network.connect(1);
    await announce(1, [a, b]);
    b.disconnect();
    b = await network.connect(2);
    await announce(1, [a, b]);
    await expectDelivery(a, b, [frame(0, 1, 1)]);
    expect(network.port(1).frontendPid).toBeUndefined();
  });

  test('a port that is added while guests talk joins the bridge', async () => {
    network = SwitchNetwork.open(2);
    const [a, b] = (await network.connectAll()) as [TestGuest, TestGuest];
    await expectDelivery(a, b, [frame(0, 1, 1)]);
    network.addPort();
    const c = await network.connect(2);
    await announce(2, [a, b, c]);
    await expectDelivery(a, c, [frame(0, 2, 2)]);
  });

  test('a port that is removed takes its addresses along', async () => {
    network = SwitchNetwork.open(3);
    const guests = await network.connectAll();
    const [a, b, c] = guests as [TestGuest, TestGuest, TestGuest];
    await announce(2, guests);
    network.vswitch.removePort(network.port(2));
    expect(network.vswitch.bridge.fdb).toEqual([]);
    await expectDelivery(a, b, [frame(0, 2, 1)]);
    expect(network.port(0).counters.floodedFrames).toBe(1);
    await expect(c.receive()).rejects.toMatchObject({ code: 'DISCONNECTED' });
  });
});

describe('workers', () => {
  test('one that sleeps at once is woken by every kick', async () => {
    network = SwitchNetwork.open(2, { idleUs: 0 });
    const [a, b] = (await network.connectAll()) as [TestGuest, TestGuest];
    for (let i = 0; i < 500; i++) {
      await expectDelivery(a, b, [frame(0, 1, i)]);
      await expectDelivery(b, a, [frame(1, 0, i)]);
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
          await guest.send(frame(index, next, number));
          if (number % 10 !== 9) continue;
          await guest.flush();
          // Gives the receivers of this process their turn to refill.
          await new Promise(setImmediate);
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
