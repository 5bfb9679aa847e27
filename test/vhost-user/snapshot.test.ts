/**
 * A session that is told what a snapshot of another one says is as that one: it says the same of
 * itself, and its backend is where the other's is. Whatever was said before.
 */

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { protocolFeatures } from '../../src/vhost-user/features.ts';
import { requestNumbers, u64Layout } from '../../src/vhost-user/message.ts';
import { baseRequest, type SessionSnapshot } from '../../src/vhost-user/snapshot.ts';
import { generousOffer } from '../support/network.ts';
import { everything, Recording, region, ringAddresses, running } from './recording.ts';
import { opening, type Step, start, steps } from './session-steps.ts';

const { VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS: inBand } = protocolFeatures;
const offered = { ...generousOffer, protocol: generousOffer.protocol & ~inBand };

const memoryLeaves: readonly number[] = [requestNumbers.SET_MEM_TABLE, requestNumbers.REM_MEM_REG];

/** A fresh session that was told `snapshot`, and where rings are that ran. */
function told(snapshot: SessionSnapshot, like: Recording, usedIndex = 0): Recording {
  const fresh = new Recording(1, like.offered);
  for (const request of snapshot.requests) {
    const { name, payload, files } = request;
    const ring = snapshot.running.find(
      ({ queue }) => name === 'SET_VRING_KICK' && queue === payload[0],
    );
    if (ring !== undefined) {
      const base = baseRequest(ring.queue, usedIndex);
      fresh.send(base.name, { payload: base.payload });
    }
    fresh.send(name, { payload, fds: fresh.fds(files.length) });
  }
  return fresh;
}

/** What a backend was brought to, whichever way. */
function reached({ backend, session }: Recording): unknown {
  const last = (name: Parameters<typeof backend.callsOf>[0]) => backend.callsOf(name).at(-1);
  const byQueue = (name: Parameters<typeof backend.callsOf>[0]) =>
    Object.fromEntries(backend.callsOf(name).map(([queue, ...rest]) => [queue as number, rest]));
  const parts = (start: unknown) => {
    const { desc, avail, used } = start as Record<string, bigint>;
    return { desc, avail, used };
  };
  const places = new Map<number, unknown>();
  for (const [name, queue, start] of backend.calls) {
    if (name === 'startQueue' || name === 'moveQueue') places.set(queue as number, parts(start));
  }
  // MTUs count from the last features on.
  const at = backend.calls.findLastIndex(([name]) => name === 'setFeatures');
  const mtu = backend.calls.slice(at + 1).findLast(([name]) => name === 'setMtu');
  const enabled = byQueue('enableQueue');
  return {
    features: session.features,
    memory: session.memory,
    running: [...backend.running].sort().map((queue) => [queue, places.get(queue)]),
    enabled: [0, 1].map((queue) => enabled[queue]?.[0] ?? false),
    log: last('setLog'),
    logging: last('setLogging')?.[0] ?? false,
    mtu: session.features === undefined ? undefined : mtu?.[1],
  };
}

/** Everything but in-band notifications, of which there is no snapshot. */
function say(recording: Recording, { request, payload, fds }: Step): void {
  const isChoice = request === requestNumbers.SET_PROTOCOL_FEATURES;
  const chosen = isChoice ? u64Layout.encode(u64Layout.decode(payload)! & ~inBand) : payload;
  recording.send(request, { payload: chosen, fds: recording.fds(fds.length) });
}

test('any session is what its snapshot makes of a fresh one', () => {
  const some = fc.oneof(
    { arbitrary: fc.oneof(...steps).map((one) => [one]), weight: 10 },
    { arbitrary: start, weight: 2 },
  );
  const seen = { running: 0, sessions: 0 };
  fc.assert(
    fc.property(fc.boolean(), fc.array(some, { maxLength: 40, size: 'max' }), (opens, said) => {
      const recording = new Recording(1, offered);
      for (const each of opens ? opening : []) say(recording, each);
      for (const each of said.flat()) {
        // What a data plane refuses, since its rings are there.
        if (recording.backend.running.size > 0 && memoryLeaves.includes(each.request)) continue;
        const snapshot = recording.session.snapshot()!;
        say(recording, each);
        if (recording.open) continue;
        // It was refused: before, all was well.
        expect(told(snapshot, recording).open).toBe(true);
        return;
      }
      const snapshot = recording.session.snapshot()!;
      const fresh = told(snapshot, recording);
      expect(fresh.closeReason).toBeUndefined();
      expect(reached(fresh)).toEqual(reached(recording));
      expect(fresh.session.snapshot()).toEqual(snapshot);
      seen.sessions += 1;
      if (recording.backend.running.size > 0) seen.running += 1;
    }),
    { numRuns: 2000 },
  );
  expect(seen.sessions).toBeGreaterThan(50);
  expect(seen.running).toBeGreaterThan(5);
});

describe('a snapshot', () => {
  test('of a session that was left has where its rings stopped, and leaves nothing running', () => {
    const recording = running();
    recording.backend.nextAvail = 77;
    const snapshot = recording.session.leave()!;
    expect(snapshot.running).toEqual([]);
    expect([...recording.backend.running]).toEqual([]);
    expect(recording.open).toBe(false);
    expect(recording.eventTypes()).not.toContain('closed');
    const fresh = told(snapshot, recording);
    expect(fresh.backend.callsOf('startQueue').map(([, at]) => (at as { base: number }).base)) //
      .toEqual([77, 77]);
  });

  test('says where used indexes are in the files of memory', () => {
    const far = { ...region, guestAddress: 0x4000_0000n, userAddress: 0x7e00_0000_0000n };
    const recording = new Recording().negotiate();
    recording.addMemory({ ...far, mmapOffset: 0x1000n });
    recording.addMemory({ ...region, mmapOffset: 0x5000n });
    recording.startRing(1);
    const { running: rings } = recording.session.snapshot()!;
    const offsetBytes = 0x5000n + ringAddresses(1).used + 2n - region.userAddress;
    expect(rings).toEqual([{ queue: 1, usedIndex: { file: 'memory 0x10000', offsetBytes } }]);
  });

  test('calls each driver last, for what it may have missed', () => {
    const { requests } = running().session.snapshot()!;
    const of0 = requests.filter(
      ({ name, payload }) => name.startsWith('SET_VRING') && payload[0] === 0,
    );
    expect(of0.map(({ name }) => name)).toEqual([
      'SET_VRING_NUM',
      'SET_VRING_ADDR',
      'SET_VRING_ENABLE',
      'SET_VRING_KICK',
      'SET_VRING_CALL',
    ]);
  });

  test('starts a broken ring where it broke', () => {
    const recording = running();
    recording.session.queueBroken(0, 'chain-too-long');
    recording.backend.nextAvail = 9;
    const fresh = told(recording.session.leave()!, recording);
    expect([...fresh.backend.running]).toEqual([0, 1]);
  });

  test('is not made in the midst of a message, or where messages may be under way', () => {
    const recording = running();
    const [first] = [recording.session.snapshot()];
    expect(first).toBeDefined();
    recording.session.receive(new Uint8Array([1]), []);
    expect(recording.session.snapshot()).toBeUndefined();
    expect(recording.session.leave()).toBeUndefined();
    expect(recording.backend.running.size).toBe(2);
    const messages = everything();
    expect(messages.session.snapshot()).toBeUndefined();
    expect(messages.session.leave()).toBeUndefined();
  });
});
