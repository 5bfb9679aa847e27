/**
 * What one guest writes into its rings costs itself one queue and nobody else anything. In every
 * test two bystanders exchange numbered frames on the same worker, before, during and after.
 */

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { native } from '../../src/native/addon.ts';
import type { GuestMemory, TestGuest } from '../../src/testing/index.ts';
import {
  type Descriptor,
  VIRTQ_DESC_F_INDIRECT as INDIRECT,
  VIRTQ_DESC_F_NEXT as NEXT,
  VIRTQ_DESC_F_WRITE as WRITE,
  writeDescriptorAt,
} from '../../src/testing/split-ring.ts';
import { virtioFeatures } from '../../src/vhost-user/features.ts';
import { vringFdLayout } from '../../src/vhost-user/message.ts';
import {
  fromVictim,
  Neighbourhood,
  peerPort,
  toVictim,
  victimPort,
} from '../support/bystanders.ts';
import { broadcast, ethernetFrame, macOf } from '../support/ethernet.ts';
import { deliveredTo, expectDelivery, type SwitchNetwork } from '../support/network.ts';

const queueSize = 16;
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

/** What a driver may write into the descriptors of a ring of queueSize entries. */
interface Violation {
  readonly name: string;
  readonly fault: string;
  /** Negotiated instead of the usual. */
  readonly features?: bigint;
  /** Writes descriptor 0 and what belongs to it. */
  readonly commit: (memory: GuestMemory, write: (index: number, d: Descriptor) => void) => void;
}

/** A descriptor of memory that exists and is nobody's. */
function descriptor(memory: GuestMemory, flags: number, next = 0, lengthBytes = 64): Descriptor {
  return { address: memory.guestAddress(memory.allocate(64, 64)), lengthBytes, flags, next };
}

/** Descriptor 0 refers to an indirect table of `entries`. */
function indirect(
  entries: (memory: GuestMemory) => Descriptor[],
  change: Partial<Descriptor> = {},
): Violation['commit'] {
  return (memory, write) => {
    const offset = memory.allocate(16 * 64, 16);
    const table = entries(memory);
    for (const [i, entry] of table.entries()) writeDescriptorAt(memory, offset + 16 * i, entry);
    const address = memory.guestAddress(offset);
    write(0, { address, lengthBytes: 16 * table.length, flags: INDIRECT, next: 0, ...change });
  };
}

/** `flags` is what makes a descriptor right for the queue's direction. */
function violations(flags: number): Violation[] {
  const loop = 'chain-too-long';
  const unmapped = 'address-unmapped';
  const badTable = 'indirect-bad-table';
  const nested = 'indirect-nested';
  const beyond = 'next-out-of-range';
  const oneEntry = (memory: GuestMemory) => [descriptor(memory, flags)];
  return [
    {
      name: 'a descriptor that is its own next',
      fault: loop,
      commit: (memory, write) => write(0, descriptor(memory, flags | NEXT, 0, 1)),
    },
    {
      name: 'a loop of two descriptors',
      fault: loop,
      commit(memory, write) {
        write(0, descriptor(memory, flags | NEXT, 1, 1));
        write(1, descriptor(memory, flags | NEXT, 0, 1));
      },
    },
    {
      name: 'a next beyond the queue',
      fault: beyond,
      commit: (memory, write) => write(0, descriptor(memory, flags | NEXT, queueSize, 1)),
    },
    {
      name: 'an address outside memory',
      fault: unmapped,
      commit: (_, write) => write(0, { address: 0x10n, lengthBytes: 64, flags, next: 0 }),
    },
    {
      name: 'an address at the end of the address space',
      fault: unmapped,
      commit: (_, write) =>
        write(0, { address: 0xffff_ffff_ffff_fff0n, lengthBytes: 0xffff_ffff, flags, next: 0 }),
    },
    {
      name: 'a buffer that begins inside memory and ends outside',
      fault: unmapped,
      commit(memory, write) {
        const address = memory.guestAddress(memory.bytes.length - 1);
        write(0, { address, lengthBytes: 64, flags, next: 0 });
      },
    },
    {
      name: 'the flag of the other direction',
      fault: 'wrong-direction',
      commit: (memory, write) => write(0, descriptor(memory, flags ^ WRITE)),
    },
    {
      name: 'an indirect table within an indirect table',
      fault: nested,
      commit: indirect((memory) => [descriptor(memory, flags | INDIRECT)]),
    },
    {
      name: 'an indirect descriptor that has a next',
      fault: nested,
      commit: indirect(oneEntry, { flags: INDIRECT | NEXT }),
    },
    {
      name: 'an indirect table of an odd size',
      fault: badTable,
      commit: indirect(oneEntry, { lengthBytes: 17 }),
    },
    { name: 'an empty indirect table', fault: badTable, commit: indirect(() => []) },
    {
      name: 'an indirect table longer than the queue',
      fault: badTable,
      commit: indirect((memory) =>
        Array.from({ length: queueSize + 1 }, (_, i) =>
          descriptor(memory, i < queueSize ? flags | NEXT : flags, i + 1, 1),
        ),
      ),
    },
    {
      name: 'a loop within an indirect table',
      fault: loop,
      commit: indirect((memory) => [descriptor(memory, flags | NEXT, 0, 1)]),
    },
    {
      name: 'a next beyond the indirect table',
      fault: beyond,
      commit: indirect((memory) => [descriptor(memory, flags | NEXT, 1, 1)]),
    },
    {
      name: 'an indirect table outside memory',
      fault: unmapped,
      commit: indirect(oneEntry, { address: 0x10n }),
    },
    {
      name: 'an indirect table that was not negotiated',
      fault: 'indirect-not-negotiated',
      features: virtioFeatures.VIRTIO_F_VERSION_1,
      commit: indirect(oneEntry),
    },
  ];
}

