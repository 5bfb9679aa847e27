/**
 * vhost-user "In-band notifications" and "Back-end communication", with an answer at every moment.
 */

import { describe, expect, test } from 'vitest';
import { protocolFeatures, servable } from '../../src/vhost-user/features.ts';
import {
  encodeMessage,
  headerFlags,
  u64Layout,
  vringStateLayout,
} from '../../src/vhost-user/message.ts';
import { everything, Recording, ringAddresses } from './recording.ts';

const {
  VHOST_USER_PROTOCOL_F_BACKEND_REQ,
  VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS,
  VHOST_USER_PROTOCOL_F_REPLY_ACK,
} = protocolFeatures;
const vringCall = 4;
const vringErr = 5;
const needReply = headerFlags.VERSION | headerFlags.NEED_REPLY;

function openChannel(recording: Recording): void {
  recording.send('SET_BACKEND_REQ_FD', { fds: recording.fds(1) });
}

/** Both rings configured and the backend channel open, nothing started. */
function ready(): Recording {
  const recording = everything();
  recording.memory();
  openChannel(recording);
  for (const queue of [0, 1]) {
    recording.vring('SET_VRING_NUM', queue, 256);
    recording.address(queue);
  }
  return recording;
}

/** What the frontend says on the backend channel, in reads as long as are wanted. */
function answer(recording: Recording, request: number, status = 0n): void {
  const flags = headerFlags.VERSION | headerFlags.REPLY;
  const bytes = encodeMessage(request, flags, u64Layout.encode(status));
  const reader = recording.backend.channelReader!;
  for (let at = 0; at < bytes.length && reader.wants > 0; ) {
    const chunk = bytes.subarray(at, at + reader.wants);
    reader.receive(chunk, []);
    at += chunk.length;
  }
}

describe('vhost-user VHOST_USER_VRING_KICK', () => {
  test('starts the ring, with an eventfd of our own, and is passed on', () => {
    const recording = ready();
    recording.vring('VRING_KICK', 1, 0);
    const kickFd = 100 + recording.fdsIssued - 1;
    expect(recording.backend.callsOf('startQueue')).toEqual([
      [1, { ...ringAddresses(1), size: 256, base: 0, kickFd }],
    ]);
    expect(recording.backend.callsOf('kick')).toEqual([[1]]);
    recording.vring('VRING_KICK', 1, 0);
    expect(recording.backend.callsOf('startQueue').length).toBe(1);
    expect(recording.backend.callsOf('kick')).toEqual([[1], [1]]);
    recording.session.end();
    expect(recording.settled).toEqual(Array(recording.fdsIssued).fill(1));
  });

  test('does not start a broken ring', () => {
    const recording = ready();
    recording.vring('VRING_KICK', 0, 0);
    recording.session.queueBroken(0, 'chain-too-long');
    recording.vring('VRING_KICK', 0, 0);
    expect(recording.open).toBe(true);
    expect(recording.backend.callsOf('kick').length).toBe(1);
  });

  test('of a ring that is not configured is refused', () => {
    const recording = everything();
    recording.vring('VRING_KICK', 0, 0);
    expect(recording.refusal).toBe('WRONG_ORDER');
  });

  test('has a reserved field that is 0', () => {
    const recording = ready();
    recording.vring('VRING_KICK', 0, 1);
    expect(recording.refusal).toBe('BAD_VALUE');
  });
});

describe('vhost-user VHOST_USER_BACKEND_VRING_CALL', () => {
  test('replaces the call eventfd nobody has sent', () => {
    const recording = ready();
    recording.vring('VRING_KICK', 0, 0);
    expect(recording.backend.callsOf('setCallInBand')).toEqual([[0]]);
    recording.session.queueCalled(0);
    expect(recording.backend.sent).toEqual([{ request: vringCall, flags: needReply, index: 0 }]);
  });

  test.each([true, false])(
    'is not sent where SET_VRING_CALL came, with an eventfd: %s',
    (hasFd) => {
      const recording = ready();
      recording.eventfd('SET_VRING_CALL', 0, hasFd);
      recording.vring('VRING_KICK', 0, 0);
      expect(recording.backend.callsOf('setCallInBand')).toEqual([]);
      recording.session.queueCalled(0);
      expect(recording.backend.sent).toEqual([]);
    },
  );

  test('waits for the acknowledgement of the last, and says each queue once', () => {
    const recording = ready();
    recording.vring('VRING_KICK', 0, 0);
    recording.vring('VRING_KICK', 1, 0);
    for (const queue of [0, 1, 1, 0, 1]) recording.session.queueCalled(queue);
    const indexes = () => recording.backend.sent.map(({ index }) => index);
    expect(indexes()).toEqual([0]);
    answer(recording, vringCall);
    expect(indexes()).toEqual([0, 1]);
    answer(recording, vringCall);
    expect(indexes()).toEqual([0, 1, 0]);
    answer(recording, vringCall);
    expect(indexes()).toEqual([0, 1, 0]);
    recording.session.queueCalled(1);
    expect(indexes()).toEqual([0, 1, 0, 1]);
  });
});

