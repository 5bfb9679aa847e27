/**
 * The message sequences of the frontends in use, on a port of a real switch: QEMU as traced (7.2)
 * and as read in hw/virtio/vhost-user.c (10.0), DPDK as read in drivers/net/virtio/virtio_user.
 * Only the order is replayed here; the programs themselves run against the switch elsewhere.
 */

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { protocolFeatures, virtioFeatures } from '../../src/vhost-user/features.ts';
import {
  memoryRegionLayout,
  memoryTableLayout,
  u64Layout,
  vringStateLayout,
} from '../../src/vhost-user/message.ts';
import { generousOffer as offer } from '../support/network.ts';
import { Peer, usualFeatures } from './peer.ts';

const driverFeatures = usualFeatures & ~virtioFeatures.VIRTIO_NET_F_CTRL_VQ;
const base = 1234;

let peer: Peer;

beforeEach(() => {
  peer = new Peer();
});
afterEach(() => peer.close());

async function setEnabled(queues: readonly number[], num: number): Promise<void> {
  for (const index of queues) {
    const payload = vringStateLayout.encode({ index, num });
    expect(await peer.acknowledged('SET_VRING_ENABLE', { payload })).toBe(0n);
  }
}

async function startRing(queue: number): Promise<void> {
  const ring = peer.splitRing(64);
  ring.availIndex = base;
  await peer.start(queue, ring, base);
}

describe.each([
  [1, '7.2', true],
  [1, '10.0', false],
  [2, '7.2', true],
  [2, '10.0', false],
] as const)('QEMU with %d queue pairs, as version %s stops', (pairs, _, isOld) => {
  const queuesOf = (pair: number) => [2 * pair, 2 * pair + 1];
  const allQueues = Array.from({ length: 2 * pairs }, (_, queue) => queue);

  /** What it does for each queue pair when it creates the device. */
  async function realize(pair: number): Promise<void> {
    expect(await peer.ask('GET_FEATURES')).toBe(offer.virtio);
    await peer.tell('SET_PROTOCOL_FEATURES', await peer.ask('GET_PROTOCOL_FEATURES'));
    if (pair === 0) {
      await peer.ask('GET_QUEUE_NUM');
      await peer.send('SET_OWNER');
    }
    await peer.ask('GET_MAX_MEM_SLOTS');
    await peer.ask('GET_FEATURES');
    for (const queue of queuesOf(pair)) {
      await peer.eventfd('SET_VRING_CALL', queue);
      await peer.eventfd('SET_VRING_ERR', queue);
    }
    await setEnabled(queuesOf(pair), 1);
  }

  /** It asks for the status after it has set features, and adds to it. */
  async function addStatus(bits: bigint): Promise<void> {
    await peer.tell('SET_STATUS', (await peer.ask('GET_STATUS')) | bits);
    expect((await peer.ask('GET_STATUS')) & bits).toBe(bits);
  }

  /**
   * The driver says DRIVER_OK. Memory is told as a difference, so only the first time; versions
   * before 8.0 tell it for every queue pair.
   */
  async function start(isFirst: boolean): Promise<void> {
    for (let pair = 0; pair < pairs; pair++) {
      await setEnabled(queuesOf(pair), 1);
      await peer.tell('SET_FEATURES', driverFeatures);
      await addStatus(0x08n);
      if (isFirst && (pair === 0 || isOld)) {
        const region = peer.memory.region(0);
        const payload = memoryRegionLayout.encode(region);
        expect(await peer.acknowledged('ADD_MEM_REG', { payload, fds: [region.fd] })).toBe(0n);
      }
      for (const queue of queuesOf(pair)) await startRing(queue);
    }
    await addStatus(0x07n);
  }

  /** 7.2 resets the status first, later versions last; both go on from the base they are told. */
  async function stop(): Promise<void> {
    if (isOld) await peer.tell('SET_STATUS', 0n);
    for (const queue of allQueues) expect(await peer.base(queue)).toBe(base);
    if (!isOld) await peer.tell('SET_STATUS', 0n);
  }

  test('realizes, starts, reboots twice and leaves', async () => {
    for (let pair = 0; pair < pairs; pair++) await realize(pair);
    for (const isFirst of [true, false, false]) {
      await start(isFirst);
      expect(peer.status?.rings).toHaveLength(2 * pairs);
      for (const queue of allQueues) {
        expect(peer.ring(queue)).toMatchObject({ state: 'started', enabled: true, base });
      }
      await stop();
      await peer.settled();
      expect(peer.status?.rings).toEqual([]);
    }
    peer.frontend.close();
    expect(await peer.refusal()).toBe('frontend-left');
  });
});

describe('DPDK virtio-user', () => {
  const chosen =
    protocolFeatures.VHOST_USER_PROTOCOL_F_MQ |
    protocolFeatures.VHOST_USER_PROTOCOL_F_REPLY_ACK |
    protocolFeatures.VHOST_USER_PROTOCOL_F_STATUS;

  async function setStatus(status: bigint): Promise<void> {
    const payload = u64Layout.encode(status);
    expect(await peer.acknowledged('SET_STATUS', { payload })).toBe(0n);
    expect(await peer.ask('GET_STATUS')).toBe(status);
  }

  async function shareMemory(): Promise<void> {
    const region = peer.memory.region(0);
    const payload = memoryTableLayout.encode([region]);
    expect(await peer.acknowledged('SET_MEM_TABLE', { payload, fds: [region.fd] })).toBe(0n);
  }

  test('starts, adds memory while it runs, stops, starts again and leaves', async () => {
    await peer.send('SET_OWNER');
    await peer.ask('GET_FEATURES');
    expect((await peer.ask('GET_PROTOCOL_FEATURES')) & chosen).toBe(chosen);
    await peer.tell('SET_PROTOCOL_FEATURES', chosen);
    for (const queue of [0, 1]) await peer.eventfd('SET_VRING_CALL', queue);
    await peer.tell('SET_FEATURES', driverFeatures);
    await setStatus(0x0bn);
    for (let round = 0; round < 2; round++) {
      await shareMemory();
      for (const queue of [0, 1]) await startRing(queue);
      await setEnabled([0, 1], 1);
      await setStatus(0x0fn);
      await setEnabled([0, 1], 0);
      await shareMemory();
      await setEnabled([0, 1], 1);
      for (const queue of [0, 1]) {
        expect(peer.ring(queue)).toMatchObject({ state: 'started', enabled: true });
      }
      await setEnabled([0, 1], 0);
      for (const queue of [0, 1]) expect(await peer.base(queue)).toBe(base);
    }
    peer.frontend.close();
    expect(await peer.refusal()).toBe('frontend-left');
  });
});
