/**
 * Requests of vhost-user that concern neither the state of rings nor what is negotiated: what a
 * port of a real switch answers, and what it ends the session for.
 */

import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { native } from '../../src/native/addon.ts';
import { protocolFeatures, virtioFeatures } from '../../src/vhost-user/features.ts';
import { inflightBytes } from '../../src/vhost-user/inflight.ts';
import {
  type InflightArea,
  inflightAreaLayout,
  logAreaLayout,
  macLayout,
  u64Layout,
  vringFdLayout,
  vringStateLayout,
} from '../../src/vhost-user/message.ts';
import { generousOffer as offer } from '../support/network.ts';
import { socketPair } from '../support/socket-pair.ts';
import { Peer, usualFeatures } from './peer.ts';

const { VHOST_F_LOG_ALL, VIRTIO_F_EVENT_IDX, VIRTIO_F_RING_PACKED } = virtioFeatures;
const {
  VHOST_USER_PROTOCOL_F_BACKEND_REQ,
  VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS,
  VHOST_USER_PROTOCOL_F_REPLY_ACK,
} = protocolFeatures;
const logFlag = 1;

let peer: Peer;

beforeEach(() => {
  peer = new Peer();
});
afterEach(() => peer.close());

describe('vhost-user "Migration"', () => {
  /** Bit n of the log is page n, so this many bytes reach the end of guest memory. */
  function logBytes(): bigint {
    const { guestAddress, sizeBytes } = peer.memory.region(0);
    return (guestAddress + sizeBytes) / 0x1000n / 8n;
  }

  function setLogBase(sizeBytes = logBytes(), offsetBytes = 0n): Promise<bigint> {
    const payload = logAreaLayout.encode({ sizeBytes, offsetBytes });
    return peer.acknowledged('SET_LOG_BASE', { payload, fds: [peer.memory.fd] });
  }

  async function running(): Promise<void> {
    await peer.negotiate();
    await peer.share();
    for (const queue of [0, 1]) await peer.start(queue);
  }

  test('begins and ends while rings run', async () => {
    await running();
    expect(await setLogBase()).toBe(0n);
    await peer.tell('SET_FEATURES', usualFeatures | VHOST_F_LOG_ALL);
    const { addresses } = peer.splitRing();
    await peer.address(0, addresses, logFlag, 0x5000n);
    await peer.tell('SET_FEATURES', usualFeatures);
    await peer.address(0, addresses);
    await peer.settled();
    expect(peer.network.eventsOf('logging').map(({ enabled }) => enabled)).toEqual([true, false]);
    expect(peer.ring(0)).toMatchObject({ state: 'started' });
    // It stays between session and log.
    expect(peer.status?.features).not.toContain('VHOST_F_LOG_ALL');
  });

  test('a ring may start with its used ring logged', async () => {
    await peer.negotiate(usualFeatures | VHOST_F_LOG_ALL);
    await peer.share();
    expect(await setLogBase()).toBe(0n);
    await peer.vring('SET_VRING_NUM', 0, 256);
    await peer.address(0, peer.splitRing().addresses, logFlag, 0n);
    await peer.eventfd('SET_VRING_KICK', 0);
    await peer.settled();
    expect(peer.ring(0)).toMatchObject({ state: 'started' });
  });

  test.each<[string, () => [bigint, bigint]]>([
    ['is empty', () => [0n, 0n]],
    ['passes the end of any file', () => [0x1000n, (1n << 63n) - 1n]],
    ['does not reach all of guest memory', () => [logBytes() - 1n, 0n]],
  ])('a log that %s is refused', async (_, area) => {
    await running();
    await expect(setLogBase(...area())).rejects.toMatchObject({ code: 'DISCONNECTED' });
    expect(await peer.refusal()).toMatch(/^BAD_VALUE /);
  });

  test('a used ring that the log does not reach is refused', async () => {
    await running();
    await setLogBase();
    await peer.address(0, peer.splitRing().addresses, logFlag, logBytes() * 8n * 0x1000n);
    expect(await peer.refusal()).toMatch(/^BAD_VALUE /);
  });

  test('VHOST_USER_SET_LOG_FD is taken, and no more', async () => {
    await running();
    await peer.send('SET_LOG_FD', { fds: [peer.memory.fd] });
    await peer.settled();
  });

  test('a reset ends logging and keeps the log', async () => {
    await running();
    await setLogBase();
    await peer.tell('SET_FEATURES', usualFeatures | VHOST_F_LOG_ALL);
    await peer.send('RESET_DEVICE');
    await peer.tell('SET_FEATURES', usualFeatures | VHOST_F_LOG_ALL);
    await peer.settled();
    const logging = peer.network.eventsOf('logging').map(({ enabled }) => enabled);
    expect(logging).toEqual([true, false, true]);
  });
});

describe('vhost-user VHOST_USER_SEND_RARP', () => {
  test.each([0, 0x0100_0000_0001, 0xffff_ffff_ffff])(
    'refuses %d: no machine has it',
    async (mac) => {
      await peer.negotiate();
      await peer.send('SEND_RARP', { payload: macLayout.encode(mac) });
      expect(await peer.refusal()).toMatch(/^BAD_VALUE /);
    },
  );
});

describe('vhost-user VHOST_USER_NET_SET_MTU', () => {
  test.each([68n, 1500n, 65535n])('%d bytes are acknowledged', async (bytes) => {
    await peer.negotiate();
    const payload = u64Layout.encode(bytes);
    expect(await peer.acknowledged('NET_SET_MTU', { payload })).toBe(0n);
    expect(await peer.network.event('mtu')).toMatchObject({ bytes: Number(bytes) });
  });

  test.each([0n, 67n, 65536n, 1n << 63n])('%d bytes are not', async (bytes) => {
    await peer.negotiate();
    const payload = u64Layout.encode(bytes);
    expect(await peer.acknowledged('NET_SET_MTU', { payload })).toBe(1n);
    expect(await peer.refusal()).toMatch(/^BAD_VALUE /);
  });
});