describe('vhost-user VHOST_USER_BACKEND_VRING_ERR', () => {
  test('tells of a broken ring that has no err eventfd', () => {
    const recording = ready();
    recording.vring('VRING_KICK', 0, 0);
    recording.session.queueBroken(0, 'chain-too-long');
    expect(recording.backend.sent).toEqual([{ request: vringErr, flags: needReply, index: 0 }]);
  });

  test('is not sent where there is an err eventfd, which is preferred', () => {
    const recording = ready();
    recording.eventfd('SET_VRING_ERR', 0);
    recording.vring('VRING_KICK', 0, 0);
    recording.session.queueBroken(0, 'chain-too-long');
    expect(recording.backend.sent).toEqual([]);
  });
});

describe('vhost-user "Back-end communication"', () => {
  test.each([
    ['an answer nobody asked for', (recording: Recording) => answer(recording, vringErr)],
    ['a failure', (recording: Recording) => answer(recording, vringCall, 1n)],
    [
      'a request instead of an answer',
      ({ backend }: Recording) =>
        backend.channelReader?.receive(encodeMessage(4, 1, new Uint8Array(0)), []),
    ],
  ])('%s ends the session', (_, misbehave) => {
    const recording = ready();
    recording.vring('VRING_KICK', 0, 0);
    recording.session.queueCalled(0);
    misbehave(recording);
    expect(recording.refusal).toBe('BAD_REPLY');
    expect(recording.sentence).toMatch(/^port web1: backend channel: /);
    expect(recording.backend.channelsOpen).toBe(0);
    expect(recording.backend.running.size).toBe(0);
  });

  test('fds that come with an answer are closed', () => {
    const recording = ready();
    recording.backend.channelReader?.receive(new Uint8Array(4), recording.fds(2));
    recording.session.end();
    recording.backend.channelReader?.receive(new Uint8Array(4), recording.fds(1));
    expect(recording.settled).toEqual(Array(recording.fdsIssued).fill(1));
  });

  test.each([
    ['closed', ({ backend }: Recording) => backend.channelReader?.end()],
    [
      'broken',
      ({ backend }: Recording) => {
        backend.channelFailure = new Error('EPIPE');
      },
    ],
  ])('a channel that is %s ends the calls and not the session', (_, end) => {
    const recording = ready();
    recording.vring('VRING_KICK', 0, 0);
    end(recording);
    recording.session.queueCalled(0);
    expect(recording.open).toBe(true);
    expect(recording.backend.sent).toEqual([]);
    expect(recording.backend.channelsOpen).toBe(0);
  });

  test('a second channel replaces the first', () => {
    const recording = ready();
    openChannel(recording);
    expect(recording.backend.channelsOpen).toBe(1);
    recording.session.end();
    expect(recording.backend.channelsOpen).toBe(0);
  });
});

describe('vhost-user VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS', () => {
  test.each([
    ['VHOST_USER_PROTOCOL_F_BACKEND_REQ', VHOST_USER_PROTOCOL_F_BACKEND_REQ],
    ['VHOST_USER_PROTOCOL_F_REPLY_ACK', VHOST_USER_PROTOCOL_F_REPLY_ACK],
  ])('without %s closes the connection', (name, bit) => {
    const recording = new Recording(1, servable);
    recording.tell('SET_PROTOCOL_FEATURES', servable.protocol & ~bit);
    expect(recording.refusal).toBe('MISSING_FEATURE');
    expect(recording.sentence).toContain(name);
  });

  test('not negotiated, a ring without a call eventfd is not called in band', () => {
    const protocol = servable.protocol & ~VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS;
    const recording = everything();
    recording.tell('SET_PROTOCOL_FEATURES', protocol);
    recording.memory();
    openChannel(recording);
    recording.startRing(0);
    recording.session.queueCalled(0);
    recording.session.queueBroken(0, 'chain-too-long');
    expect(recording.backend.callsOf('setCallInBand')).toEqual([]);
    expect(recording.backend.sent).toEqual([]);
  });

  test('a ring started by SET_VRING_KICK is called in band as well', () => {
    const recording = ready();
    recording.eventfd('SET_VRING_KICK', 0);
    expect(recording.backend.callsOf('setCallInBand')).toEqual([[0]]);
    const payload = vringStateLayout.encode({ index: 0, num: 0 });
    const reply = recording.send('VRING_KICK', { payload, needReply: true });
    expect(reply?.payload).toEqual(u64Layout.encode(0n));
    expect(recording.backend.callsOf('kick')).toEqual([[0]]);
  });
});
