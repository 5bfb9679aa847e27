/**
 * What the messages that drive vhost-user "Ring states" make of a backend, call by call, and of
 * every fd.
 */

import { describe, expect, test } from 'vitest';
import { virtioFeatures } from '../../src/vhost-user/features.ts';
import { memoryRegionLayout } from '../../src/vhost-user/message.ts';
import { offeredFeatures, Recording, region, ringAddresses } from './recording.ts';

const withoutProtocolFeatures = offeredFeatures & ~virtioFeatures.VHOST_USER_F_PROTOCOL_FEATURES;

function ready(features = offeredFeatures): Recording {
  const recording = new Recording().negotiate(features);
  recording.memory();
  return recording;
}

describe('vhost-user "Ring states"', () => {
  test('each ring is initialized in a stopped state', () => {
    const recording = ready();
    recording.vring('SET_VRING_NUM', 0, 256);
    recording.address(0);
    recording.vring('SET_VRING_ENABLE', 0, 1);
    expect(recording.backend.running.size).toBe(0);
  });

  test('a ring starts at SET_VRING_KICK with what was said about it, without a kick', () => {
    const recording = ready();
    recording.startRing(1, 77);
    const kickFd = 100 + recording.fdsIssued - 1;
    expect(recording.backend.callsOf('startQueue')).toEqual([
      [1, { ...ringAddresses(1), size: 256, base: 77, kickFd }],
    ]);
    expect(recording.events.at(-1)).toEqual({ type: 'ring-started', queue: 1, size: 256 });
  });

  test('GET_VRING_BASE stops the ring and answers with the next avail index', () => {
    const recording = ready();
    recording.startRing(0);
    recording.backend.nextAvail = 4711;
    expect(recording.vring('GET_VRING_BASE', 0, 0)).toBe(4711);
    expect(recording.backend.running.size).toBe(0);
    expect(recording.events.at(-1)).toEqual({ type: 'ring-stopped', queue: 0, base: 4711 });
  });

  test('GET_VRING_BASE of a stopped ring answers with the base it would start at', () => {
    const recording = ready();
    recording.vring('SET_VRING_BASE', 0, 12);
    expect(recording.vring('GET_VRING_BASE', 0, 0)).toBe(12);
    expect(recording.backend.callsOf('stopQueue')).toEqual([]);
  });

  test('a stopped ring starts again where it stopped', () => {
    const recording = ready();
    recording.startRing(0);
    recording.backend.nextAvail = 9;
    recording.vring('GET_VRING_BASE', 0, 0);
    recording.address(0);
    recording.eventfd('SET_VRING_KICK', 0);
    expect(recording.backend.callsOf('startQueue').at(-1)).toMatchObject([0, { base: 9 }]);
  });

  test('a stopped ring does not start again with its old addresses', () => {
    const recording = ready();
    recording.startRing(0);
    recording.vring('GET_VRING_BASE', 0, 0);
    recording.eventfd('SET_VRING_KICK', 0);
    expect(recording.refusal).toBe('WRONG_ORDER');
    expect(recording.sentence).toContain('SET_VRING_ADDR');
  });

  test('with VHOST_USER_F_PROTOCOL_FEATURES a ring is disabled until SET_VRING_ENABLE 1', () => {
    const recording = ready();
    recording.startRing(0);
    expect(recording.backend.callsOf('enableQueue')).toEqual([]);
    recording.vring('SET_VRING_ENABLE', 0, 1);
    recording.vring('SET_VRING_ENABLE', 0, 0);
    expect(recording.backend.callsOf('enableQueue')).toEqual([
      [0, true],
      [0, false],
    ]);
    expect(recording.eventTypes().slice(-2)).toEqual(['ring-enabled', 'ring-disabled']);
  });

  test('without VHOST_USER_F_PROTOCOL_FEATURES rings start directly in the enabled state', () => {
    const recording = ready(withoutProtocolFeatures);
    recording.startRing(0);
    const methods = recording.backend.calls.map(([method]) => method);
    expect(recording.backend.callsOf('enableQueue')).toContainEqual([0, true]);
    // Enabled first: a started but disabled transmitq would discard what lies in it.
    expect(methods.indexOf('enableQueue')).toBeLessThan(methods.indexOf('startQueue'));
  });

  test('started and enabled are independent: stopping keeps a ring enabled', () => {
    const recording = ready();
    recording.vring('SET_VRING_ENABLE', 0, 1);
    recording.startRing(0);
    recording.vring('GET_VRING_BASE', 0, 0);
    recording.startRing(0);
    expect(recording.backend.callsOf('enableQueue')).toEqual([[0, true]]);
  });

  test('SET_VRING_ENABLE may come before SET_FEATURES and is kept', () => {
    const recording = new Recording();
    recording.vring('SET_VRING_ENABLE', 0, 1);
    recording.tell('SET_FEATURES', offeredFeatures);
    expect(recording.backend.callsOf('enableQueue')).toEqual([[0, true]]);
  });

  test('SET_VRING_ADDR moves a started ring', () => {
    const recording = ready();
    recording.startRing(0);
    recording.address(0, ringAddresses(1));
    expect(recording.backend.callsOf('moveQueue')).toEqual([[0, ringAddresses(1)]]);
    expect(recording.backend.running.has(0)).toBe(true);
  });

  test('SET_VRING_KICK on a started ring goes on where it is, with the new eventfd', () => {
    const recording = ready();
    recording.startRing(0);
    recording.backend.nextAvail = 5;
    recording.eventfd('SET_VRING_KICK', 0, false);
    expect(recording.backend.callsOf('startQueue').at(-1)).toEqual([
      0,
      { ...ringAddresses(0), size: 256, base: 5, kickFd: -1 },
    ]);
  });

  test('call and err eventfds may be set and taken away in any state', () => {
    const recording = ready();
    recording.eventfd('SET_VRING_CALL', 0);
    recording.startRing(0);
    recording.eventfd('SET_VRING_CALL', 0);
    recording.eventfd('SET_VRING_CALL', 0, false);
    recording.eventfd('SET_VRING_ERR', 0, false);
    expect(recording.open).toBe(true);
    expect(recording.backend.callsOf('setCall').at(-1)).toEqual([0, -1]);
  });

  test('a broken ring stays broken, with its fds closed, until GET_VRING_BASE', () => {
    const recording = ready();
    recording.startRing(0);
    recording.session.queueBroken(0, 'chain-too-long');
    expect(recording.events.at(-1)).toEqual({
      type: 'ring-broken',
      queue: 0,
      fault: 'chain-too-long',
      reason: 'a descriptor chain is a loop or longer than the queue size',
    });
    const before = recording.backend.calls.length;
    recording.address(0);
    recording.eventfd('SET_VRING_KICK', 0);
    expect(recording.backend.calls.length).toBe(before);
    expect(recording.settled.at(-1)).toBe(1);
    recording.backend.nextAvail = 3;
    expect(recording.vring('GET_VRING_BASE', 0, 0)).toBe(3);
    recording.startRing(0);
    expect(recording.events.at(-1)?.type).toBe('ring-started');
  });

  test('a ring that breaks leaves the other ring alone', () => {
    const recording = ready();
    recording.startRing(0);
    recording.startRing(1);
    recording.session.queueBroken(0, 'chain-too-long');
    recording.address(1, ringAddresses(1));
    expect(recording.backend.callsOf('moveQueue').length).toBe(1);
    expect(recording.open).toBe(true);
  });

  test('memory may change while rings run: SET_MEM_TABLE, ADD_MEM_REG, REM_MEM_REG', () => {
    const recording = ready();
    recording.startRing(0);
    const added = { ...region, guestAddress: 0x1_0000_0000n };
    recording.memory();
    recording.addMemory(added);
    recording.removeMemory({ ...added, mmapOffset: 99n });
    expect(recording.open).toBe(true);
    expect(recording.backend.callsOf('removeMemoryRegion')).toEqual([[added.guestAddress]]);
    expect(recording.backend.running.has(0)).toBe(true);
  });

  test('VHOST_USER_REM_MEM_REG: an fd that comes along is closed unused', () => {
    const recording = ready();
    recording.removeMemory(region, recording.fds(1));
    expect(recording.open).toBe(true);
    expect(recording.settled).toEqual([1, 1]);
  });

  test('a region added once for every queue pair, as by QEMU 7.2, stays until it was removed as often', () => {
    const recording = ready();
    const added = { ...region, guestAddress: region.guestAddress + region.sizeBytes };
    for (const _ of [1, 2, 3]) recording.addMemory(added);
    expect(recording.backend.callsOf('addMemoryRegion')).toHaveLength(1);
    recording.removeMemory(added);
    recording.removeMemory(added);
    expect(recording.backend.callsOf('removeMemoryRegion')).toEqual([]);
    recording.removeMemory(added);
    expect(recording.backend.callsOf('removeMemoryRegion')).toEqual([[added.guestAddress]]);
    expect(recording.open).toBe(true);
    expect(recording.settled).toEqual(Array(recording.fdsIssued).fill(1));
    recording.removeMemory(added);
    expect(recording.refusal).toBe('BAD_VALUE');
  });

  test('SET_MEM_TABLE forgets how often regions were added', () => {
    const recording = ready();
    recording.addMemory(region);
    recording.memory();
    recording.removeMemory(region);
    expect(recording.backend.callsOf('removeMemoryRegion')).toEqual([[region.guestAddress]]);
  });

  test('a region is another one if its bytes lie elsewhere in the file', () => {
    const recording = ready();
    recording.addMemory({ ...region, mmapOffset: region.mmapOffset + 0x1000n });
    expect(recording.refusal).toBe('BAD_VALUE');
    expect(recording.sentence).toContain('overlaps');
  });

  test('VHOST_USER_REM_MEM_REG: a region that was not added is refused', () => {
    const recording = ready();
    const payload = memoryRegionLayout.encode({ ...region, sizeBytes: 0x1000n });
    recording.send('REM_MEM_REG', { payload });
    expect(recording.refusal).toBe('BAD_VALUE');
  });
});
