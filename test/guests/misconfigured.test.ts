/**
 * Machines that are set up wrong, or changed while frames are under way: what cannot be served is
 * refused with the port and the queue named, what can be is served by the features that were
 * agreed, and every frame that is not is counted. Two bystanders exchange frames all along and
 * notice nothing.
 */

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { TestGuest, TestGuestOptions } from '../../src/testing/index.ts';
import { VhostUserFrontend } from '../../src/testing/index.ts';
import { protocolFeatures, virtioFeatures } from '../../src/vhost-user/features.ts';
import {
  emptyLayout,
  memoryRegionLayout,
  u64Layout,
  vringStateLayout,
} from '../../src/vhost-user/message.ts';
import { fromVictim, Neighbourhood, toVictim, victimPort } from '../support/bystanders.ts';
import { numberOf } from '../support/ethernet.ts';
import { deliveredTo, dropsOf, type SwitchNetwork } from '../support/network.ts';

const {
  VIRTIO_F_VERSION_1: version1,
  VIRTIO_F_RING_PACKED: packed,
  VIRTIO_NET_F_CSUM: csum,
  VIRTIO_NET_F_GUEST_TSO4: guestTso4,
  VIRTIO_NET_F_GUEST_ECN: guestEcn,
  VIRTIO_NET_F_HOST_TSO4: hostTso4,
  VIRTIO_NET_F_HOST_ECN: hostEcn,
} = virtioFeatures;
const { VHOST_USER_PROTOCOL_F_REPLY_ACK, VHOST_USER_PROTOCOL_F_MQ } = protocolFeatures;
const { VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS } = protocolFeatures;
const needsCsum = 1;
const gsoTcpv4 = 1;
const gsoEcn = 0x80;
const headerBytes = 12;

let neighbourhood: Neighbourhood;
let network: SwitchNetwork;
let peer: TestGuest;

beforeEach(async () => {
  neighbourhood = await Neighbourhood.open();
  ({ network, peer } = neighbourhood);
});

afterEach(() => neighbourhood.close());

function connect(options: Omit<TestGuestOptions, 'path'>): Promise<TestGuest> {
  return network.connect(victimPort, options);
}

/** Sends bytes as they are, the virtio-net header first. */
async function sendRaw(guest: TestGuest, bytes: Uint8Array): Promise<void> {
  const { ring } = guest.transmitq.driver;
  const slot = ring.availIndex % ring.size;
  const offset = guest.memory.allocate(bytes.length, 64);
  guest.memory.bytes.set(bytes, offset);
  const address = guest.memory.guestAddress(offset);
  ring.writeDescriptor(slot, { address, lengthBytes: bytes.length, flags: 0, next: 0 });
  ring.setAvailEntry(slot, slot);
  const used = ring.usedIndex;
  ring.availIndex++;
  guest.kick('transmitq');
  await expect.poll(() => ring.usedIndex).toBe(used + 1);
}

/** What the victim's port has dropped since somebody was there. */
function drops(): Record<string, number> {
  const { notReady: _, ...others } = dropsOf(network.port(victimPort).counters);
  return others;
}

/** A frame from the victim behind a header with these fields. */
function withHeader(flags: number, gsoType: number): Uint8Array {
  const header = Uint8Array.from({ length: headerBytes }, () => 0);
  header[0] = flags;
  header[1] = gsoType;
  return Buffer.concat([header, fromVictim(1)]);
}

describe('features that contradict each other', () => {
  test.each([
    ['HOST_TSO4 without CSUM', hostTso4, needsCsum, gsoTcpv4],
    ['HOST_ECN without HOST_TSO', csum | hostEcn, needsCsum, gsoTcpv4 | gsoEcn],
    ['HOST_TSO4 and CSUM, but no checksum to complete', csum | hostTso4, 0, gsoTcpv4],
  ])('of a sender, %s: what they do not allow is counted', async (_, features, flags, gso) => {
    const guest = await connect({ features: version1 | features, receiveBuffers: 0 });
    const before = deliveredTo(peer);
    await sendRaw(guest, withHeader(flags, gso));
    expect(drops()).toEqual({ badHeader: 1 });
    // What needs no feature is forwarded all the same.
    await sendRaw(guest, withHeader(0, 0));
    expect(deliveredTo(peer)).toBe(before + 1);
    guest.disconnect();
  });

  test.each([
    ['GUEST_TSO4 without GUEST_CSUM', guestTso4],
    ['GUEST_ECN alone', guestEcn],
  ])('of a receiver, %s: it gets frames that are whole', async (_, features) => {
    await neighbourhood.expectHealthy(await connect({ features: version1 | features }));
  });
});

