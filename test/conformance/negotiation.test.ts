/**
 * vhost-user features, REPLY_ACK, status and reset, clause by clause, on a port of a real switch.
 */

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { native } from '../../src/native/addon.ts';
import { protocolFeatures, virtioFeatures } from '../../src/vhost-user/features.ts';
import { u64Layout, vringStateLayout } from '../../src/vhost-user/message.ts';
import { generousOffer as offer } from '../support/network.ts';
import { Peer, usualFeatures } from './peer.ts';

const { VIRTIO_F_VERSION_1, VIRTIO_F_EVENT_IDX, VIRTIO_NET_F_CTRL_VQ } = virtioFeatures;
const withoutEventIdx = usualFeatures & ~VIRTIO_F_EVENT_IDX;
const unknownRequest = 33;

let peer: Peer;

beforeEach(() => {
  peer = new Peer();
});
afterEach(() => peer.close());

/** Two started rings. */
async function running(): Promise<void> {
  await peer.negotiate();
  await peer.share();
  for (const queue of [0, 1]) await peer.start(queue);
}

describe('vhost-user "Protocol features"', () => {
  test('can be asked for and set before SET_FEATURES', async () => {
    await peer.send('SET_OWNER');
    expect(await peer.ask('GET_FEATURES')).toBe(offer.virtio);
    expect(await peer.ask('GET_PROTOCOL_FEATURES')).toBe(offer.protocol);
    await peer.tell('SET_PROTOCOL_FEATURES', offer.protocol);
    expect(await peer.ask('GET_MAX_MEM_SLOTS')).toBe(509n);
  });

  test('are offered without the configuration space to QEMU, which asks before SET_OWNER', async () => {
    const { VHOST_USER_PROTOCOL_F_CONFIG } = protocolFeatures;
    const protocol = offer.protocol & ~VHOST_USER_PROTOCOL_F_CONFIG;
    expect(await peer.ask('GET_PROTOCOL_FEATURES')).toBe(protocol);
    await peer.send('SET_OWNER');
    expect(await peer.ask('GET_PROTOCOL_FEATURES')).toBe(protocol);
  });

  test('"Multiple queue support": GET_QUEUE_NUM answers with queue pairs', async () => {
    expect(await peer.ask('GET_QUEUE_NUM')).toBe(BigInt(native().queuePairsMax));
  });
});

describe('vhost-user VHOST_USER_SET_FEATURES', () => {
  test('tells which features were agreed, by name, and the header length they mean', async () => {
    await peer.tell('SET_FEATURES', VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX);
    expect(await peer.network.event('features-agreed')).toMatchObject({
      features: VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX,
      names: ['VIRTIO_F_EVENT_IDX', 'VIRTIO_F_VERSION_1'],
      netHeaderBytes: 12,
    });
  });

  test('repeating the same choice while rings run changes nothing', async () => {
    await running();
    await peer.tell('SET_FEATURES', usualFeatures);
    await peer.settled();
    expect(peer.ring(0)).toMatchObject({ state: 'started' });
    expect(peer.network.eventsOf('features-agreed')).toHaveLength(1);
  });

  test('changing a bit while a ring runs is refused, and the sentence names the bit', async () => {
    await running();
    await peer.tell('SET_FEATURES', withoutEventIdx);
    expect(await peer.refusal()).toBe(
      'WRONG_ORDER port p0: SET_FEATURES: changes VIRTIO_F_EVENT_IDX while queue 0 runs',
    );
  });

  test('changing a bit between stop and start is fine', async () => {
    await running();
    for (const queue of [0, 1]) await peer.base(queue);
    await peer.tell('SET_FEATURES', withoutEventIdx);
    await peer.settled();
    expect(peer.status?.features).not.toContain('VIRTIO_F_EVENT_IDX');
  });

  test('MQ and GUEST_ANNOUNCE pass without CTRL_VQ, which frontends keep to themselves', async () => {
    await peer.tell('SET_FEATURES', usualFeatures & ~VIRTIO_NET_F_CTRL_VQ);
    await peer.settled();
    expect(peer.status?.features).toContain('VIRTIO_NET_F_MQ');
  });
});

