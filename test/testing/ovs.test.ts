/**
 * Two test guests that listen, joined by OVS-DPDK, which connects: what one sends the other
 * receives, whole, once and in order, with split and packed rings, one queue pair and several.
 */

import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import {
  arp,
  assertFrame,
  TestGuest,
  type TestGuestOptions,
  udp4,
  type VirtioFeatureName,
} from '../../src/testing/index.ts';
import { macOf } from '../support/ethernet.ts';
import { needs } from '../support/needs.ts';
import { type Ovs, ovsMissing, startOvs } from './ovs.ts';

const missing = ovsMissing();
const queuePairsOffered = 4;
/** It looks for a listening guest once a second, and then brings the port up in its own time. */
const attemptsMax = 600;
const attemptMs = 100;

describe('two guests through OVS-DPDK', needs(missing && `OVS-DPDK ${missing}`), () => {
  let ovs: Ovs;
  let guests: TestGuest[] = [];

  beforeAll(async () => {
    ovs = await startOvs(queuePairsOffered);
  }, 300_000);

  afterEach(async () => {
    for (const guest of guests) await guest.close();
    guests = [];
  });

  afterAll(() => ovs?.stop());

  /** Both guests, once frames pass from each to the other. */
  async function connectBoth(options: Omit<TestGuestOptions, 'path'>): Promise<TestGuest[]> {
    const both = ovs.paths.map((path) => TestGuest.listen({ path, ...options }));
    guests = await Promise.all(both);
    for (const [index, guest] of guests.entries()) await greet(index, guest, guests[1 - index]!);
    return guests;
  }

  async function greet(index: number, from: TestGuest, to: TestGuest): Promise<void> {
    const greeting = arp({
      senderMac: macOf(index),
      senderIp: `10.0.0.${index}`,
      targetIp: '10.0.0.9',
    });
    for (let attempt = 1; ; attempt++) {
      await from.send(greeting);
      try {
        await to.expect(greeting, { within: attemptMs });
        break;
      } catch (error) {
        if (attempt === attemptsMax) throw error;
      }
    }
    // Greetings that were held up come before this.
    const last = datagram(index, 1 - index, 0);
    await from.send(last);
    await to.expect(last);
  }

  function datagram(from: number, to: number, number: number, length = 18): Uint8Array {
    return udp4({
      from: macOf(from),
      to: macOf(to),
      source: `10.0.0.${from}`,
      target: `10.0.0.${to}`,
      sourcePort: 1000 + (number % 50),
      targetPort: 9,
      payload: Uint8Array.from({ length }, (_, i) => (number * 31 + i * 7 + (i >> 8)) & 0xff),
    });
  }

  test.each<[string, VirtioFeatureName[]]>([
    ['split', ['VIRTIO_F_EVENT_IDX', 'VIRTIO_NET_F_MRG_RXBUF', 'VIRTIO_F_INDIRECT_DESC']],
    ['packed', ['VIRTIO_F_RING_PACKED', 'VIRTIO_NET_F_MRG_RXBUF', 'VIRTIO_F_INDIRECT_DESC']],
    ['packed, event index', ['VIRTIO_F_RING_PACKED', 'VIRTIO_F_EVENT_IDX']],
  ])('%s: frames arrive whole and in order, both ways', async (_, features) => {
    const asked: VirtioFeatureName[] = ['VIRTIO_F_VERSION_1', ...features];
    const [a, b] = (await connectBoth({ features: asked, queueSize: 64 })) as [
      TestGuest,
      TestGuest,
    ];
    for (const feature of asked) expect(a.has(feature), feature).toBe(true);
    const indirect = a.has('VIRTIO_F_INDIRECT_DESC');
    for (let round = 1; round <= 20; round++) {
      const lengths = [18, 19, 500, 1472];
      const there = lengths.map((length, i) => datagram(0, 1, round + i, length));
      const back = lengths.map((length, i) => datagram(1, 0, round + i, length));
      const layout = round % 2 === 1 ? {} : { pieces: [12, 14, 20], indirect };
      await a.sendAll(there, layout);
      await b.sendAll(back, layout);
      for (const frame of there) assertFrame(await b.receive(), frame);
      for (const frame of back) assertFrame(await a.receive(), frame);
    }
  });

  test('several queue pairs: each carries frames', async () => {
    const options = { queuePairs: queuePairsOffered, queueSize: 64 };
    const [a, b] = (await connectBoth(options)) as [TestGuest, TestGuest];
    for (let number = 0; number < 100; number++) {
      const frame = datagram(0, 1, number);
      await a.send(frame, { queuePair: number % queuePairsOffered });
      await b.expect(frame);
    }
  });
});
