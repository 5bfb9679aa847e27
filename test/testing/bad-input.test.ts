/**
 * What a test does wrong is refused at the call with a code, and what it does wrong on purpose,
 * through `raw`, reaches the other end as it is.
 */

import { readdirSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { FdListener } from '../../src/native/fd-socket.ts';
import {
  arp,
  requestNumbers,
  type SendOptions,
  TestGuest,
  type TestGuestOptions,
  VIRTQ_DESC_F_AVAIL,
} from '../../src/testing/index.ts';
import { frameBetween, macOf } from '../support/ethernet.ts';
import { dropsOf, expectDelivery, SwitchNetwork } from '../support/network.ts';

let network: SwitchNetwork;

beforeEach(() => {
  network = SwitchNetwork.open(2);
});

afterEach(() => network.close());

const coded = (code: string, words = '') =>
  expect.objectContaining({ code, message: expect.stringContaining(words) });

/** Options that no types would let through. */
const options = (wrong: Record<string, unknown>) => wrong as Partial<TestGuestOptions>;

describe('options', () => {
  test.each([
    ['path', { path: 7 }],
    ['path', { path: '' }],
    ['path', { path: `/${'x'.repeat(108)}` }],
    ['queuePairs', { queuePairs: 0 }],
    ['queuePairs', { queuePairs: 129 }],
    ['queuePairs', { queuePairs: 1.5 }],
    ['queuePairs', { queuePairs: '2' }],
    ['queueSize', { queueSize: 0 }],
    ['queueSize', { queueSize: 65536 }],
    ['queueSize', { queueSize: 100 }],
    ['queueSize', { queueSize: Number.NaN }],
    ['memory', { memory: 'paper' }],
    ['memory', { memorySizeBytes: 5000 }],
    ['memory', { memorySizeBytes: 4096 }],
    ['memorySizeBytes', { memorySizeBytes: -1 }],
    ['memoryRegions', { memoryRegions: 0 }],
    ['memoryRegions', { memoryRegions: 510 }],
    ['pluggedRegions', { memoryRegions: 2, pluggedRegions: 3 }],
    ['receiveBufferBytes', { receiveBufferBytes: 11 }],
    ['receiveBufferBytes', { receiveBufferBytes: Number.POSITIVE_INFINITY }],
    ['receiveBuffers', { receiveBuffers: 257 }],
    ['pieces', { receiveLayout: { pieces: [0] } }],
    ['pieces', { receiveLayout: { pieces: 12 } }],
    ['receiveLayout', { receiveLayout: 12 }],
    ['pieces', { receiveLayout: { pieces: [3000] } }],
    ['timeoutMs', { timeoutMs: -1 }],
    ['timeoutMs', { timeoutMs: Number.NaN }],
    ['timeoutMs', { timeoutMs: '5' }],
    ['features', { features: 1n << 64n }],
    ['features', { features: -1n }],
    ['features', { features: 5 }],
    ['VIRTIO_F_NONSENSE', { features: ['VIRTIO_F_NONSENSE'] }],
    ['protocolFeatures', { protocolFeatures: 'VHOST_USER_PROTOCOL_F_MQ' }],
  ])('%s: wrong options %# are refused', async (words, wrong) => {
    const connecting = TestGuest.connect({ path: network.path(0), ...options(wrong) });
    await expect(connecting).rejects.toThrow(
      expect.objectContaining({
        code: expect.stringMatching(/^(BAD_OPTION|SOCKET_PATH_TOO_LONG)$/),
      }),
    );
    await expect(connecting).rejects.toThrow(words);
  });

  test('nothing is left of a guest that was refused', async () => {
    const before = readdirSync('/proc/self/fd').length;
    for (const wrong of [{ queueSize: 100 }, { queuePairs: 8, memorySizeBytes: 4 << 20 }]) {
      await expect(network.connect(0, wrong)).rejects.toThrow(coded('BAD_OPTION'));
      // The switch closes its end of the connection in its own time.
      await expect.poll(() => readdirSync('/proc/self/fd').length).toBe(before);
    }
    const guest = await network.connect(0);
    expect(network.eventsOf('request-refused')).toEqual([]);
    await guest.close();
  });
});

describe('frames', () => {
  test.each([
    ['of 13 bytes', new Uint8Array(13)],
    ['of no bytes', new Uint8Array(0)],
    ['of 65551 bytes', new Uint8Array(65551)],
    ['that is text', 'hello' as unknown as Uint8Array],
  ])('a frame %s is refused, and nothing of its batch is sent', async (_, frame) => {
    const guest = await network.connect(0);
    await expect(guest.send(frame)).rejects.toThrow(coded('BAD_FRAME'));
    await expect(guest.sendAll([frameBetween(0, 1), frame])).rejects.toThrow(coded('BAD_FRAME'));
    await guest.flush();
    expect(network.port(0).counters.fromGuest.frames).toBe(0);
  });

  test.each([
    ['queuePair', { queuePair: 1 }],
    ['queuePair', { queuePair: -1 }],
    ['pieces', { pieces: [0, 60] }],
    ['pieces', { pieces: [2.5] }],
    ['pieces', { pieces: [2000] }],
    ['pieces', { pieces: 12 }],
    ['header', { header: new Uint8Array(11) }],
    ['header', { header: 12 }],
    ['header.gsoSize', { header: { gsoSize: 65536 } }],
    ['header.flags', { header: { flags: -1 } }],
    ['timeoutMs', { timeoutMs: -1 }],
    ['options', null],
  ])('a wrong %s is refused, %#', async (words, wrong) => {
    const guest = await network.connect(0);
    await expect(guest.send(frameBetween(0, 1), wrong as SendOptions)).rejects.toThrow(
      coded('BAD_OPTION', words),
    );
    await expectDelivery(guest, await network.connect(1), [frameBetween(0, 1)]);
  });

  test('what is no array of frames is refused', async () => {
    const guest = await network.connect(0);
    const frames = 7 as unknown as Uint8Array[];
    await expect(guest.sendAll(frames)).rejects.toThrow(coded('BAD_OPTION', 'frames'));
  });

  test('an indirect table that was not agreed on is refused', async () => {
    const guest = await network.connect(0, { features: ['VIRTIO_F_VERSION_1'] });
    const sending = guest.send(frameBetween(0, 1), { indirect: true });
    await expect(sending).rejects.toThrow(coded('BAD_OPTION', 'VIRTIO_F_INDIRECT_DESC'));
  });

  test('a frame with more pieces than the ring has is refused, and does not wait', async () => {
    const guest = await network.connect(0, { queueSize: 4 });
    const pieces = [1, 1, 1, 1];
    await expect(guest.send(frameBetween(0, 1), { pieces })).rejects.toThrow(coded('BAD_OPTION'));
  });
});

describe('use after close', () => {
  test.each<[string, (guest: TestGuest) => unknown]>([
    ['send()', (guest) => guest.send(frameBetween(0, 1))],
    ['sendAll()', (guest) => guest.sendAll([frameBetween(0, 1)])],
    ['flush()', (guest) => guest.flush()],
    ['receive()', (guest) => guest.receive()],
    ['receiveAll()', (guest) => guest.receiveAll()],
    ['expect()', (guest) => guest.expect({ arp: {} })],
    ['kick()', async (guest) => guest.kick('transmitq')],
    ['enablePairs()', (guest) => guest.enablePairs(1)],
    ['plugMemory()', (guest) => guest.plugMemory(0)],
    ['reconnect()', (guest) => guest.reconnect()],
    ['raw.message()', (guest) => guest.raw.message({ request: 'GET_FEATURES', replied: true })],
    ['raw.bytes()', async (guest) => guest.raw.bytes(new Uint8Array(1))],
    ['raw.send()', async (guest) => guest.raw.send(new Uint8Array(1))],
    ['raw.kick()', async (guest) => guest.raw.kick(0)],
  ])('%s is refused', async (_, use) => {
    const guest = await network.connect(0);
    await guest.close();
    await expect(use(guest)).rejects.toThrow(coded('CLOSED'));
  });
});

describe('closing while a guest is connected again', () => {
  test('ends that, and leaves nothing behind', async () => {
    const guest = await network.connect(0);
    network.vswitch.removePort(network.port(0));
    const reconnecting = expect(guest.reconnect()).rejects.toThrow(coded('CLOSED'));
    await expect(guest.reconnect()).rejects.toThrow(coded('CLOSED', 'connecting'));
    network.vswitch.addPort({ path: network.path(0) });
    guest.disconnect();
    await reconnecting;
  });
});

describe('a backend that does nothing', () => {
  test('costs its limit and not more', async () => {
    const path = network.path(9);
    const listener = FdListener.listen(path);
    try {
      const connecting = TestGuest.connect({ path, timeoutMs: 30 });
      await expect(connecting).rejects.toThrow(coded('TIMEOUT', 'the reply to request 1'));
    } finally {
      listener.close();
    }
  });

  test('is not there: connecting fails, and listening has its limit', async () => {
    const path = network.path(9);
    await expect(TestGuest.connect({ path })).rejects.toThrow(coded('SYSTEM'));
    await expect(TestGuest.listen({ path, timeoutMs: 20 })).rejects.toThrow(coded('TIMEOUT'));
  });
});

describe('on purpose', () => {
  test('a frame of any length reaches the backend', async () => {
    const guest = await network.connect(0);
    for (const length of [0, 1, 13]) expect(guest.raw.send(new Uint8Array(length))).toBe(true);
    await guest.flush();
    expect(dropsOf(network.port(0).counters)).toEqual({ tooShort: 3 });
  });

  test('a header may promise what is not so', async () => {
    const guest = await network.connect(0);
    guest.raw.send(frameBetween(0, 1), { header: { flags: 1, csumStart: 60000 } });
    await guest.flush();
    expect(dropsOf(network.port(0).counters)).toEqual({ badHeader: 1 });
  });

  test('any field of a split ring can be written', async () => {
    const guest = await network.connect(0);
    const ring = guest.raw.splitRing(1);
    ring.setAvailEntry(0, 9999);
    ring.availIndex = 1;
    guest.raw.kick(1);
    expect(await network.event('ring-broken')).toMatchObject({ port: 'p0', queue: 1 });
    expect(() => guest.raw.packedRing(1)).toThrow(coded('BAD_OPTION', 'split ring'));
  });

  test('any field of a packed ring can be written', async () => {
    const features = ['VIRTIO_F_VERSION_1', 'VIRTIO_F_RING_PACKED'] as const;
    const guest = await network.connect(0, { features });
    const ring = guest.raw.packedRing(1);
    ring.writeDescriptor(0, { address: 1n, lengthBytes: 64, id: 0, flags: VIRTQ_DESC_F_AVAIL });
    guest.raw.kick(1);
    expect(await network.event('ring-broken')).toMatchObject({ port: 'p0', queue: 1 });
    expect(() => guest.raw.splitRing(1)).toThrow(coded('BAD_OPTION', 'packed ring'));
  });

  test('any message can be said, and what it costs shows', async () => {
    const guest = await network.connect(0);
    const reply = await guest.raw.message({ request: 'GET_QUEUE_NUM', replied: true });
    expect(reply?.request).toBe(requestNumbers.GET_QUEUE_NUM);
    const waiting = expect(guest.receive()).rejects.toThrow(coded('DISCONNECTED'));
    await guest.raw.message({ request: 9999, payload: new Uint8Array(8) });
    await waiting;
    await expect(guest.send(frameBetween(0, 1))).rejects.toThrow(coded('DISCONNECTED'));
    await guest.reconnect();
    await expectDelivery(guest, await network.connect(1), [frameBetween(0, 1)]);
  });

  test('any bytes can be sent on the socket', async () => {
    const guest = await network.connect(0);
    guest.raw.bytes(new Uint8Array(12).fill(0xff));
    expect((await network.event('frontend-left')).reason).toMatchObject({ code: 'BAD_VERSION' });
  });
});

describe('expect()', () => {
  const request = arp({ senderMac: macOf(0), senderIp: '10.0.0.1', targetIp: '10.0.0.2' });

  test('passes over other frames and returns the one that matches, parsed', async () => {
    const [a, b] = [await network.connect(0), await network.connect(1)];
    await a.sendAll([frameBetween(0, 1), request]);
    const found = await b.expect({ arp: { operation: 'request', targetIp: '10.0.0.2' } });
    expect(found.arp?.senderMac).toBe(macOf(0));
    expect(b.pendingFrames).toBe(0);
  });

  test('says what came instead', async () => {
    const [a, b] = [await network.connect(0), await network.connect(1)];
    await a.send(request);
    await expect.poll(() => b.pendingFrames).toBe(1);
    const expecting = b.expect(
      { arp: { operation: 'request', targetIp: '10.0.0.9' } },
      { within: 50 },
    );
    await expect(expecting).rejects.toThrow(
      coded(
        'TIMEOUT',
        'expected ARP who-has 10.0.0.9, got ARP who-has 10.0.0.2 tell 10.0.0.1 ' +
          '(arp.targetIp is 10.0.0.2, not 10.0.0.9) within 50 ms',
      ),
    );
  });

  test.each([undefined, null, 7])('%s is no matcher', async (matcher) => {
    const guest = await network.connect(0);
    const expecting = guest.expect(matcher as unknown as Uint8Array);
    await expect(expecting).rejects.toThrow(coded('BAD_OPTION', 'matcher'));
  });

  test.each([-1, Number.NaN])('within: %d is refused', async (within) => {
    const guest = await network.connect(0);
    await expect(guest.expect({ arp: {} }, { within })).rejects.toThrow(
      coded('BAD_OPTION', 'within'),
    );
  });
});