describe('vhost-user VHOST_USER_PROTOCOL_F_REPLY_ACK', () => {
  const payload = vringStateLayout.encode({ index: 0, num: 256 });

  test('a request with NEED_REPLY is answered with zero for success', async () => {
    await peer.negotiate();
    const reply = await peer.send('SET_VRING_NUM', { payload, needReply: true });
    expect(reply).toMatchObject({ request: 8, flags: 0x5, payload: u64Layout.encode(0n) });
  });

  test('NEED_REPLY without the extension negotiated changes nothing', async () => {
    const needReply = 1 << 3;
    await peer.frontend.request(8, needReply, payload, [], false);
    // Had there been an answer, it would be taken for the one to this.
    expect(await peer.ask('GET_FEATURES')).toBe(offer.virtio);
  });

  test('a request with a reply of its own gets just that', async () => {
    await peer.negotiate();
    const reply = await peer.send('GET_FEATURES', { needReply: true });
    expect(u64Layout.decode(reply!.payload)).toBe(offer.virtio);
    expect(await peer.ask('GET_PROTOCOL_FEATURES')).toBe(offer.protocol);
  });

  test('an unknown request whose sender waits is answered with failure, and the session goes on', async () => {
    await peer.negotiate();
    const unknown = { payload: new Uint8Array(268), fds: [peer.memory.fd] };
    expect(await peer.acknowledged(unknownRequest, unknown)).toBe(1n);
    expect(await peer.network.event('request-refused')).toMatchObject({
      sentence: 'port p0: request 33: this backend does not serve it',
    });
    await peer.settled();
  });

  test.each([
    ['nobody waits for', offer.protocol],
    [
      'somebody waits for without having agreed on answers',
      offer.protocol &
        ~protocolFeatures.VHOST_USER_PROTOCOL_F_REPLY_ACK &
        ~protocolFeatures.VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS,
    ],
  ])('an unknown request that %s closes the session', async (_, protocol) => {
    await peer.negotiate(usualFeatures, protocol);
    await peer.send(unknownRequest, { fds: [peer.memory.fd] });
    expect(await peer.refusal()).toMatch(/^UNKNOWN_REQUEST /);
  });
});

describe('virtio 1.2 §2.1 device status, as SET_STATUS and GET_STATUS carry it', () => {
  test('reads back what was set', async () => {
    await peer.negotiate();
    await peer.tell('SET_STATUS', 0x0fn);
    expect(await peer.ask('GET_STATUS')).toBe(0x0fn);
  });

  test('FEATURES_OK reads back clear while no features are agreed', async () => {
    await peer.tell('SET_PROTOCOL_FEATURES', offer.protocol);
    await peer.tell('SET_STATUS', 0x0bn);
    expect(await peer.ask('GET_STATUS')).toBe(0x03n);
  });
});

describe.each([
  ['SET_STATUS 0', () => peer.tell('SET_STATUS', 0n)],
  ['VHOST_USER_RESET_DEVICE', () => peer.send('RESET_DEVICE')],
] as const)('%s', (_, reset) => {
  test('stops all rings, and disables them', async () => {
    await running();
    await peer.vring('SET_VRING_ENABLE', 0, 1);
    await reset();
    await peer.settled();
    expect(peer.status?.rings).toEqual([]);
    await peer.tell('SET_FEATURES', usualFeatures);
    await peer.start(0);
    expect(peer.ring(0)).toMatchObject({ state: 'started', enabled: false });
  });

  test('forgets features, status and the configuration of rings', async () => {
    await running();
    await peer.tell('SET_STATUS', 0x0fn);
    await reset();
    expect(await peer.ask('GET_STATUS')).toBe(0n);
    expect(peer.status?.features).toBeUndefined();
    await peer.tell('SET_FEATURES', usualFeatures);
    await peer.eventfd('SET_VRING_KICK', 0);
    expect(await peer.refusal()).toMatch(/^WRONG_ORDER .*SET_VRING_NUM/);
  });

  test('keeps the base: QEMU 7.2 asks for it after it has reset the status', async () => {
    await peer.negotiate();
    await peer.share();
    const ring = peer.splitRing();
    ring.availIndex = 4711;
    await peer.start(0, ring, 4711);
    await reset();
    expect(await peer.base(0)).toBe(4711);
  });

  test('keeps memory, and the device starts again without it being told', async () => {
    await running();
    await reset();
    await peer.tell('SET_FEATURES', usualFeatures);
    await peer.start(0);
    expect(peer.ring(0)).toMatchObject({ state: 'started' });
    expect(peer.status?.memory.regions).toBe(1);
  });

  test('keeps call eventfds: what is used afterwards rings them', async () => {
    await running();
    const callFd = await peer.eventfd('SET_VRING_CALL', 1);
    await reset();
    await peer.tell('SET_FEATURES', usualFeatures & ~VIRTIO_F_EVENT_IDX);
    await peer.settled();
    native().eventfdDrain(callFd);
    const ring = peer.splitRing();
    ring.writeDescriptor(0, {
      ...{ address: peer.memory.guestAddress(peer.memory.allocate(100, 64)), lengthBytes: 100 },
      ...{ flags: 0, next: 0 },
    });
    ring.setAvailEntry(0, 0);
    ring.availIndex = 1;
    await peer.start(1, ring, 0);
    await expect.poll(() => ring.usedIndex).toBe(1);
    await expect.poll(() => native().eventfdDrain(callFd)).toBeGreaterThan(0);
  });
});
