/**
 * vhost-user "Migration" and what follows at the destination, as calls of the backend, and what
 * becomes of every fd. The order of requests is that of QEMU.
 */

import { describe, expect, test } from 'vitest';
import { servable, virtioFeatures } from '../../src/vhost-user/features.ts';
import { logAreaLayout, macLayout, u64Layout } from '../../src/vhost-user/message.ts';
import { everything, Recording, region, ringAddresses } from './recording.ts';

const { VHOST_F_LOG_ALL, VIRTIO_F_RING_PACKED } = virtioFeatures;
const quiet = servable.virtio & ~VIRTIO_F_RING_PACKED & ~VHOST_F_LOG_ALL;
const logFlag = 1;
/** Bit n of the log is page n, so this many bytes reach the end of `region`. */
const logBytes = (region.guestAddress + region.sizeBytes) / 0x1000n / 8n;

function running(): Recording {
  const recording = new Recording(1, servable).negotiate(quiet);
  recording.memory();
  recording.startRing(0);
  recording.startRing(1);
  return recording;
}

function setLogBase(recording: Recording, sizeBytes = logBytes, offsetBytes = 0n) {
  const payload = logAreaLayout.encode({ sizeBytes, offsetBytes });
  return recording.send('SET_LOG_BASE', { payload, fds: recording.fds(1) });
}

function expectSettled(recording: Recording): void {
  expect(recording.settled).toEqual(Array(recording.fdsIssued).fill(1));
}

describe('vhost-user "Migration"', () => {
  test('a migration begins and ends while rings run', () => {
    const recording = running();
    const before = recording.backend.calls.length;
    setLogBase(recording, logBytes, 0x1000n);
    recording.tell('SET_FEATURES', quiet | VHOST_F_LOG_ALL);
    recording.address(0, ringAddresses(0), logFlag, 0x5000n);
    recording.tell('SET_FEATURES', quiet);
    recording.address(0);
    expect(recording.backend.calls.slice(before)).toEqual([
      ['setLog', { sizeBytes: logBytes, offsetBytes: 0x1000n }],
      ['setLogging', true],
      ['moveQueue', 0, { ...ringAddresses(0), usedLogAddress: 0x5000n }],
      ['setLogging', false],
      ['moveQueue', 0, ringAddresses(0)],
    ]);
    expect(recording.backend.running.size).toBe(2);
    expect(recording.events.slice(-2)).toEqual([
      { type: 'logging', enabled: true },
      { type: 'logging', enabled: false },
    ]);
  });

  test('a ring may start with its used ring logged', () => {
    const recording = new Recording(1, servable).negotiate(quiet | VHOST_F_LOG_ALL);
    recording.memory();
    recording.vring('SET_VRING_NUM', 0, 256);
    recording.address(0, ringAddresses(0), logFlag, 0n);
    recording.eventfd('SET_VRING_KICK', 0);
    expect(recording.backend.callsOf('startQueue')).toMatchObject([[0, { usedLogAddress: 0n }]]);
  });

  test('VHOST_F_LOG_ALL stays between session and log: the features told are without it', () => {
    const recording = everything();
    expect(recording.backend.callsOf('setFeatures')).toEqual([[quiet]]);
    expect(recording.session.features).toBe(quiet);
  });

  test('SET_LOG_BASE is answered, asked to or not', () => {
    expect(setLogBase(running())).toEqual({
      request: 6,
      flags: 0x5,
      payload: u64Layout.encode(0n),
    });
  });

  test.each([
    ['is empty', 0n, 0n],
    ['passes the end of any file', 0x1000n, (1n << 63n) - 1n],
    ['does not reach all of guest memory', logBytes - 1n, 0n],
  ])('a log that %s is refused', (_, sizeBytes, offsetBytes) => {
    const recording = running();
    setLogBase(recording, sizeBytes, offsetBytes);
    expect(recording.refusal).toBe('BAD_VALUE');
    expect(recording.backend.callsOf('setLog')).toEqual([]);
    expectSettled(recording);
  });

  test('a used ring that the log does not reach is refused', () => {
    const recording = running();
    setLogBase(recording);
    recording.address(0, ringAddresses(0), logFlag, logBytes * 8n * 0x1000n);
    expect(recording.refusal).toBe('BAD_VALUE');
  });

  test('VHOST_USER_SET_LOG_FD: the eventfd is closed unused', () => {
    const recording = running();
    recording.send('SET_LOG_FD', { fds: recording.fds(1) });
    expect(recording.open).toBe(true);
    expect(recording.settled.at(-1)).toBe(1);
  });

  test('a reset ends logging and keeps the log; the end of the session gives both back', () => {
    const recording = running();
    setLogBase(recording);
    recording.tell('SET_FEATURES', quiet | VHOST_F_LOG_ALL);
    recording.send('RESET_DEVICE');
    expect(recording.backend.callsOf('setLogging')).toEqual([[true], [false]]);
    expect(recording.backend.callsOf('setLog').length).toBe(1);
    recording.tell('SET_FEATURES', quiet | VHOST_F_LOG_ALL);
    recording.session.end();
    expect(recording.backend.callsOf('setLogging').at(-1)).toEqual([false]);
    expect(recording.backend.callsOf('setLog').at(-1)).toEqual([undefined]);
    expectSettled(recording);
  });
});

describe('vhost-user VHOST_USER_SEND_RARP', () => {
  test('announces the address in the first six bytes', () => {
    const recording = everything();
    const payload = Uint8Array.from([0x52, 0x54, 0x00, 0xfe, 0xdc, 0xba, 0x99, 0x99]);
    recording.send('SEND_RARP', { payload });
    expect(recording.backend.callsOf('announce')).toEqual([[0x5254_00fe_dcba]]);
  });

  test.each([0, 0x0100_0000_0001, 0xffff_ffff_ffff])('refuses %d: no machine has it', (mac) => {
    const recording = everything();
    recording.send('SEND_RARP', { payload: macLayout.encode(mac) });
    expect(recording.refusal).toBe('BAD_VALUE');
  });
});

describe('vhost-user VHOST_USER_NET_SET_MTU', () => {
  test.each([68n, 1500n, 65535n])('%d bytes are acknowledged', (bytes) => {
    const recording = everything();
    const payload = u64Layout.encode(bytes);
    const reply = recording.send('NET_SET_MTU', { payload, needReply: true });
    expect(reply?.payload).toEqual(u64Layout.encode(0n));
    expect(recording.events.at(-1)).toEqual({ type: 'mtu', bytes: Number(bytes) });
  });

  test.each([0n, 67n, 65536n, 1n << 63n])('%d bytes are not', (bytes) => {
    const recording = everything();
    const payload = u64Layout.encode(bytes);
    const reply = recording.send('NET_SET_MTU', { payload, needReply: true });
    expect(reply?.payload).toEqual(u64Layout.encode(1n));
    expect(recording.refusal).toBe('BAD_VALUE');
  });
});
