/**
 * Frontends that lie and guests that wear the switch out: classes 20 to 24 of hostile guests. A lie ends
 * the session of who told it, in one sentence; being slow, loud or many costs nobody else anything.
 *
 * More of class 21 is in test/guests/frontend-faults.test.ts (framing, order, fds, truncated memory in a
 * split ring) and test/guests/misconfigured.test.ts (sizes and indexes of queues); that hundreds of
 * machines leave nothing behind, in test/guests/leaks.test.ts.
 */

import { execFileSync } from 'node:child_process';
import { closeSync, constants, ftruncateSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { native } from '../../src/native.ts';
import { type TestGuest, VhostUserFrontend } from '../../src/testing/index.ts';
import { protocolFeatures, virtioFeatures } from '../../src/vhost-user/features.ts';
import {
  memoryTableLayout,
  vringAddressesLayout,
  vringFdLayout,
  vringStateLayout,
} from '../../src/vhost-user/message.ts';
import { ethernetFrame, macOf } from '../support/ethernet.ts';
import {
  Arena,
  attackerNumber,
  expectFrame,
  fromAttacker,
  peerNumber,
  toAttacker,
} from './arena.ts';
import { featuresOf, formats, RawQueue, receiveq, transmitq } from './raw-queue.ts';

const page = 4096n;

let arena: Arena;
beforeAll(async () => {
  arena = await Arena.open();
});
afterAll(() => arena.close());

/** Something said by a guest whose queues run, with what it takes. */
interface Lie {
  readonly name: string;
  readonly request: 'SET_MEM_TABLE' | 'SET_VRING_ADDR' | 'SET_VRING_NUM' | 'SET_VRING_KICK';
  readonly say: (guest: TestGuest) => Promise<void>;
}

/** A table of regions of one page, each of a file of one page. */
function regions(name: string, places: readonly (readonly [bigint, bigint, bigint])[]): Lie {
  return {
    name,
    request: 'SET_MEM_TABLE',
    async say({ frontend }) {
      const table = places.map(([guestAddress, userAddress, mmapOffset]) => {
        return { guestAddress, userAddress, mmapOffset, sizeBytes: page };
      });
      const fds = places.map(() => native().memfdCreate('hostile', Number(page)));
      try {
        await frontend.tell('SET_MEM_TABLE', memoryTableLayout, table, fds);
      } finally {
        for (const fd of fds) native().closeFd(fd);
      }
    },
  };
}

/** The transmitq's ring at another place. */
function ringAt(
  name: string,
  request: Lie['request'],
  change: (at: bigint, guest: TestGuest) => bigint,
): Lie {
  return {
    name,
    request,
    async say(guest) {
      const { addresses } = guest.transmitq.driver;
      const desc = change(addresses.desc, guest);
      const where = { index: transmitq, flags: 0, log: 0n, ...addresses, desc };
      await guest.frontend.stopRing(transmitq);
      await guest.frontend.tell('SET_VRING_ADDR', vringAddressesLayout, where);
      const kickFd = native().eventfdCreate();
      try {
        const payload = { index: transmitq, hasFd: true };
        await guest.frontend.tell('SET_VRING_KICK', vringFdLayout, payload, [kickFd]);
      } finally {
        native().closeFd(kickFd);
      }
    },
  };
}

const top = 0xffff_ffff_ffff_f000n;
const lies: readonly Lie[] = [
  regions('two regions at the same guest addresses', [
    [0n, 0n, 0n],
    [0n, 0x10_0000n, 0n],
  ]),
  regions('a region whose guest addresses wrap 64 bits', [[top + 0x800n, 0n, 0n]]),
  regions('a region whose file offset wraps 64 bits', [[0n, 0n, top]]),
  regions('a region behind the end of its file', [[0n, 0n, page]]),
  ringAt('a ring outside all regions', 'SET_VRING_KICK', () => 0x10n),
  ringAt('a ring that ends outside memory', 'SET_VRING_KICK', (_, { memory }) => {
    return memory.userAddress(memory.bytes.length - 16);
  }),
  ringAt('a ring at an odd address', 'SET_VRING_ADDR', (at) => at + 1n),
  ringAt('a ring that wraps 64 bits', 'SET_VRING_KICK', () => top),
  {
    name: 'a queue beyond all that there are',
    request: 'SET_VRING_NUM',
    say: ({ frontend }) =>
      frontend.tell('SET_VRING_NUM', vringStateLayout, { index: 0xffff_ffff, num: 256 }),
  },
  {
    name: 'no fd announced and one sent',
    request: 'SET_VRING_KICK',
    async say({ frontend }) {
      const fd = native().eventfdCreate();
      try {
        const payload = { index: transmitq, hasFd: false };
        await frontend.tell('SET_VRING_KICK', vringFdLayout, payload, [fd]);
      } finally {
        native().closeFd(fd);
      }
    },
  },
];

describe('class 21: a frontend loses its session, and only that, for', () => {
  test.each(lies)('$name', ({ request, say }) =>
    arena.attack(async () => {
      const guest = await arena.connect();
      await expect(say(guest)).rejects.toMatchObject({
        code: expect.stringMatching(/^(?:REFUSED|DISCONNECTED)$/),
      });
      expect(await arena.warning()).toMatch(
        new RegExp(`^port attacked: ${request}[^\\n]+; session closed$`),
      );
      expect((await arena.status()).frontend).toBeUndefined();
    }),
  );
});

describe.each(formats)('class 21: memory that is truncated under a %s ring', (format) => {
  test.each([
    ['is found out by a frame for the guest', receiveq],
    ['is found out by a kick', transmitq],
  ])('%s', (_, queue) =>
    arena.attack(async () => {
      const features = featuresOf(format);
      const guest = await arena.connect({ features, memory: 'file', receiveBuffers: 8 });
      await guest.send(fromAttacker());
      await expectFrame(arena.peer, fromAttacker());
      // From now on nothing here may touch that memory, as a guest does that is called.
      for (const index of [receiveq, transmitq]) {
        const payload = { index, hasFd: false };
        await guest.frontend.tell('SET_VRING_CALL', vringFdLayout, payload);
      }
      ftruncateSync(guest.memory.fd, 0);
      if (queue === transmitq) guest.raw.kick(transmitq);
      else await arena.peer.send(toAttacker());
      await vi.waitFor(() =>
        expect(arena.warnings).toContain(
          "port attacked: the file behind the guest's memory was truncated; its session ends",
        ),
      );
      await vi.waitFor(async () => expect((await arena.status()).frontend).toBeUndefined());
    }),
  );
});

test('class 22: a storm of frontends that leave at any point leaves nothing behind', () =>
  arena.attack(async () => {
    const wanted =
      protocolFeatures.VHOST_USER_PROTOCOL_F_REPLY_ACK | protocolFeatures.VHOST_USER_PROTOCOL_F_MQ;
    for (let i = 0; i < 100; i++) {
      // So many at once that the socket's backlog may be full.
      const frontend = await vi.waitFor(() => VhostUserFrontend.connect({ path: arena.path }));
      const starting = frontend.negotiate(virtioFeatures.VIRTIO_F_VERSION_1, wanted);
      starting.catch(() => {});
      for (let turns = 0; turns < i % 10; turns++) await new Promise(setImmediate);
      frontend.close();
    }
    await vi.waitFor(async () => expect((await arena.status()).frontend).toBeUndefined());
  }));

describe.each(formats)('with a %s ring', (format) => {
  const features = featuresOf(format) | virtioFeatures.VIRTIO_F_EVENT_IDX;

  test('class 20: a guest that never takes a frame slows nobody down', () =>
    arena.attack(async () => {
      const guest = await arena.connect({ features, receiveBuffers: 0 });
      await guest.send(fromAttacker());
      await expectFrame(arena.peer, fromAttacker());
      const before = (await arena.drops()).noBuffer!;
      for (let i = 0; i < 20; i++) {
        await arena.peer.sendAll(Array.from({ length: 100 }, () => toAttacker()));
        await arena.goOn();
      }
      await arena.peer.flush();
      expect((await arena.drops()).noBuffer).toBe(before + 2000);
    }));

  test('class 20: kicks without anything to find slow nobody down', () =>
    arena.attack(async () => {
      const guest = await arena.connect({ features });
      for (let i = 0; i < 10; i++) {
        for (let kicks = 0; kicks < 1000; kicks++) guest.raw.kick(kicks % 2);
        await arena.goOn();
      }
      await guest.send(fromAttacker(3));
      await expectFrame(arena.peer, fromAttacker(3));
    }));

  test('class 20: an event index of any value costs calls and nothing else', () =>
    arena.attack(async () => {
      const guest = await arena.connect({ features, receiveBuffers: 8 });
      const ring = new RawQueue(guest, transmitq);
      const bytes = new Uint8Array(72);
      bytes.set(fromAttacker(4), 12);
      for (const value of [0, 1, 0x7fff, 0x8000, 0xffff, 0x1234]) {
        if (format === 'split') guest.raw.splitRing(transmitq).usedEvent = value;
        else guest.raw.packedRing(transmitq).driverEvent = { offWrap: value, flags: value % 4 };
        ring.offer([ring.buffer(bytes)]);
        ring.kick();
        await expectFrame(arena.peer, fromAttacker(4));
      }
      expect(arena.warnings).toEqual([]);
    }));

  test('class 24: a call fd that would block is not waited for', () =>
    arena.attack(async () => {
      const guest = await arena.connect({ features, receiveBuffers: 8 });
      const path = join(tmpdir(), `hostile-${process.pid}.fifo`);
      execFileSync('mkfifo', [path]);
      // Two descriptions of one pipe: this end may fill it without blocking, the other one would block.
      const blocking = openSync(path, constants.O_RDWR);
      const filling = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
      try {
        expect(() => {
          for (;;) writeSync(filling, Buffer.alloc(4096));
        }).toThrow('EAGAIN');
        const payload = { index: transmitq, hasFd: true };
        await guest.frontend.tell('SET_VRING_CALL', vringFdLayout, payload, [blocking]);
        const ring = new RawQueue(guest, transmitq);
        const bytes = new Uint8Array(72);
        bytes.set(fromAttacker(6), 12);
        if (format === 'split') guest.raw.splitRing(transmitq).usedEvent = 0;
        else guest.raw.packedRing(transmitq).driverEvent = { offWrap: 0x8000, flags: 0 };
        ring.offer([ring.buffer(bytes)]);
        ring.kick();
        await expectFrame(arena.peer, fromAttacker(6));
        await arena.goOn();
      } finally {
        for (const fd of [blocking, filling]) closeSync(fd);
        rmSync(path);
      }
    }));
});

test('class 23: a guest with 6000 addresses takes no entry from others', () =>
  arena.attack(async () => {
    const entriesPerPortMax = 4096;
    const guest = await arena.connect({ queueSize: 256 });
    const others = async () =>
      (await arena.control.fdb()).filter(({ port }) => port !== 'attacked').map(({ mac }) => mac);
    const before = (await others()).sort();
    expect(before.length).toBeGreaterThanOrEqual(3);
    const to = macOf(peerNumber);
    for (let burst = 0; burst < 60; burst++) {
      const frames = Array.from({ length: 100 }, (_, i) =>
        ethernetFrame({ to, from: macOf(attackerNumber, burst * 100 + i + 1) }),
      );
      await guest.sendAll(frames);
    }
    await guest.flush();
    expect((await others()).sort()).toEqual(before);
    const own = (await arena.control.fdb()).filter(({ port }) => port === 'attacked');
    expect(own).toHaveLength(entriesPerPortMax);
  }));