describe('what the switch has not offered is refused with port and queue', () => {
  async function refusal(
    features: bigint,
    say: (frontend: VhostUserFrontend) => Promise<void>,
  ): Promise<string> {
    const frontend = VhostUserFrontend.connect({ path: network.path(victimPort) });
    const acked = VHOST_USER_PROTOCOL_F_REPLY_ACK | VHOST_USER_PROTOCOL_F_MQ;
    await frontend.negotiate(features, acked);
    await expect(say(frontend)).rejects.toMatchObject({ code: 'REFUSED' });
    frontend.close();
    const { reason } = await network.event('frontend-left');
    return reason.kind === 'protocol-error' ? reason.sentence : reason.kind;
  }
  const setSize = (index: number, num: number) => (frontend: VhostUserFrontend) =>
    frontend.tell('SET_VRING_NUM', vringStateLayout, { index, num });

  test.each([
    ['no descriptor at all', version1, 2, 0],
    ['513 descriptors, split', version1, 2, 513],
    ['65536 descriptors, split', version1, 3, 65_536],
    ['32769 descriptors, packed', version1 | packed, 2, 32_769],
  ])('a queue of %s', async (_, features, queue, size) => {
    const sentence = await refusal(features, setSize(queue, size));
    expect(sentence).toMatch(/^port p0: SET_VRING_NUM/);
    expect(sentence).toContain(`queue ${queue}`);
    expect(sentence).toContain(`${size}`);
    await neighbourhood.expectHealthy(await connect({}));
  });

  test('one queue more than the pairs it was told of', async () => {
    let queues = 0;
    const sentence = await refusal(version1, async (frontend) => {
      const pairs = await frontend.ask('GET_QUEUE_NUM', emptyLayout, undefined, u64Layout);
      expect(pairs).toBe(128n);
      queues = 2 * Number(pairs);
      await setSize(queues - 1, 256)(frontend);
      await setSize(queues, 256)(frontend);
    });
    expect(sentence).toMatch(/^port p0: SET_VRING_NUM/);
    expect(sentence).toContain(`${queues}`);
    await neighbourhood.expectHealthy(await connect({}));
  });
});

describe('buffers that are too small', () => {
  test.each([1, headerBytes, headerBytes + 13])(
    'a frame of %i bytes, header and all, is counted and given back',
    async (bytes) => {
      const guest = await connect({ features: version1, receiveBuffers: 0 });
      await sendRaw(guest, new Uint8Array(bytes));
      expect(drops()).toEqual({ tooShort: 1 });
      guest.disconnect();
    },
  );

  test('a frame that fits no receive buffer is counted, and the buffer takes the next', async () => {
    const guest = await connect({ features: version1, receiveBufferBytes: 64 });
    await peer.send(toVictim(1));
    await peer.flush();
    expect(drops()).toEqual({ bufferTooSmall: 1 });
    await peer.send(toVictim(2).subarray(0, 52));
    expect(Buffer.from(await guest.receive())).toEqual(Buffer.from(toVictim(2).subarray(0, 52)));
  });
});

describe('memory that goes while frames are under way', () => {
  test('breaks the queue whose buffers were in it, and no other', async () => {
    // Rings lie in the first half; the transmit buffers that are used first at the end of the
    // second.
    const guest = await connect({
      features: version1,
      protocolFeatures: VHOST_USER_PROTOCOL_F_REPLY_ACK | VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS,
      memorySizeBytes: 1 << 20,
      memoryRegions: 2,
      receiveBuffers: 16,
    });
    const { fd: _, ...region } = guest.memory.regions[1]!;
    let removed: Promise<void> | undefined;
    const framesMax = 20_000;
    let sent = 0;
    for (; network.eventsOf('ring-broken').length === 0; sent++) {
      expect(sent).toBeLessThan(framesMax);
      if (sent === 100) {
        await expect
          .poll(() => network.port(victimPort).counters.fromGuest.frames, { timeout: 10_000 })
          .toBe(sent);
        removed = guest.frontend.tell('REM_MEM_REG', memoryRegionLayout, region);
      }
      await guest.send(fromVictim(sent));
      // A burst at a time: others of this process get their turn in between.
      if (sent % 8 === 7) await new Promise(setImmediate);
    }
    await removed;
    expect(await network.event('ring-broken')).toMatchObject({ port: 'p0', queue: 1 });
    expect(network.eventsOf('ring-broken')).toHaveLength(1);
    // Every frame before it has arrived, and the receiveq goes on.
    const { frames: forwarded } = network.port(victimPort).counters.fromGuest;
    expect(forwarded).toBeGreaterThanOrEqual(100);
    expect(forwarded).toBeLessThan(sent);
    expect(guest.transmitq.driver.ring.usedIndex).toBe(forwarded);
    for (let i = 0; i < forwarded; i++) expect(numberOf(await peer.receive())).toBe(i);
    expect(peer.pendingFrames).toBe(0);
    await peer.send(toVictim(1));
    expect(Buffer.compare(await guest.receive(), toVictim(1))).toBe(0);
    guest.disconnect();
    await neighbourhood.expectHealthy(await connect({}));
  });
});