describe('vhost-user "Inflight I/O tracking"', () => {
  const wanted = { sizeBytes: 0n, offsetBytes: 0n, queues: 2, queueSize: 256, wireBytes: 24 };
  const whole = BigInt(inflightBytes(2, 256));

  const get = (area: Partial<InflightArea> = {}) =>
    peer.frontend.ask(
      'GET_INFLIGHT_FD',
      inflightAreaLayout,
      { ...wanted, ...area },
      inflightAreaLayout,
    );
  const set = (area: Partial<InflightArea> = {}) => {
    const payload = inflightAreaLayout.encode({ ...wanted, sizeBytes: 1n << 20n, ...area });
    return peer.send('SET_INFLIGHT_FD', { payload, fds: [peer.memory.fd] });
  };

  test('GET_INFLIGHT_FD answers with a region for the queues; SET_INFLIGHT_FD takes it back', async () => {
    await peer.negotiate();
    expect(await get()).toEqual({ ...wanted, sizeBytes: whole });
    await set({ sizeBytes: whole });
    await peer.settled();
  });

  test('a description without the padding of C is answered without it', async () => {
    await peer.negotiate();
    expect((await get({ wireBytes: 20 })).wireBytes).toBe(20);
  });

  test('packed rings get no region, which a size of 0 says', async () => {
    await peer.negotiate(usualFeatures | VIRTIO_F_RING_PACKED);
    expect(await get()).toEqual({ ...wanted, sizeBytes: 0n });
  });

  test.each<[string, Partial<InflightArea>]>([
    ['no queue', { queues: 0 }],
    ['more queues than the port has', { queues: 257 }],
    ['queues of no size', { queueSize: 0 }],
    ['queues larger than any', { queueSize: 32769 }],
  ])('a region for %s is refused, wanted or brought', async (_, area) => {
    await peer.negotiate();
    await expect(get(area)).rejects.toMatchObject({ code: 'DISCONNECTED' });
    expect(await peer.refusal()).toMatch(/^BAD_VALUE /);
    await peer.close();
    peer = await new Peer().negotiate();
    await set(area);
    expect(await peer.refusal()).toMatch(/^BAD_VALUE /);
  });

  test('a region too small for its queues is refused', async () => {
    await peer.negotiate();
    await set({ sizeBytes: whole - 1n });
    expect(await peer.refusal()).toMatch(/^BAD_VALUE /);
  });
});

describe('vhost-user "In-band notifications"', () => {
  test.each([
    ['VHOST_USER_PROTOCOL_F_BACKEND_REQ', VHOST_USER_PROTOCOL_F_BACKEND_REQ],
    ['VHOST_USER_PROTOCOL_F_REPLY_ACK', VHOST_USER_PROTOCOL_F_REPLY_ACK],
  ])(
    'VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS without %s closes the connection',
    async (name, bit) => {
      await peer.tell('SET_PROTOCOL_FEATURES', offer.protocol & ~bit);
      expect(await peer.refusal()).toMatch(new RegExp(`^MISSING_FEATURE .*${name}`));
    },
  );

  test('VHOST_USER_VRING_KICK of a ring that is not configured is refused', async () => {
    await peer.negotiate();
    expect(offer.protocol & VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS).not.toBe(0n);
    await peer.vring('VRING_KICK', 0, 0);
    expect(await peer.refusal()).toMatch(/^WRONG_ORDER /);
  });

  test('VHOST_USER_VRING_KICK has a reserved field that is 0', async () => {
    await peer.negotiate();
    const payload = vringStateLayout.encode({ index: 0, num: 1 });
    expect(await peer.acknowledged('VRING_KICK', { payload })).toBe(1n);
    expect(await peer.refusal()).toMatch(/^BAD_VALUE /);
  });
});

describe('vhost-user "VHOST_USER_SET_VRING_CALL"', () => {
  const setCall = (fd: number) =>
    peer.send('SET_VRING_CALL', {
      payload: vringFdLayout.encode({ index: 1, hasFd: true }),
      fds: [fd],
    });

  test('takes a stream socket, through which the driver is called', async () => {
    await peer.negotiate(usualFeatures & ~VIRTIO_F_EVENT_IDX);
    await peer.share();
    const [ours, theirs] = await socketPair();
    await setCall(theirs);
    native().closeFd(theirs);
    const called = new Promise<void>((resolve) => ours.onReadable(resolve));
    const ring = peer.splitRing();
    const buffer = peer.memory.guestAddress(peer.memory.allocate(100, 64));
    ring.writeDescriptor(0, { address: buffer, lengthBytes: 100, flags: 0, next: 0 });
    ring.setAvailEntry(0, 0);
    ring.availIndex = 1;
    await peer.start(1, ring, 0);
    await called;
    expect(ours.receive(16)).toMatchObject({ bytes: Buffer.from('0100000000000000', 'hex') });
    ours.close();
  });

  test.each(['a pipe', 'memory'])('refuses %s', async (kind) => {
    await peer.negotiate();
    const fifo = join(mkdtempSync(join(tmpdir(), 'fifo-')), 'fifo');
    execFileSync('mkfifo', [fifo]);
    const pipe = openSync(fifo, 'r+');
    await setCall(kind === 'a pipe' ? pipe : peer.memory.fd);
    closeSync(pipe);
    rmSync(dirname(fifo), { recursive: true });
    expect(await peer.refusal()).toMatch(/^BAD_EVENTFD .*no eventfd and no stream socket/);
  });
});
