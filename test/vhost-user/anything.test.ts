/**
 * Throws anything at a session: sequences of messages, sensible one by one but in no sensible
 * order, and plain bytes. Nothing may throw, and every fd is handed over or closed exactly once.
 */

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Backend } from '../../src/vhost-user/backend.ts';
import { servable } from '../../src/vhost-user/features.ts';
import {
  encodeMessage,
  inflightAreaLayout,
  logAreaLayout,
  memoryTableLayout,
  type RequestName,
  requestNumbers,
  u64Layout,
  vringStateLayout,
} from '../../src/vhost-user/message.ts';
import {
  everything,
  offeredFeatures,
  Recording,
  region,
  ringAddresses,
  running,
} from './recording.ts';

function expectSettled(recording: Recording): void {
  expect(recording.settled).toEqual(Array(recording.fdsIssued).fill(1));
}

const inflight = inflightAreaLayout.encode({
  sizeBytes: 1n << 20n,
  offsetBytes: 0n,
  queues: 2,
  queueSize: 256,
  wireBytes: 24,
});

describe('a session', () => {
  const names = Object.keys(requestNumbers) as RequestName[];
  const payload = fc.oneof(
    fc.constant(new Uint8Array(0)),
    fc.uint8Array({ maxLength: 48 }),
    fc.constantFrom(0n, 1n, 2n, 0x100n, 0x101n, offeredFeatures).map(u64Layout.encode),
    fc
      .record({ index: fc.nat(2), num: fc.constantFrom(0, 1, 3, 256, 0x10000) })
      .map(vringStateLayout.encode),
    fc.constant(memoryTableLayout.encode([region])),
  );
  const message = fc.record({
    request: fc.oneof(
      fc.constantFrom(...names).map((name) => requestNumbers[name]),
      fc.nat(50),
    ),
    flags: fc.constantFrom(0x1, 0x9),
    payload,
    fdCount: fc.constantFrom(0, 0, 0, 1, 1, 2, 9),
  });

  type Step = (recording: Recording) => unknown;
  const queue = fc.nat(1);
  /** What a frontend does, in no order a frontend would do it. */
  const orderly: fc.Arbitrary<Step> = fc.oneof(
    queue.map((index) => (recording: Recording) => recording.startRing(index)),
    queue.map((index) => (recording: Recording) => recording.vring('GET_VRING_BASE', index, 0)),
    queue.map((index) => (recording: Recording) => recording.address(index)),
    queue.map(
      (index) => (recording: Recording) => recording.session.queueBroken(index, 'chain-too-long'),
    ),
    fc.record({ index: queue, num: fc.nat(1) }).map(
      ({ index, num }) =>
        (recording: Recording) =>
          recording.vring('SET_VRING_ENABLE', index, num),
    ),
    fc
      .record({
        name: fc.constantFrom<RequestName[]>('SET_VRING_KICK', 'SET_VRING_CALL', 'SET_VRING_ERR'),
        index: queue,
        hasFd: fc.boolean(),
      })
      .map(
        ({ name, index, hasFd }) =>
          (recording: Recording) =>
            recording.eventfd(name, index, hasFd),
      ),
    fc.constantFrom<Step[]>(
      (recording) => recording.memory(),
      (recording) => recording.removeMemory(region, recording.fds(1)),
      (recording) => recording.addMemory(region),
      (recording) => recording.negotiate(),
      (recording) => recording.tell('SET_STATUS', 0n),
      (recording) => recording.tell('SET_STATUS', 0xfn),
      (recording) => recording.send('RESET_DEVICE', { needReply: true }),
      (recording) => recording.send(33, { fds: recording.fds(1), needReply: true }),
    ),
  );
  /** The same of a frontend that agreed to everything. */
  const demanding: fc.Arbitrary<Step> = fc
    .oneof(
      queue.map((index) => (recording: Recording) => recording.vring('VRING_KICK', index, 0)),
      queue.map((index) => (recording: Recording) => recording.session.queueCalled(index)),
      queue.map(
        (index) => (recording: Recording) => recording.address(index, ringAddresses(index), 1, 0n),
      ),
      fc.constantFrom<Step[]>(
        (recording) => recording.tell('SET_FEATURES', servable.virtio),
        (recording) =>
          recording.send('SET_LOG_BASE', {
            payload: logAreaLayout.encode({ sizeBytes: 1n << 20n, offsetBytes: 0n }),
            fds: recording.fds(1),
          }),
        (recording) => recording.send('SET_BACKEND_REQ_FD', { fds: recording.fds(1) }),
        (recording) => recording.send('GET_INFLIGHT_FD', { payload: inflight }),
        (recording) =>
          recording.send('SET_INFLIGHT_FD', { payload: inflight, fds: recording.fds(1) }),
        (recording) =>
          recording.backend.channelReader?.receive(new Uint8Array(3), recording.fds(1)),
        (recording) => recording.backend.channelReader?.end(),
      ),
    )
    .map((step) => (recording) => recording.offered === servable && step(recording));
  const disorderly: fc.Arbitrary<Step> = message.map(
    ({ request, flags, payload: bytes, fdCount }) =>
      (recording) =>
        recording.feed(encodeMessage(request, flags, bytes), recording.fds(fdCount)),
  );
  const failing = fc.constantFrom<(keyof Backend | undefined)[]>(
    undefined,
    undefined,
    undefined,
    'setMemory',
    'startQueue',
    'stopQueue',
    'setCall',
    'enableQueue',
    'setLog',
    'setCallInBand',
    'openChannel',
    'createMemoryFile',
    'kick',
  );

  test('no sequence of messages throws, leaks an fd or leaves a ring running', () => {
    const seen = { survivors: 0, restarts: 0, kicks: 0, refusals: new Set<string>() };
    fc.assert(
      fc.property(
        fc.constantFrom(
          () => new Recording(),
          () => new Recording().negotiate(),
          () => new Recording(1, servable).negotiate(),
          () => running(),
          () => running(everything()),
        ),
        failing,
        fc.array(
          fc.oneof(
            { weight: 20, arbitrary: orderly },
            { weight: 8, arbitrary: demanding },
            { weight: 1, arbitrary: disorderly },
          ),
          { maxLength: 12 },
        ),
        (prepare, failure, steps) => {
          const recording = prepare();
          if (failure !== undefined) recording.backend.failures.set(failure, new Error('refused'));
          for (const step of steps) step(recording);
          if (recording.open && steps.length > 4) seen.survivors++;
          if (recording.backend.callsOf('startQueue').length > 2) seen.restarts++;
          if (recording.backend.callsOf('kick').length > 0) seen.kicks++;
          if (recording.refusal !== undefined) seen.refusals.add(recording.refusal);
          recording.session.end();
          expectSettled(recording);
          expect(recording.backend.running.size).toBe(0);
          expect(recording.backend.channelsOpen).toBe(0);
          expect(recording.eventTypes().filter((type) => type === 'closed').length).toBe(1);
        },
      ),
      { numRuns: 3000 },
    );
    // The property is worth something only if it went through deep states as well as refusals.
    expect(seen.survivors).toBeGreaterThan(50);
    expect(seen.restarts).toBeGreaterThan(50);
    expect(seen.kicks).toBeGreaterThan(50);
    expect(seen.refusals.size).toBeGreaterThan(5);
  });

  test('no sequence of bytes throws or leaks an fd', () => {
    const chunk = fc.record({
      bytes: fc.oneof(
        fc.uint8Array({ maxLength: 64 }),
        message.map(({ request, flags: bits, payload: body }) =>
          encodeMessage(request, bits, body),
        ),
      ),
      fdCount: fc.constantFrom(0, 0, 1, 3),
    });
    fc.assert(
      fc.property(fc.array(chunk, { maxLength: 20 }), (chunks) => {
        const recording = new Recording();
        for (const { bytes, fdCount } of chunks) recording.feed(bytes, recording.fds(fdCount));
        recording.session.end();
        expectSettled(recording);
      }),
      { numRuns: 2000 },
    );
  });
});
