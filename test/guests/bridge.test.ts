/**
 * What the bridge makes of addresses, seen by three guests: flooding, learning, moving, forgetting.
 */

import { afterEach, describe, expect, test } from 'vitest';
import type { TestGuest } from '../../src/testing/index.ts';
import { broadcast, ethernetFrame, frameBetween, macOf } from '../support/ethernet.ts';
import { announce, deliveredTo, dropsOf, SwitchNetwork } from '../support/network.ts';

let network: SwitchNetwork;

afterEach(() => network.close());

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
    await a.send(frameBetween(0, 1));
    await a.flush();
    expect([deliveredTo(b), deliveredTo(c)]).toEqual([1, 1]);
    await announce(1, [a, b, c]);
    await a.send(frameBetween(0, 1, 1));
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
    await c.send(frameBetween(1, 0));
    await c.flush();
    await a.send(frameBetween(0, 1));
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
        await at.send(frameBetween(1, 0));
        await at.flush();
        const before = deliveredTo(other);
        await a.send(frameBetween(0, 1));
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
    await a.send(frameBetween(0, 1));
    await a.flush();
    expect(deliveredTo(c)).toBe(before + 1);
    await b.send(frameBetween(1, 0));
    await b.flush();
    expect(deliveredTo(c)).toBe(before + 1);
  });

  test('an address that was silent for the ageing time is forgotten', async () => {
    network = SwitchNetwork.open(3, { ageingSeconds: 1 });
    const [a, b, c] = (await network.connectAll()) as [TestGuest, TestGuest, TestGuest];
    await announce(1, [a, b, c]);
    // That it was known is seen by the event: a second may be over by now.
    expect(await network.event('mac-learned')).toMatchObject({ mac: macOf(1), port: 'p1' });
    await expect.poll(() => network.vswitch.bridge.fdb).toEqual([]);
    const before = deliveredTo(c);
    await a.send(frameBetween(0, 1));
    await a.flush();
    expect(deliveredTo(c)).toBe(before + 1);
  });

  test('a frame for the port it came from is dropped and counted as hairpin', async () => {
    network = SwitchNetwork.open(2);
    const [a, b] = (await network.connectAll()) as [TestGuest, TestGuest];
    await announce(0, [a, b]);
    await a.send(frameBetween(0, 0));
    await a.flush();
    expect(dropsOf(network.port(0).counters)).toEqual({ hairpin: 1 });
    expect([deliveredTo(a), deliveredTo(b)]).toEqual([0, 1]);
  });
});
