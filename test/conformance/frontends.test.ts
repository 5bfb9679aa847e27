/**
 * The message sequences of the frontends in use: QEMU as traced (7.2) and as read in
 * hw/virtio/vhost-user.c (10.0), DPDK as read in drivers/net/virtio/virtio_user. Only the order is
 * replayed here; the programs themselves run against the whole switch elsewhere.
 */

import { describe, expect, it } from 'vitest';
import { protocolFeatures, virtioFeatures } from '../../src/vhost-user/features.ts';
import {
  memoryRegionLayout,
  memoryTableLayout,
  u64Layout,
  vringStateLayout,
} from '../../src/vhost-user/message.ts';
import {
  offeredFeatures,
  offeredProtocolFeatures,
  Recording,
  region,
} from '../vhost-user/recording.ts';

const { VIRTIO_NET_F_CTRL_VQ } = virtioFeatures;

/** What QEMU does for each queue pair when it creates the device. */
function qemuRealizes(recording: Recording, pair: number): void {
  expect(recording.ask('GET_FEATURES')).toBe(offeredFeatures);
  const offered = recording.ask('GET_PROTOCOL_FEATURES')!;
  recording.tell('SET_PROTOCOL_FEATURES', offered);
  if (pair === 0) {
    recording.ask('GET_QUEUE_NUM');
    recording.send('SET_OWNER');
  }
  recording.ask('GET_MAX_MEM_SLOTS');
  recording.ask('GET_FEATURES');
  for (const queue of [2 * pair, 2 * pair + 1]) {
    recording.eventfd('SET_VRING_CALL', queue);
    recording.eventfd('SET_VRING_ERR', queue);
  }
  enable(recording, pair);
}

function enable(recording: Recording, pair: number): void {
  for (const index of [2 * pair, 2 * pair + 1]) {
    const payload = vringStateLayout.encode({ index, num: 1 });
    const reply = recording.send('SET_VRING_ENABLE', { payload, needReply: true });
    expect(u64Layout.decode(reply!.payload)).toBe(0n);
  }
}

/** QEMU asks for the status after it has set features, and adds to it. */
function addStatus(recording: Recording, bits: bigint): void {
  recording.tell('SET_STATUS', recording.ask('GET_STATUS')! | bits);
  expect(recording.ask('GET_STATUS')! & bits).toBe(bits);
}

/**
 * The driver says DRIVER_OK. Memory is told as a difference, so only the first time; versions before 8.0
 * tell it for every queue pair.
 */
function qemuStarts(recording: Recording, pairs: number, isFirst: boolean, isOld: boolean): void {
  for (let pair = 0; pair < pairs; pair++) {
    enable(recording, pair);
    recording.tell('SET_FEATURES', offeredFeatures & ~VIRTIO_NET_F_CTRL_VQ);
    addStatus(recording, 0x08n);
    if (isFirst && (pair === 0 || isOld)) {
      const payload = memoryRegionLayout.encode(region);
      const reply = recording.send('ADD_MEM_REG', {
        payload,
        fds: recording.fds(1),
        needReply: true,
      });
      expect(u64Layout.decode(reply!.payload)).toBe(0n);
    }
    recording.startRing(2 * pair);
    recording.startRing(2 * pair + 1);
  }
  addStatus(recording, 0x07n);
}

/** 7.2 resets the status first, later versions last; both go on from the base they are told. */
function qemuStops(recording: Recording, pairs: number, resetsFirst: boolean): void {
  recording.backend.nextAvail = 1234;
  if (resetsFirst) recording.tell('SET_STATUS', 0n);
  for (let queue = 0; queue < 2 * pairs; queue++) {
    expect(recording.vring('GET_VRING_BASE', queue, 0)).toBe(1234);
  }
  if (!resetsFirst) recording.tell('SET_STATUS', 0n);
}

describe.each([
  [1, '7.2', true],
  [1, '10.0', false],
  [2, '7.2', true],
  [2, '10.0', false],
] as const)('QEMU with %d queue pairs, as version %s stops', (pairs, _, resetsFirst) => {
  it('realizes, starts, reboots twice and leaves', () => {
    const recording = new Recording(pairs);
    for (let pair = 0; pair < pairs; pair++) qemuRealizes(recording, pair);
    for (const isFirst of [true, false, false]) {
      qemuStarts(recording, pairs, isFirst, resetsFirst);
      expect(recording.open, recording.sentence).toBe(true);
      expect(recording.backend.running.size).toBe(2 * pairs);
      const enabled = new Map(recording.backend.callsOf('enableQueue') as [number, boolean][]);
      expect([...enabled.values()]).toEqual(Array(2 * pairs).fill(true));
      qemuStops(recording, pairs, resetsFirst);
      expect(recording.backend.running.size).toBe(0);
    }
    recording.session.end();
    expect(recording.closeReason).toEqual({ kind: 'frontend-left' });
    expect(recording.settled).toEqual(Array(recording.fdsIssued).fill(1));
  });
});

describe('DPDK virtio-user', () => {
  const chosen =
    protocolFeatures.VHOST_USER_PROTOCOL_F_MQ |
    protocolFeatures.VHOST_USER_PROTOCOL_F_REPLY_ACK |
    protocolFeatures.VHOST_USER_PROTOCOL_F_STATUS;

  function setStatus(recording: Recording, status: bigint): void {
    const payload = u64Layout.encode(status);
    const reply = recording.send('SET_STATUS', { payload, needReply: true });
    expect(u64Layout.decode(reply!.payload)).toBe(0n);
    expect(recording.ask('GET_STATUS')).toBe(status);
  }

  function shareMemory(recording: Recording): void {
    const reply = recording.send('SET_MEM_TABLE', {
      payload: memoryTableLayout.encode([region]),
      fds: recording.fds(1),
      needReply: true,
    });
    expect(u64Layout.decode(reply!.payload)).toBe(0n);
  }

  function setEnabled(recording: Recording, num: number): void {
    recording.vring('SET_VRING_ENABLE', 0, num);
    recording.vring('SET_VRING_ENABLE', 1, num);
  }

  it('starts, adds memory while it runs, stops, starts again and leaves', () => {
    const recording = new Recording();
    recording.send('SET_OWNER');
    recording.ask('GET_FEATURES');
    recording.tell('SET_PROTOCOL_FEATURES', recording.ask('GET_PROTOCOL_FEATURES')! & chosen);
    recording.eventfd('SET_VRING_CALL', 0);
    recording.eventfd('SET_VRING_CALL', 1);
    recording.tell('SET_FEATURES', offeredFeatures & ~VIRTIO_NET_F_CTRL_VQ);
    setStatus(recording, 0x0bn);
    for (let round = 0; round < 2; round++) {
      shareMemory(recording);
      recording.startRing(0);
      recording.startRing(1);
      setEnabled(recording, 1);
      setStatus(recording, 0x0fn);
      setEnabled(recording, 0);
      shareMemory(recording);
      setEnabled(recording, 1);
      expect(recording.backend.running.size).toBe(2);
      setEnabled(recording, 0);
      recording.vring('GET_VRING_BASE', 0, 0);
      recording.vring('GET_VRING_BASE', 1, 0);
    }
    expect(recording.open, recording.sentence).toBe(true);
    recording.session.end();
    expect(recording.settled).toEqual(Array(recording.fdsIssued).fill(1));
  });

  it('chooses from what is offered', () => {
    expect(chosen & ~offeredProtocolFeatures).toBe(0n);
  });
});