interface Victim {
  readonly guest: TestGuest;
  readonly errFd: number;
}

/** A guest whose queues are empty, with an err eventfd on one of them. */
async function connectVictim(queue: number, features?: bigint): Promise<Victim> {
  const guest = await network.connect(victimPort, {
    queueSize,
    ...(queue === receiveq ? { receiveBuffers: 0 } : {}),
    ...(features === undefined ? {} : { features }),
  });
  const errFd = native().eventfdCreate();
  const payload = { index: queue, hasFd: true };
  await guest.frontend.tell('SET_VRING_ERR', vringFdLayout, payload, [errFd]);
  return { guest, errFd };
}

/** Makes the worker look: a kick for the transmitq, a frame for the receiveq. */
async function provoke(guest: TestGuest, queue: number): Promise<void> {
  if (queue === transmitq) guest.kick('transmitq');
  else await peer.send(ethernetFrame({ from: macOf(peerPort), to: broadcast }));
}

/** The queue is broken with `fault`, once, however often the worker is made to look. */
async function expectBroken({ guest, errFd }: Victim, queue: number, fault: string) {
  await provoke(guest, queue);
  const event = { type: 'ring-broken', port: 'p0', queue, fault };
  expect(await network.event('ring-broken')).toMatchObject(event);
  expect(native().eventfdDrain(errFd)).toBe(1);
  for (let i = 0; i < 3; i++) await provoke(guest, queue);
  await network.fence(peer);
  expect(network.eventsOf('ring-broken')).toMatchObject([event]);
  expect(native().eventfdDrain(errFd)).toBe(0);
  native().closeFd(errFd);
  // The port and its session stand.
  expect(network.eventsOf('frontend-left')).toEqual([]);
  expect(network.port(victimPort).frontendPid).toBe(process.pid);
}

/** The other queue of the victim works as before. */
async function expectOtherQueueWorks(guest: TestGuest, broken: number): Promise<void> {
  if (broken === transmitq) await expectDelivery(peer, guest, [toVictim(7), toVictim(8)]);
  else {
    const before = deliveredTo(peer);
    await guest.send(fromVictim(7));
    await guest.flush();
    expect(deliveredTo(peer)).toBe(before + 1);
    await peer.receive();
  }
}

async function expectHealedByReconnect(guest: TestGuest): Promise<void> {
  guest.disconnect();
  await neighbourhood.expectHealthy(await network.connect(victimPort));
}

