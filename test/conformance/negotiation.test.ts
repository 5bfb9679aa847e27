/**
 * vhost-user features, REPLY_ACK, status and reset, clause by clause.
 */

import { describe, expect, it } from 'vitest';
import { protocolFeatures, virtioFeatures } from '../../src/vhost-user/features.ts';
import { u64Layout, vringStateLayout } from '../../src/vhost-user/message.ts';
import { offeredFeatures, offeredProtocolFeatures, Recording } from '../vhost-user/recording.ts';

const { VHOST_USER_PROTOCOL_F_REPLY_ACK } = protocolFeatures;
const unknownRequest = 33;

function running(): Recording {
  const recording = new Recording().negotiate();
  recording.memory();
  recording.startRing(0);
  recording.startRing(1);
  return recording;
}

describe('vhost-user "Protocol features"', () => {
  it('can be asked for and set before SET_FEATURES', () => {
    const recording = new Recording();
    expect(recording.ask('GET_FEATURES')).toBe(offeredFeatures);
    expect(recording.ask('GET_PROTOCOL_FEATURES')).toBe(offeredProtocolFeatures);
    recording.tell('SET_PROTOCOL_FEATURES', offeredProtocolFeatures);
    expect(recording.ask('GET_MAX_MEM_SLOTS')).toBe(509n);
  });

  it('"Multiple queue support": GET_QUEUE_NUM answers with queue pairs', () => {
    expect(new Recording(4).ask('GET_QUEUE_NUM')).toBe(4n);
  });
});

describe('vhost-user VHOST_USER_SET_FEATURES', () => {
  it('tells which features were agreed, by name, and the header length they mean', () => {
    const recording = new Recording();
    const { VIRTIO_F_VERSION_1, VIRTIO_F_EVENT_IDX } = virtioFeatures;
    recording.tell('SET_FEATURES', VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX);
    expect(recording.events.at(0)?.type).toBe('ring-enabled');
    expect(recording.events.at(-1)).toEqual({
      type: 'features-agreed',
      features: VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX,
      names: ['VIRTIO_F_EVENT_IDX', 'VIRTIO_F_VERSION_1'],
      netHeaderBytes: 12,
    });
    expect(recording.session.features).toBe(VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX);
  });

  it('repeating the same choice while rings run changes nothing', () => {
    const recording = running();
    recording.tell('SET_FEATURES', offeredFeatures);
    expect(recording.open).toBe(true);
    expect(recording.backend.callsOf('setFeatures')).toEqual([[offeredFeatures]]);
  });

  it('changing a bit while a ring runs is refused, and the sentence names the bit', () => {
    const recording = running();
    recording.tell('SET_FEATURES', offeredFeatures & ~virtioFeatures.VIRTIO_F_EVENT_IDX);
    expect(recording.refusal).toBe('WRONG_ORDER');
    expect(recording.sentence).toBe(
      'port web1: SET_FEATURES: changes VIRTIO_F_EVENT_IDX while queue 0 runs',
    );
  });

  it('changing a bit between stop and start is fine', () => {
    const recording = running();
    recording.vring('GET_VRING_BASE', 0, 0);
    recording.vring('GET_VRING_BASE', 1, 0);
    const fewer = offeredFeatures & ~virtioFeatures.VIRTIO_F_EVENT_IDX;
    recording.tell('SET_FEATURES', fewer);
    expect(recording.backend.callsOf('setFeatures').at(-1)).toEqual([fewer]);
  });

  it('MQ and GUEST_ANNOUNCE pass without CTRL_VQ, which frontends keep to themselves', () => {
    const recording = new Recording();
    recording.tell('SET_FEATURES', offeredFeatures & ~virtioFeatures.VIRTIO_NET_F_CTRL_VQ);
    expect(recording.open).toBe(true);
  });
});

