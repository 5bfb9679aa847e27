/**
 * What a frontend may not do, what it is told, and how a session ends.
 */

import { describe, expect, test } from 'vitest';
import { failure } from '../../src/model/errors.ts';
import { servable, virtioFeatures } from '../../src/vhost-user/features.ts';
import { memorySlotsMax } from '../../src/vhost-user/memory.ts';
import {
  encodeMessage,
  memoryTableLayout,
  u64Layout,
  vringStateLayout,
} from '../../src/vhost-user/message.ts';
import { offeredFeatures, Recording, region, ringAddresses, running } from './recording.ts';

function expectSettled(recording: Recording): void {
  expect(recording.settled).toEqual(Array(recording.fdsIssued).fill(1));
}

describe('values a frontend may not send', () => {
  test.each([0, 3, 513, 65536, 0xffffffff])('ring size %d', (size) => {
    const recording = new Recording().negotiate();
    recording.vring('SET_VRING_NUM', 0, size);
    expect(recording.refusal).toBe('BAD_VALUE');
  });

  test.each([1, 2, 1024, 32768])('but ring size %d is fine', (size) => {
    const recording = new Recording().negotiate();
    recording.vring('SET_VRING_NUM', 0, size);
    expect(recording.open).toBe(true);
  });

  test('the sentence names port, request, queue, value and expectation', () => {
    const recording = new Recording().negotiate();
    recording.vring('SET_VRING_NUM', 0, 513);
    expect(recording.sentence).toBe(
      'port web1: SET_VRING_NUM for queue 0: size 513 is not a power of two',
    );
  });

  test.each([
    ['desc', 8n],
    ['avail', 1n],
    ['used', 2n],
  ] as const)('%s address off its alignment', (part, offBytes) => {
    const recording = new Recording().negotiate();
    const addresses = ringAddresses(0);
    recording.address(0, { ...addresses, [part]: addresses[part] + offBytes });
    expect(recording.refusal).toBe('BAD_VALUE');
  });

  test('a base that is no 16-bit index', () => {
    const recording = new Recording().negotiate();
    recording.vring('SET_VRING_BASE', 0, 0x10000);
    expect(recording.refusal).toBe('BAD_VALUE');
  });

  test('SET_VRING_ENABLE with a value other than 0 and 1', () => {
    const recording = new Recording().negotiate();
    recording.vring('SET_VRING_ENABLE', 0, 2);
    expect(recording.refusal).toBe('BAD_VALUE');
  });

  test('a status of more than 8 bits', () => {
    const recording = new Recording().negotiate();
    recording.tell('SET_STATUS', 0x100n);
    expect(recording.refusal).toBe('BAD_VALUE');
  });

  test('a ring with logging, which is not offered', () => {
    const recording = new Recording().negotiate();
    recording.address(0, ringAddresses(0), 1);
    expect(recording.refusal).toBe('MISSING_FEATURE');
  });

  test('a feature that was not offered, and the sentence names it', () => {
    const recording = new Recording();
    recording.negotiate(offeredFeatures | virtioFeatures.VIRTIO_F_RING_PACKED);
    expect(recording.refusal).toBe('MISSING_FEATURE');
    expect(recording.sentence).toBe(
      'port web1: SET_FEATURES: VIRTIO_F_RING_PACKED was not offered',
    );
  });

  test('a protocol feature that was not offered', () => {
    const recording = new Recording();
    recording.tell('SET_PROTOCOL_FEATURES', 1n << 1n);
    expect(recording.sentence).toContain('VHOST_USER_PROTOCOL_F_LOG_SHMFD was not offered');
  });
});

