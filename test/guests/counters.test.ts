/**
 * Every frame is in exactly one counter: delivered, or dropped for one reason.
 */

import { afterEach, describe, expect, test } from 'vitest';
import type { TestGuest } from '../../src/testing/index.ts';
import { virtioFeatures } from '../../src/vhost-user/features.ts';
import { broadcast, ethernetFrame, frameBetween, macOf } from '../support/ethernet.ts';
import {
  announce,
  deliveredTo,
  dropsOf,
  expectDelivery,
  SwitchNetwork,
} from '../support/network.ts';

let network: SwitchNetwork;

afterEach(() => network.close());

describe('counters', () => {
  test('every frame is in exactly one of them', async () => {
    network = SwitchNetwork.open(3);
    const guests = await network.connectAll();
    const [a, b, c] = guests as [TestGuest, TestGuest, TestGuest];
    await announce(0, [a, b, c]);
    await announce(1, [a, b, c]);
    for (let i = 0; i < 10; i++) await a.send(frameBetween(0, 1, i, 100));
    for (let i = 0; i < 4; i++) await b.send(frameBetween(1, 0, i, 1000));
    for (let i = 0; i < 3; i++) await a.send(frameBetween(0, 2, i, 60));
    a.raw.send(new Uint8Array(13));
    await a.send(frameBetween(0, 0));
    await a.send(ethernetFrame({ from: broadcast, to: macOf(1) }));
    await a.flush();
    await b.flush();

    const [ofA, ofB, ofC] = [0, 1, 2].map((i) => network.port(i).counters);
    const noDrops = Object.fromEntries(Object.keys(ofC!.drops).map((reason) => [reason, 0]));
    const anyNumber = expect.any(Number);
    const impaired = { held: 0, duplicated: 0, reordered: 0, corrupted: 0 };
    expect(ofA).toEqual({
      fromGuest: {
        frames: 1 + 10 + 3 + 2,
        bytes: 60 + 10 * 100 + 3 * 60 + 2 * 60,
        notifications: anyNumber,
      },
      toGuest: { frames: 1 + 4, bytes: 60 + 4 * 1000, notifications: anyNumber },
      floodedFrames: 1 + 3,
      drops: { ...noDrops, tooShort: 1, hairpin: 1, badSource: 1 },
      impaired,
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
      impaired,
    });
    expect(ofC).toEqual({
      fromGuest: { frames: 0, bytes: 0, notifications: 0 },
      toGuest: { frames: 1 + 1 + 3, bytes: 5 * 60, notifications: anyNumber },
      floodedFrames: 0,
      drops: noDrops,
      impaired,
    });
  });

  test('a port without a guest drops what is flooded to it as notReady', async () => {
    network = SwitchNetwork.open(2);
    const a = await network.connect(0);
    await a.send(frameBetween(0, 1));
    await a.flush();
    expect(dropsOf(network.port(1).counters)).toEqual({ notReady: 1 });
    expect(network.port(0).counters.floodedFrames).toBe(1);
  });

  test('a guest alone on the bridge has its frames dropped as noDestination', async () => {
    network = SwitchNetwork.open(1);
    const a = await network.connect(0);
    await a.send(frameBetween(0, 1));
    await a.flush();
    expect(dropsOf(network.port(0).counters)).toEqual({ noDestination: 1 });
  });

  test('a guest that offers no buffers has its frames dropped as noBuffer', async () => {
    network = SwitchNetwork.open(2);
    const a = await network.connect(0);
    await network.connect(1, { receiveBuffers: 0 });
    for (let i = 0; i < 5; i++) await a.send(frameBetween(0, 1, i));
    await a.flush();
    expect(dropsOf(network.port(1).counters)).toEqual({ noBuffer: 5 });
    expect(network.port(1).counters.toGuest.frames).toBe(0);
  });

  test('mergeable buffers that are too few for a frame wait for one that fits', async () => {
    network = SwitchNetwork.open(2);
    const a = await network.connect(0);
    const b = await network.connect(1, { receiveBufferBytes: 256, receiveBuffers: 3 });
    await a.send(frameBetween(0, 1, 1, 1000));
    await a.flush();
    expect(dropsOf(network.port(1).counters)).toEqual({ noBuffer: 1 });
    await expectDelivery(a, b, [frameBetween(0, 1, 2, 700)]);
  });

  test('a frame that fits no buffer is dropped as bufferTooSmall and costs no buffer', async () => {
    network = SwitchNetwork.open(2);
    const a = await network.connect(0);
    const b = await network.connect(1, {
      features: virtioFeatures.VIRTIO_F_VERSION_1,
      receiveBufferBytes: 128,
      receiveBuffers: 1,
    });
    await a.send(frameBetween(0, 1, 1, 1514));
    await a.flush();
    expect(dropsOf(network.port(1).counters)).toEqual({ bufferTooSmall: 1 });
    await expectDelivery(a, b, [frameBetween(0, 1, 2, 116)]);
  });

  test('a frame that asks for an offload nobody agreed on is dropped as badHeader', async () => {
    network = SwitchNetwork.open(2);
    const [a, b] = (await network.connectAll()) as [TestGuest, TestGuest];
    const { ring } = a.transmitq.driver;
    const needsChecksum = 1;
    const offset = a.memory.allocate(72, 64);
    a.memory.bytes.set([needsChecksum, ...new Uint8Array(11), ...frameBetween(0, 1)], offset);
    const address = a.memory.guestAddress(offset);
    ring.writeDescriptor(0, { address, lengthBytes: 72, flags: 0, next: 0 });
    ring.setAvailEntry(0, 0);
    ring.availIndex = 1;
    a.kick('transmitq');
    await expect.poll(() => ring.usedIndex).toBe(1);
    expect(dropsOf(network.port(0).counters)).toEqual({ badHeader: 1 });
    expect(deliveredTo(b)).toBe(0);
  });
});
