/**
 * vhost-user "Ring states" and the messages that drive them, clause by clause, on a port of a real
 * switch. What frames meet in these states is in data-path.test.ts.
 */

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { virtioFeatures } from '../../src/vhost-user/features.ts';
import { Peer, usualFeatures } from './peer.ts';

const { VHOST_USER_F_PROTOCOL_FEATURES } = virtioFeatures;

let peer: Peer;

beforeEach(() => {
  peer = new Peer();
});
afterEach(() => peer.close());

async function ready(features = usualFeatures): Promise<void> {
  await peer.negotiate(features);
  await peer.share();
}

/** A transmitq that the switch breaks: its first chain is a descriptor that is not there. */
async function breakRing(queue: number): Promise<void> {
  const ring = peer.splitRing();
  ring.setAvailEntry(0, 60_000);
  ring.availIndex = 1;
  await peer.start(queue, ring, 0);
  await peer.network.event('ring-broken');
}

describe('vhost-user "Ring states"', () => {
  test('each ring is initialized in a stopped state', async () => {
    await ready();
    await peer.vring('SET_VRING_NUM', 0, 256);
    await peer.address(0, peer.splitRing().addresses);
    await peer.vring('SET_VRING_ENABLE', 0, 1);
    await peer.settled();
    expect(peer.ring(0)).toBeUndefined();
  });

  test('a ring starts at SET_VRING_KICK with what was said about it, without a kick', async () => {
    await ready();
    const ring = peer.splitRing(128);
    ring.availIndex = 77;
    await peer.start(1, ring, 77);
    expect(await peer.network.event('ring-started')).toMatchObject({ queue: 1, size: 128 });
    expect(peer.ring(1)).toMatchObject({ state: 'started', base: 77, offered: 0 });
  });

  test('GET_VRING_BASE stops the ring and answers with the next avail index', async () => {
    await ready();
    const ring = peer.splitRing();
    ring.availIndex = 4711;
    await peer.start(0, ring, 4711);
    expect(await peer.base(0)).toBe(4711);
    expect(peer.ring(0)).toBeUndefined();
    expect(await peer.network.event('ring-stopped')).toMatchObject({ queue: 0, base: 4711 });
  });

  test('GET_VRING_BASE of a stopped ring answers with the base it would start at', async () => {
    await ready();
    await peer.vring('SET_VRING_BASE', 0, 12);
    expect(await peer.base(0)).toBe(12);
  });

  test('a stopped ring starts again where it stopped, but not with its old addresses', async () => {
    await ready();
    const ring = peer.splitRing();
    ring.availIndex = 9;
    await peer.start(0, ring, 9);
    await peer.base(0);
    await peer.address(0, ring.addresses);
    await peer.eventfd('SET_VRING_KICK', 0);
    await peer.settled();
    expect(peer.ring(0)).toMatchObject({ base: 9 });
    await peer.base(0);
    await peer.eventfd('SET_VRING_KICK', 0);
    expect(await peer.refusal()).toMatch(/^WRONG_ORDER .*SET_VRING_ADDR/);
  });

  test('with VHOST_USER_F_PROTOCOL_FEATURES a ring is disabled until SET_VRING_ENABLE 1', async () => {
    await ready();
    await peer.start(0);
    expect(peer.ring(0)?.enabled).toBe(false);
    await peer.vring('SET_VRING_ENABLE', 0, 1);
    await peer.settled();
    expect(peer.ring(0)?.enabled).toBe(true);
    await peer.vring('SET_VRING_ENABLE', 0, 0);
    await peer.settled();
    expect(peer.ring(0)?.enabled).toBe(false);
  });

  test('without VHOST_USER_F_PROTOCOL_FEATURES rings start directly in the enabled state', async () => {
    await ready(usualFeatures & ~VHOST_USER_F_PROTOCOL_FEATURES);
    await peer.start(0);
    expect(peer.ring(0)?.enabled).toBe(true);
  });

  test('started and enabled are independent: stopping keeps a ring enabled', async () => {
    await ready();
    await peer.vring('SET_VRING_ENABLE', 0, 1);
    await peer.start(0);
    await peer.base(0);
    await peer.start(0);
    expect(peer.ring(0)?.enabled).toBe(true);
  });

  test('SET_VRING_ENABLE may come before SET_FEATURES and is kept', async () => {
    await peer.vring('SET_VRING_ENABLE', 0, 1);
    await ready();
    await peer.start(0);
    expect(peer.ring(0)?.enabled).toBe(true);
  });

  test('SET_VRING_ADDR moves a started ring, which goes on at its base', async () => {
    await ready();
    await peer.start(1, peer.splitRing(), 0);
    const other = peer.splitRing();
    other.availIndex = 3;
    other.setAvailEntry(2, 60_000);
    await peer.address(1, other.addresses);
    // It is the other ring's chains that break the queue.
    await peer.eventfd('SET_VRING_KICK', 1);
    expect(await peer.network.event('ring-broken')).toMatchObject({ queue: 1 });
  });

  // Linux's virtio_uml does so when its driver was unbound, and is bound again.
  test.each(['started', 'broken'])(
    'a %s ring is set up anew without GET_VRING_BASE, and begins where it is told',
    async (state) => {
      await ready();
      const last = peer.splitRing(128);
      if (state === 'broken') await breakRing(1);
      else {
        last.availIndex = 9;
        await peer.start(1, last, 9);
      }
      expect(peer.ring(1)?.state).toBe(state);
      await peer.start(1, peer.splitRing(), 0);
      expect(peer.ring(1)).toMatchObject({ state: 'started', base: 0, offered: 0 });
      expect(await peer.network.event('ring-started', 2)).toMatchObject({ queue: 1, size: 256 });
    },
  );

  test('SET_VRING_KICK on a started ring goes on where it is, also without an eventfd', async () => {
    await ready();
    const ring = peer.splitRing();
    ring.availIndex = 5;
    await peer.start(0, ring, 5);
    await peer.eventfd('SET_VRING_KICK', 0, false);
    await peer.settled();
    expect(peer.ring(0)).toMatchObject({ state: 'started', base: 5 });
  });

  test('call and err eventfds may be set and taken away in any state', async () => {
    await ready();
    await peer.eventfd('SET_VRING_CALL', 0);
    await peer.start(0);
    await peer.eventfd('SET_VRING_CALL', 0);
    await peer.eventfd('SET_VRING_CALL', 0, false);
    await peer.eventfd('SET_VRING_ERR', 0);
    await peer.eventfd('SET_VRING_ERR', 0, false);
    await peer.settled();
    expect(peer.ring(0)).toMatchObject({ state: 'started' });
  });

  test('a broken ring stays broken until GET_VRING_BASE, and leaves the other ring alone', async () => {
    await ready();
    await peer.start(0);
    await breakRing(1);
    await peer.eventfd('SET_VRING_KICK', 1);
    await peer.settled();
    expect(peer.ring(1)).toMatchObject({ state: 'broken' });
    expect(peer.ring(0)).toMatchObject({ state: 'started' });
    expect(await peer.base(1)).toBe(0);
    await peer.start(1, peer.splitRing(), 0);
    expect(peer.ring(1)).toMatchObject({ state: 'started' });
  });
});