describe('memory', () => {
  const second = { ...region, guestAddress: 0x4000_0000n, userAddress: 0x7f10_0000_0000n };

  test.each([
    ['an empty region', { ...region, sizeBytes: 0n }],
    ['a guest address that wraps', { ...region, guestAddress: (1n << 64n) - 1n }],
    ['a user address that wraps', { ...region, userAddress: (1n << 64n) - 1n }],
    ['an offset beyond any file', { ...region, mmapOffset: (1n << 63n) - 1n }],
  ])('%s is refused, alone and added', (_, bad) => {
    const table = new Recording().negotiate();
    table.memory([bad]);
    expect(table.refusal).toBe('BAD_VALUE');
    expectSettled(table);
    const added = new Recording().negotiate();
    added.addMemory(bad);
    expect(added.refusal).toBe('BAD_VALUE');
    expectSettled(added);
  });

  test('regions that overlap in guest addresses are refused', () => {
    const overlapping = { ...second, guestAddress: region.guestAddress + region.sizeBytes - 1n };
    const recording = new Recording().negotiate();
    recording.memory([region, overlapping]);
    expect(recording.refusal).toBe('BAD_VALUE');
    expect(recording.backend.callsOf('setMemory')).toEqual([]);
  });

  test('a table without any region means unshared memory, and the sentence names the option', () => {
    const recording = new Recording().negotiate();
    recording.send('SET_MEM_TABLE', { payload: memoryTableLayout.encode([]) });
    expect(recording.refusal).toBe('MEMORY_NOT_SHARED');
    expect(recording.sentence).toContain('share=on');
  });

  test('a ring without any memory means unshared memory: QEMU leaves such regions out', () => {
    const recording = new Recording().negotiate();
    recording.startRing(0);
    expect(recording.refusal).toBe('MEMORY_NOT_SHARED');
    expect(recording.sentence).toContain('share=on');
    expectSettled(recording);
  });

  test('what the backend cannot map is the frontend’s mistake, with the option to mend it', () => {
    const recording = new Recording().negotiate();
    const error = failure('map-failed', { cause: 'mmap: ENODEV' });
    recording.backend.failures.set('addMemoryRegion', error);
    recording.addMemory(region);
    expect(recording.refusal).toBe('MEMORY_UNMAPPABLE');
    expect(recording.sentence).toMatch(/mmap: ENODEV; .*share=on/);
    expectSettled(recording);
  });

  test('reports how much is shared after every change', () => {
    const recording = new Recording().negotiate();
    recording.memory([region]);
    recording.addMemory(second);
    recording.removeMemory(region);
    expect(recording.events.filter(({ type }) => type === 'memory')).toEqual([
      { type: 'memory', regions: 1, bytes: region.sizeBytes },
      { type: 'memory', regions: 2, bytes: 2n * region.sizeBytes },
      { type: 'memory', regions: 1, bytes: region.sizeBytes },
    ]);
  });

  test(`takes ${memorySlotsMax} slots and not one more`, () => {
    const recording = new Recording().negotiate();
    const slot = (i: number) => ({ ...region, guestAddress: BigInt(i) * region.sizeBytes });
    for (let i = 0; i < memorySlotsMax; i++) recording.addMemory(slot(i));
    expect(recording.ask('GET_MAX_MEM_SLOTS')).toBe(BigInt(memorySlotsMax));
    expect(recording.backend.callsOf('addMemoryRegion').length).toBe(memorySlotsMax);
    recording.addMemory(slot(memorySlotsMax));
    expect(recording.refusal).toBe('BAD_VALUE');
    expectSettled(recording);
  });
});

describe('order', () => {
  test('a kick before SET_FEATURES is refused', () => {
    const recording = new Recording();
    recording.memory();
    recording.startRing(0);
    expect(recording.refusal).toBe('WRONG_ORDER');
  });

  test.each([
    ['SET_VRING_NUM', (recording: Recording) => recording.address(0)],
    ['SET_VRING_ADDR', (recording: Recording) => recording.vring('SET_VRING_NUM', 0, 256)],
  ] as const)('a kick without %s names what is missing', (missing, rest) => {
    const recording = new Recording().negotiate();
    recording.memory();
    rest(recording);
    recording.eventfd('SET_VRING_KICK', 0);
    expect(recording.refusal).toBe('WRONG_ORDER');
    expect(recording.sentence).toContain(missing);
    expectSettled(recording);
  });

  test.each(['SET_VRING_NUM', 'SET_VRING_BASE'] as const)(
    '%s stops a ring that runs, which then needs its addresses again',
    (name) => {
      const recording = running();
      recording.vring(name, 0, 256);
      expect(recording.open).toBe(true);
      expect(recording.events.at(-1)).toMatchObject({ type: 'ring-stopped', queue: 0 });
      recording.eventfd('SET_VRING_KICK', 0);
      expect(recording.refusal).toBe('WRONG_ORDER');
      expectSettled(recording);
    },
  );

  test('a ring outside memory is refused, and so is moving one there', () => {
    const outside = { ...ringAddresses(0), used: region.userAddress + region.sizeBytes - 4n };
    const started = new Recording().negotiate();
    started.memory();
    started.vring('SET_VRING_NUM', 0, 256);
    started.address(0, outside);
    started.eventfd('SET_VRING_KICK', 0);
    expect(started.refusal).toBe('RING_UNMAPPED');
    const moved = running();
    moved.address(0, outside);
    expect(moved.refusal).toBe('RING_UNMAPPED');
    expect(moved.backend.callsOf('moveQueue')).toEqual([]);
  });
});