describe('vhost-user VHOST_USER_PROTOCOL_F_REPLY_ACK', () => {
  const request = { payload: vringStateLayout.encode({ index: 0, num: 256 }), needReply: true };

  it('a request with NEED_REPLY is answered with zero for success', () => {
    const reply = new Recording().negotiate().send('SET_VRING_NUM', request);
    expect(reply).toEqual({ request: 8, flags: 0x5, payload: u64Layout.encode(0n) });
  });

  it('NEED_REPLY without the extension negotiated changes nothing', () => {
    const recording = new Recording();
    expect(recording.send('SET_VRING_NUM', request)).toBeUndefined();
    expect(recording.open).toBe(true);
  });

  it('a request with a reply of its own gets just that', () => {
    const recording = new Recording().negotiate();
    recording.send('GET_FEATURES', { needReply: true });
    expect(recording.replies.map(({ payload }) => u64Layout.decode(payload))).toEqual([
      offeredFeatures,
    ]);
  });

  it('an unknown request whose sender waits is answered with failure, and the session goes on', () => {
    const recording = new Recording().negotiate();
    const payload = new Uint8Array(268);
    const reply = recording.send(unknownRequest, {
      payload,
      fds: recording.fds(1),
      needReply: true,
    });
    expect(u64Layout.decode(reply!.payload)).toBe(1n);
    expect(recording.open).toBe(true);
    expect(recording.settled).toEqual([1]);
    expect(recording.events.at(-1)).toEqual({
      type: 'request-refused',
      sentence: 'port web1: request 33: this backend does not serve it',
    });
  });

  it('an unknown request nobody waits for closes the session', () => {
    const recording = new Recording().negotiate();
    recording.send(unknownRequest, { fds: recording.fds(1) });
    expect(recording.refusal).toBe('UNKNOWN_REQUEST');
    expect(recording.settled).toEqual([1]);
    const unnegotiated = new Recording();
    unnegotiated.negotiate(
      offeredFeatures,
      offeredProtocolFeatures & ~VHOST_USER_PROTOCOL_F_REPLY_ACK,
    );
    unnegotiated.send(unknownRequest, { needReply: true });
    expect(unnegotiated.refusal).toBe('UNKNOWN_REQUEST');
  });
});

describe('virtio 1.2 §2.1 device status, as SET_STATUS and GET_STATUS carry it', () => {
  it('reads back what was set', () => {
    const recording = new Recording().negotiate();
    recording.tell('SET_STATUS', 0x0fn);
    expect(recording.ask('GET_STATUS')).toBe(0x0fn);
  });

  it('FEATURES_OK reads back clear while no features are agreed', () => {
    const recording = new Recording();
    recording.tell('SET_PROTOCOL_FEATURES', offeredProtocolFeatures);
    recording.tell('SET_STATUS', 0x0bn);
    expect(recording.ask('GET_STATUS')).toBe(0x03n);
  });
});

describe.each([
  ['SET_STATUS 0', (recording: Recording) => recording.tell('SET_STATUS', 0n)],
  ['VHOST_USER_RESET_DEVICE', (recording: Recording) => recording.send('RESET_DEVICE')],
] as const)('%s', (_, reset) => {
  function afterReset(): Recording {
    const recording = running();
    recording.eventfd('SET_VRING_CALL', 0);
    recording.vring('SET_VRING_ENABLE', 0, 1);
    recording.tell('SET_STATUS', 0x0fn);
    reset(recording);
    return recording;
  }

  it('stops and disables all rings', () => {
    const recording = afterReset();
    expect(recording.backend.running.size).toBe(0);
    expect(recording.backend.callsOf('enableQueue').at(-1)).toEqual([0, false]);
  });

  it('forgets features, status and the configuration of rings', () => {
    const recording = afterReset();
    expect(recording.session.features).toBeUndefined();
    expect(recording.ask('GET_STATUS')).toBe(0n);
    recording.tell('SET_FEATURES', offeredFeatures);
    recording.eventfd('SET_VRING_KICK', 0);
    expect(recording.refusal).toBe('WRONG_ORDER');
    expect(recording.sentence).toContain('SET_VRING_NUM');
  });

  it('keeps the base: QEMU 7.2 asks for it after it has reset the status', () => {
    const recording = running();
    recording.backend.nextAvail = 4711;
    reset(recording);
    expect(recording.vring('GET_VRING_BASE', 0, 0)).toBe(4711);
    expect(recording.vring('GET_VRING_BASE', 1, 0)).toBe(4711);
  });

  it('keeps memory, protocol features and call eventfds: the device starts again without them', () => {
    const recording = afterReset();
    const before = recording.backend.calls.length;
    recording.tell('SET_FEATURES', offeredFeatures);
    recording.startRing(0);
    expect(recording.backend.running.has(0)).toBe(true);
    const since = recording.backend.calls.slice(before).map(([method]) => method);
    expect(since).toEqual(['setFeatures', 'startQueue']);
    expect(recording.backend.callsOf('setCall').length).toBe(1);
  });
});