describe('vhost-user memory requests', () => {
  test('memory may change while rings run: SET_MEM_TABLE, ADD_MEM_REG, REM_MEM_REG', async () => {
    await ready();
    await peer.start(0);
    await peer.share();
    await peer.addMemory();
    await peer.settled();
    expect(peer.status?.memory.regions).toBe(2);
    await peer.removeMemory({ ...peer.memory.region(1), mmapOffset: 99n });
    await peer.settled();
    expect(peer.status?.memory.regions).toBe(1);
    expect(peer.ring(0)).toMatchObject({ state: 'started' });
  });

  test('VHOST_USER_REM_MEM_REG: an fd that comes along does no harm', async () => {
    await ready();
    await peer.removeMemory(peer.memory.region(0), [peer.memory.fd]);
    await peer.settled();
    expect(peer.status?.memory.regions).toBe(0);
  });

  test('a region added once for every queue pair, as by QEMU 7.2, stays until it was removed as often', async () => {
    await ready();
    for (const _ of [1, 2, 3]) await peer.addMemory();
    for (const _ of [1, 2]) await peer.removeMemory();
    await peer.settled();
    expect(peer.status?.memory.regions).toBe(2);
    await peer.removeMemory();
    await peer.settled();
    expect(peer.status?.memory.regions).toBe(1);
    await peer.removeMemory();
    expect(await peer.refusal()).toMatch(/^BAD_VALUE /);
  });

  test('SET_MEM_TABLE forgets how often regions were added', async () => {
    await ready();
    for (const _ of [1, 2]) await peer.addMemory();
    await peer.share();
    await peer.addMemory();
    await peer.removeMemory();
    await peer.settled();
    expect(peer.status?.memory.regions).toBe(1);
  });

  test('a region is another one if its bytes lie elsewhere in the file', async () => {
    await ready();
    await peer.addMemory({ ...peer.memory.region(0), mmapOffset: 0x1000n });
    expect(await peer.refusal()).toMatch(/^BAD_VALUE .*overlaps/);
  });

  test('VHOST_USER_REM_MEM_REG: a region that was not added is refused', async () => {
    await ready();
    await peer.removeMemory();
    expect(await peer.refusal()).toMatch(/^BAD_VALUE /);
  });
});