describe('failure', () => {
  test('is acknowledged before the session closes', () => {
    const recording = new Recording().negotiate();
    const payload = vringStateLayout.encode({ index: 0, num: 3 });
    const reply = recording.send('SET_VRING_NUM', { payload, needReply: true });
    expect(u64Layout.decode(reply!.payload)).toBe(1n);
    expect(recording.refusal).toBe('BAD_VALUE');
  });

  test('is data, and a sentence that says the same', () => {
    const recording = new Recording().negotiate();
    recording.vring('SET_VRING_NUM', 1, 3);
    expect(recording.closeReason).toEqual({
      kind: 'protocol-error',
      code: 'BAD_VALUE',
      fault: 'ring-size-no-power-of-two',
      parameters: { size: 3 },
      request: 'SET_VRING_NUM',
      queue: 1,
      sentence: 'port web1: SET_VRING_NUM for queue 1: size 3 is not a power of two',
    });
  });

  test('of the backend closes the session with the error as its cause', () => {
    const recording = new Recording().negotiate();
    const error = new Error('no worker');
    recording.backend.failures.set('startQueue', error);
    recording.memory();
    recording.startRing(0);
    expect(recording.closeReason).toEqual({
      kind: 'backend-error',
      code: 'DEVICE_FAILED',
      fault: 'device-failed',
      parameters: { cause: 'no worker' },
      request: 'SET_VRING_KICK',
      queue: 0,
      sentence: 'port web1: SET_VRING_KICK for queue 0: the switch failed: no worker',
      cause: error,
    });
    expectSettled(recording);
  });

  test('to send an answer closes the session', () => {
    const recording = running();
    recording.sendFailure = new Error('EPIPE');
    recording.send('GET_FEATURES');
    expect(recording.closeReason?.kind).toBe('send-failed');
    expect(recording.backend.running.size).toBe(0);
    expectSettled(recording);
  });

  test('while closing is reported, and the rest is given back all the same', () => {
    const recording = running();
    const error = new Error('stuck');
    recording.backend.failures.set('enableQueue', error);
    recording.session.end();
    expect(recording.closeReason).toMatchObject({ kind: 'backend-error', cause: error });
    expect(recording.backend.running.size).toBe(0);
    expect(recording.backend.callsOf('setMemory').at(-1)).toEqual([0]);
  });
});

describe('the end', () => {
  test('gives back rings, eventfds and memory, once', () => {
    const recording = running();
    const before = recording.backend.calls.length;
    recording.session.close();
    expect(recording.backend.calls.slice(before)).toEqual([
      ['stopQueue', 0],
      ['enableQueue', 0, false],
      ['setCall', 0, -1],
      ['stopQueue', 1],
      ['setErr', 1, -1],
      ['setMemory', 0],
    ]);
    recording.session.close();
    recording.session.end();
    expect(recording.backend.calls.length).toBe(before + 6);
    expect(recording.eventTypes().filter((type) => type === 'closed')).toEqual(['closed']);
    expect(recording.events.at(-1)).toEqual({
      type: 'closed',
      reason: { kind: 'closed-by-owner' },
    });
    expectSettled(recording);
  });

  test('between two messages is the frontend leaving', () => {
    const recording = running();
    recording.session.end();
    expect(recording.closeReason).toEqual({ kind: 'frontend-left' });
  });

  test('within a message is an error, and its fds are closed', () => {
    const recording = new Recording();
    recording.feed(encodeMessage(5, 1, new Uint8Array(40)).subarray(0, 20), recording.fds(2));
    recording.session.end();
    expect(recording.refusal).toBe('TRUNCATED');
    expectSettled(recording);
  });

  test('leaves a session that wants nothing and closes what it is given', () => {
    const recording = new Recording();
    recording.session.close();
    expect(recording.session.wants).toBe(0);
    recording.session.receive(new Uint8Array(12), recording.fds(2));
    expectSettled(recording);
  });

  test('may be called for from within an event', () => {
    const recording = new Recording().negotiate();
    recording.onEvent = (event) => {
      if (event.type === 'ring-started') recording.session.close();
    };
    recording.memory();
    recording.startRing(0);
    expect(recording.closeReason).toEqual({ kind: 'closed-by-owner' });
    expect(recording.backend.running.size).toBe(0);
    expectSettled(recording);
  });
});

describe('an offer', () => {
  test('is what a frontend is told, whatever else could be served', () => {
    const offered = { virtio: 1n << 32n, protocol: 1n << 3n };
    const recording = new Recording(1, offered);
    expect(recording.ask('GET_FEATURES')).toBe(offered.virtio);
    expect(recording.ask('GET_PROTOCOL_FEATURES')).toBe(offered.protocol);
  });

  test('beyond what can be served is the owner’s mistake', () => {
    const { virtio, protocol } = servable;
    const { VIRTIO_NET_F_RSS } = virtioFeatures;
    expect(() => new Recording(1, { virtio: virtio | VIRTIO_NET_F_RSS, protocol })).toThrow(
      RangeError,
    );
    expect(() => new Recording(1, { virtio, protocol: protocol | (1n << 19n) })).toThrow(
      RangeError,
    );
  });
});