describe.each([
  ['transmitq', transmitq, violations(0)],
  ['receiveq', receiveq, violations(WRITE)],
] as const)(
  'a %s breaks alone, is reported once and healed by a reconnect after',
  (_, queue, all) => {
    test.each([...all])('$name', async ({ fault, features, commit }) => {
      const victim = await connectVictim(queue, features);
      const { guest } = victim;
      const { ring } = queue === transmitq ? guest.transmitq.driver : guest.receiveq.driver;
      commit(guest.memory, (index, d) => ring.writeDescriptor(index, d));
      ring.setAvailEntry(0, 0);
      ring.availIndex = 1;
      await expectBroken(victim, queue, fault);
      // What was not taken is not returned either.
      expect(ring.usedIndex).toBe(0);
      if (queue === receiveq) await expectOtherQueueWorks(guest, queue);
      await expectHealedByReconnect(guest);
    });

    test('a head beyond the queue size', async () => {
      const victim = await connectVictim(queue);
      const { guest } = victim;
      const { ring } = queue === transmitq ? guest.transmitq.driver : guest.receiveq.driver;
      ring.setAvailEntry(0, queueSize);
      ring.availIndex = 1;
      const fault = 'head-out-of-range';
      await expectBroken(victim, queue, fault);
      await expectOtherQueueWorks(guest, queue);
      await expectHealedByReconnect(guest);
    });

    test.each([queueSize + 1, 0x8000, 0xffff])('an avail index that jumps by %i', async (jump) => {
      const victim = await connectVictim(queue);
      const { guest } = victim;
      const { ring } = queue === transmitq ? guest.transmitq.driver : guest.receiveq.driver;
      ring.availIndex = jump;
      const fault = 'avail-index-jump';
      await expectBroken(victim, queue, fault);
      await expectOtherQueueWorks(guest, queue);
      await expectHealedByReconnect(guest);
    });
  },
);

describe('a broken queue', () => {
  test('of a receive buffer smaller than the header breaks the receiveq', async () => {
    const victim = await connectVictim(receiveq);
    const { ring } = victim.guest.receiveq.driver;
    ring.writeDescriptor(0, descriptor(victim.guest.memory, WRITE, 0, 11));
    ring.setAvailEntry(0, 0);
    ring.availIndex = 1;
    const fault = 'buffer-below-header';
    await expectBroken(victim, receiveq, fault);
    await expectHealedByReconnect(victim.guest);
  });

  test('has delivered the good frames that lay before the bad one', async () => {
    const victim = await connectVictim(transmitq);
    const { guest } = victim;
    const { driver } = guest.transmitq;
    for (let i = 0; i < 3; i++) guest.transmitq.add(fromVictim(i), {});
    driver.publish();
    driver.ring.setAvailEntry(3, queueSize);
    driver.ring.availIndex = 4;
    const before = deliveredTo(peer);
    const fault = 'head-out-of-range';
    await expectBroken(victim, transmitq, fault);
    expect(driver.ring.usedIndex).toBe(3);
    expect(network.port(victimPort).counters.fromGuest.frames).toBe(3);
    expect(deliveredTo(peer)).toBe(before + 3);
    expect(await guest.frontend.stopRing(transmitq)).toBe(3);
    for (let i = 0; i < 3; i++) await peer.receive();
  });

  test('is healed by a driver that resets it, without a reconnect', async () => {
    const victim = await connectVictim(transmitq);
    const { guest } = victim;
    const { ring } = guest.transmitq.driver;
    ring.setAvailEntry(0, queueSize);
    ring.availIndex = 1;
    const fault = 'head-out-of-range';
    await expectBroken(victim, transmitq, fault);
    expect(await guest.frontend.stopRing(transmitq)).toBe(0);
    ring.availIndex = 0;
    const [callFd, kickFd] = [native().eventfdCreate(), native().eventfdCreate()];
    const { size, addresses } = ring;
    const { frontend, transmitq: queue } = guest;
    await frontend.startRing(transmitq, { size, base: 0, addresses, callFd, kickFd });
    const before = deliveredTo(peer);
    queue.add(fromVictim(1), {});
    queue.driver.publish();
    native().eventfdSignal(kickFd);
    await expect.poll(() => ring.usedIndex).toBe(1);
    expect(deliveredTo(peer)).toBe(before + 1);
    for (const fd of [callFd, kickFd]) native().closeFd(fd);
  });
});
