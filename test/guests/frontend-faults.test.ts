/**
 * What a frontend does wrong costs its own session and nobody else anything: memory taken away
 * under the switch, messages that break the protocol, connections that end anywhere. In every test
 * two bystanders exchange numbered frames on the same worker, before, during and after.
 */

import { ftruncateSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { native } from '../../src/native/addon.ts';
import { TestGuest, VhostUserFrontend } from '../../src/testing/index.ts';
import { virtioFeatures } from '../../src/vhost-user/features.ts';
import {
  emptyLayout,
  headerFlags,
  memoryTableLayout,
  requestNumbers,
  u64Layout,
  vringFdLayout,
  vringStateLayout,
} from '../../src/vhost-user/message.ts';
import { Neighbourhood, toVictim, victimPort } from '../support/bystanders.ts';
import type { SwitchNetwork } from '../support/network.ts';

const receiveq = 0;
const transmitq = 1;

let neighbourhood: Neighbourhood;
let network: SwitchNetwork;
let peer: TestGuest;

beforeEach(async () => {
  neighbourhood = await Neighbourhood.open();
  ({ network, peer } = neighbourhood);
});

afterEach(() => neighbourhood.close());

describe('a frontend that truncates the file behind its memory', () => {
  // The receiveq's ring lies at the beginning, its buffers behind it, the transmitq at the end.
  test.each([
    ['its receive buffers', 8192],
    ['all of it', 0],
  ])('and loses %s loses its own session, with one sentence', async (_, keptBytes) => {
    // Nothing here may touch the memory afterwards, as TestGuest does when it is called: so a frame
    // only goes to it, and both queues ask for no call.
    const victim = await network.connect(victimPort, { memory: 'file', receiveBuffers: 128 });
    await neighbourhood.expectHealthy(victim);
    for (const queue of [receiveq, transmitq]) {
      const payload = { index: queue, hasFd: false };
      await victim.frontend.tell('SET_VRING_CALL', vringFdLayout, payload);
    }
    ftruncateSync(victim.memory.fd, keptBytes);
    await peer.send(toVictim(9));
    const lost = await network.event('memory-lost');
    expect(lost.sentence).toBe(
      "port p0: the file behind the guest's memory was truncated; its session ends",
    );
    expect((await network.event('frontend-left')).reason).toEqual({ kind: 'closed-by-owner' });
    await network.fence(peer);
    expect(network.eventsOf('memory-lost')).toHaveLength(1);
    expect(network.eventsOf('ring-broken')).toEqual([]);
    victim.disconnect();
    await neighbourhood.expectHealthy(await network.connect(victimPort));
  });

  test('and only kicks then is found out by the kick', async () => {
    const victim = await network.connect(victimPort, { memory: 'file', receiveBuffers: 128 });
    await neighbourhood.expectHealthy(victim);
    for (const queue of [receiveq, transmitq]) {
      const payload = { index: queue, hasFd: false };
      await victim.frontend.tell('SET_VRING_CALL', vringFdLayout, payload);
    }
    ftruncateSync(victim.memory.fd, 0);
    victim.kick('transmitq');
    await network.event('memory-lost');
    await network.event('frontend-left');
    victim.disconnect();
    await neighbourhood.expectHealthy(await network.connect(victimPort));
  });

  test('and sends a frame from memory that is gone is found out, whatever is copied', async () => {
    const victim = await network.connect(victimPort, { memory: 'file' });
    await neighbourhood.expectHealthy(victim);
    const payload = { index: transmitq, hasFd: false };
    await victim.frontend.tell('SET_VRING_CALL', vringFdLayout, payload);
    await victim.frontend.tell('SET_VRING_CALL', vringFdLayout, { ...payload, index: receiveq });
    // A descriptor of the last page, which goes; the rings stay.
    const { driver } = victim.transmitq;
    const { ring } = driver;
    const slot = ring.availIndex;
    const address = victim.memory.guestAddress(victim.memory.bytes.length - 4096);
    ftruncateSync(victim.memory.fd, victim.memory.bytes.length - 4096);
    ring.writeDescriptor(slot, { address, lengthBytes: 72, flags: 0, next: 0 });
    ring.setAvailEntry(slot, slot);
    ring.availIndex = slot + 1;
    victim.kick('transmitq');
    await network.event('memory-lost');
    await network.event('frontend-left');
    expect(network.eventsOf('memory-lost')).toHaveLength(1);
    victim.disconnect();
    await neighbourhood.expectHealthy(await network.connect(victimPort));
  });
});

describe('a frontend that breaks the protocol loses its session, and the port serves the next', () => {
  type Violation = (frontend: VhostUserFrontend) => void;
  const say =
    (request: number, payload: Uint8Array, fds: () => number[] = () => []): Violation =>
    (frontend) => {
      const sent = fds();
      void frontend.request(request, headerFlags.NEED_REPLY, payload, sent, false).finally(() => {
        for (const fd of sent) native().closeFd(fd);
      });
    };

  const violations: [string, string, Violation][] = [
    [
      'bytes that are no message',
      'BAD_VERSION',
      (it) => it.sendBytes(new Uint8Array(64).fill(0xaa)),
    ],
    [
      'a payload of the wrong size',
      'BAD_SIZE',
      say(requestNumbers.SET_FEATURES, new Uint8Array(7)),
    ],
    [
      'a size beyond all bounds',
      'BAD_SIZE',
      (it) => {
        const header = new Uint8Array(
          new Uint32Array([requestNumbers.SET_FEATURES, headerFlags.VERSION, 0xffff_ffff]).buffer,
        );
        it.sendBytes(header);
      },
    ],
    ['a request that does not exist', 'UNKNOWN_REQUEST', say(999, new Uint8Array(0))],
    [
      'a queue that does not exist',
      'BAD_QUEUE',
      say(requestNumbers.SET_VRING_NUM, vringStateLayout.encode({ index: 4096, num: 256 })),
    ],
    [
      'a ring size that is no power of two',
      'BAD_VALUE',
      say(requestNumbers.SET_VRING_NUM, vringStateLayout.encode({ index: 0, num: 513 })),
    ],
    [
      'a feature that was not offered',
      'MISSING_FEATURE',
      say(requestNumbers.SET_FEATURES, u64Layout.encode(virtioFeatures.VIRTIO_NET_F_RSS)),
    ],
    [
      'a ring that starts before it has a size',
      'WRONG_ORDER',
      (it) => {
        void it.request(requestNumbers.SET_FEATURES, 0, u64Layout.encode(0n), [], false);
        say(requestNumbers.SET_VRING_KICK, vringFdLayout.encode({ index: 0, hasFd: true }), () => [
          native().eventfdCreate(),
        ])(it);
      },
    ],
    [
      'memory without a file',
      'MEMORY_NOT_SHARED',
      say(
        requestNumbers.SET_MEM_TABLE,
        memoryTableLayout.encode([
          { guestAddress: 0n, sizeBytes: 4096n, userAddress: 0n, mmapOffset: 0n },
        ]),
      ),
    ],
    [
      'memory behind a file that cannot be mapped',
      'MEMORY_UNMAPPABLE',
      say(
        requestNumbers.SET_MEM_TABLE,
        memoryTableLayout.encode([
          { guestAddress: 0n, sizeBytes: 4096n, userAddress: 0n, mmapOffset: 0n },
        ]),
        () => [native().eventfdCreate()],
      ),
    ],
    [
      'memory beyond the end of its file',
      'MEMORY_UNMAPPABLE',
      say(
        requestNumbers.SET_MEM_TABLE,
        memoryTableLayout.encode([
          { guestAddress: 0n, sizeBytes: 8192n, userAddress: 0n, mmapOffset: 0n },
        ]),
        () => [native().memfdCreate('short', 4096)],
      ),
    ],
    [
      'fds that nobody asked for',
      'BAD_FDS',
      say(requestNumbers.SET_OWNER, new Uint8Array(0), () => [native().eventfdCreate()]),
    ],
  ];

  test.each(violations)('%s', async (_, code, violate) => {
    const frontend = VhostUserFrontend.connect({ path: network.path(victimPort) });
    await frontend.ask('GET_FEATURES', emptyLayout, undefined, u64Layout);
    const ended = new Promise<Error>((resolve) => frontend.onEnd(resolve));
    violate(frontend);
    const { reason } = await network.event('frontend-left');
    expect(reason).toMatchObject({ kind: 'protocol-error', code });
    expect(reason).toMatchObject({ sentence: expect.stringMatching(/^port p0: [^\n]+$/) });
    expect(await ended).toMatchObject({ code: 'DISCONNECTED' });
    await neighbourhood.expectHealthy(await network.connect(victimPort));
  });

  test('leaving in the middle of a message', async () => {
    const frontend = VhostUserFrontend.connect({ path: network.path(victimPort) });
    frontend.sendBytes(new Uint8Array([1, 0, 0]));
    frontend.close();
    expect((await network.event('frontend-left')).reason).toMatchObject({ code: 'TRUNCATED' });
    await neighbourhood.expectHealthy(await network.connect(victimPort));
  });

  test('a machine that dies at any point of its start leaves a port that serves the next', async () => {
    const whole = TestGuest.connect({ path: network.path(victimPort) });
    (await whole).disconnect();
    // Cuts the connection later each time, until a start has run to its end.
    let done = false;
    for (let turns = 0; !done; turns += 1 + (turns >> 4)) {
      // So many at once that the socket's backlog may be full.
      const frontend = await vi.waitFor(
        () => VhostUserFrontend.connect({ path: network.path(victimPort) }),
        { timeout: 60_000 },
      );
      const starting = frontend.negotiate(virtioFeatures.VIRTIO_F_VERSION_1, 0n).then(
        () => true,
        () => false,
      );
      for (let i = 0; i < turns; i++) await new Promise(setImmediate);
      frontend.close();
      done = await starting;
    }
    await neighbourhood.expectHealthy(await network.connect(victimPort));
  });
});
