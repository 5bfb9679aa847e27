/**
 * Guests with every kind of ring, any number of queue pairs, offloads and memory that comes and
 * goes, joined by a switch in this process. What other backends make of them is in guest.test.ts
 * and ovs.test.ts.
 */

import { afterEach, describe, expect, test } from 'vitest';
import {
  assertFrame,
  parse,
  type TestGuest,
  type TestGuestOptions,
  tcp4,
  udp4,
  VIRTIO_NET_HDR_F_NEEDS_CSUM,
  VIRTIO_NET_HDR_GSO_TCPV4,
  type VirtioFeatureName,
} from '../../src/testing/index.ts';
import { frameBetween, macOf } from '../support/ethernet.ts';
import { announce, expectDelivery, SwitchNetwork } from '../support/network.ts';

let network: SwitchNetwork;

afterEach(() => network.close());

type Options = Omit<TestGuestOptions, 'path'>;

async function connect(a: Options, b: Options = a): Promise<[TestGuest, TestGuest]> {
  network = SwitchNetwork.open(2);
  return [await network.connect(0, a), await network.connect(1, b)];
}

const ends = (from: number, to: number) => ({
  from: macOf(from),
  to: macOf(to),
  source: `10.0.0.${from + 1}`,
  target: `10.0.0.${to + 1}`,
});

const choices: readonly VirtioFeatureName[] = [
  'VIRTIO_F_RING_PACKED',
  'VIRTIO_F_IN_ORDER',
  'VIRTIO_F_EVENT_IDX',
  'VIRTIO_NET_F_MRG_RXBUF',
  'VIRTIO_F_INDIRECT_DESC',
];

/** Subset `number` of the choices, on top of VERSION_1. */
function subset(number: number): VirtioFeatureName[] {
  return ['VIRTIO_F_VERSION_1', ...choices.filter((_, bit) => (number >> bit) & 1)];
}

describe('every subset of the ring features', () => {
  const subsets = Array.from({ length: 2 ** choices.length }, (_, number) => number);

  test.each(subsets)(
    'subset %i is agreed on and carries frames, to its opposite too',
    async (n) => {
      const opposite = subsets.length - 1 - n;
      const [a, b] = await connect(
        { features: subset(n), queueSize: 32 },
        { features: subset(opposite), queueSize: 64 },
      );
      for (const [bit, name] of choices.entries()) {
        expect(a.has(name), name).toBe(((n >> bit) & 1) === 1);
        expect(b.has(name), name).toBe(((opposite >> bit) & 1) === 1);
      }
      const layouts = [{}, { pieces: [12] }, { pieces: [3, 9, 14, 1] }];
      for (let round = 0; round < 6; round++) {
        const frames = [60, 61, 590, 1514].map((length, i) =>
          frameBetween(0, 1, 9 * round + i, length),
        );
        const back = frames.map((frame, i) => frameBetween(1, 0, i, frame.length));
        for (const layout of layouts) {
          const indirect = round % 2 === 1;
          await expectDelivery(a, b, frames, {
            ...layout,
            indirect: indirect && a.has('VIRTIO_F_INDIRECT_DESC'),
          });
          await expectDelivery(b, a, back, {
            ...layout,
            indirect: indirect && b.has('VIRTIO_F_INDIRECT_DESC'),
          });
        }
      }
    },
  );

  test.each([1, 2, 7, 100, 300])('a packed ring of %i goes round', async (queueSize) => {
    const features = subset(0b00111);
    const [a, b] = await connect({ features, queueSize });
    for (let i = 0; i < 3 * queueSize + 5; i++) await expectDelivery(a, b, [frameBetween(0, 1, i)]);
  });

  test.each([
    ['split', subset(0b11000)],
    ['packed', subset(0b11001)],
  ])('receive buffers in pieces and indirect tables, %s', async (_, features) => {
    const receiveLayout = { pieces: [5, 7, 100], indirect: true };
    const [a, b] = await connect({
      features,
      receiveLayout,
      receiveBufferBytes: 700,
      queueSize: 16,
    });
    const frames = [60, 100, 700, 1514, 4000].map((length, i) => frameBetween(0, 1, i, length));
    for (let round = 0; round < 5; round++) await expectDelivery(a, b, frames);
  });
});

describe('batches', () => {
  test('sendAll() and receiveAll() pass more frames than the rings hold, in order', async () => {
    const [a, b] = await connect({ queueSize: 64 });
    const count = 1000;
    const received: Uint8Array[] = [];
    for (let sent = 0; sent < count; sent += 50) {
      await a.sendAll(Array.from({ length: 50 }, (_, i) => frameBetween(0, 1, sent + i)));
      while (received.length < sent + 50) {
        for (const { frame } of await b.receiveAll()) received.push(frame);
      }
    }
    for (const [i, frame] of received.entries()) {
      expect(Buffer.compare(frame, frameBetween(0, 1, i))).toBe(0);
    }
  });

  test('several who wait for a frame get one each, and who gets none is told', async () => {
    const [a, b] = await connect({});
    // Frames go to who asked first, whether or not the last one's time is over when they come.
    const waiting = [b.receive(), b.receive(), b.receive({ timeoutMs: 1 })];
    const results = Promise.allSettled(waiting);
    await a.sendAll([frameBetween(0, 1, 1), frameBetween(0, 1, 2)]);
    const [first, second, third] = await results;
    for (const [i, result] of [first!, second!].entries()) {
      expect(result.status).toBe('fulfilled');
      if (result.status === 'fulfilled') assertFrame(result.value, frameBetween(0, 1, i + 1));
    }
    expect(third).toMatchObject({ status: 'rejected', reason: { code: 'TIMEOUT' } });
  });

  test('a batch larger than the transmitq is shown in parts', async () => {
    const [a, b] = await connect({ queueSize: 16 }, { queueSize: 256 });
    const frames = Array.from({ length: 200 }, (_, i) => frameBetween(0, 1, i));
    await a.sendAll(frames);
    for (const frame of frames) assertFrame(await b.receive(), frame);
  });
});

describe('queue pairs', () => {
  test('128 of them carry frames, each of its own', async () => {
    const options = { queuePairs: 128, queueSize: 8, receiveBufferBytes: 256 };
    const [a, b] = await connect(options);
    await announce(1, [a, b]);
    for (let queuePair = 0; queuePair < 128; queuePair++) {
      const frame = frameBetween(0, 1, queuePair);
      await a.send(frame, { queuePair });
      assertFrame(await b.receive(), frame);
    }
  });

  test('flows are spread over those that are enabled, and over no others', async () => {
    const [a, b] = await connect({ queuePairs: 1 }, { queuePairs: 8, features: subset(0b11101) });
    expect(b.has('VIRTIO_NET_F_MQ')).toBe(false);
    await b.close();
    const many = await network.connect(1, { queuePairs: 8 });
    await announce(1, [a, many]);
    const pairsUsed = async () => {
      const pairs = new Set<number>();
      for (let sourcePort = 1; sourcePort <= 100; sourcePort++) {
        await a.send(udp4({ ...ends(0, 1), sourcePort, targetPort: 9 }));
        pairs.add((await many.receivePacket()).queuePair);
      }
      return [...pairs].sort((one, other) => one - other);
    };
    expect((await pairsUsed()).length).toBeGreaterThan(4);
    await many.enablePairs(2);
    expect(many.queuePairs.map(({ enabled }) => enabled)).toEqual(
      Array.from({ length: 8 }, (_, number) => number < 2),
    );
    expect(await pairsUsed()).toEqual([0, 1]);
    await many.enablePairs(8);
    expect((await pairsUsed()).length).toBeGreaterThan(4);
  });

  test('more than the backend serves are refused', async () => {
    network = SwitchNetwork.open(1);
    const protocolFeatures = ['VHOST_USER_PROTOCOL_F_REPLY_ACK'] as const;
    await expect(network.connect(0, { queuePairs: 2, protocolFeatures })).rejects.toMatchObject({
      code: 'REFUSED',
      message: 'the backend serves 1 queue pairs, not 2',
    });
  });
});

describe('offloads', () => {
  const sender: VirtioFeatureName[] = [
    ...subset(0b01000),
    'VIRTIO_NET_F_CSUM',
    'VIRTIO_NET_F_HOST_TSO4',
  ];
  const taker: VirtioFeatureName[] = [
    ...subset(0b01000),
    'VIRTIO_NET_F_GUEST_CSUM',
    'VIRTIO_NET_F_GUEST_TSO4',
  ];
  /** Where the UDP or TCP header begins, and where its checksum is in it. */
  const tcp = { csumStart: 34, csumOffset: 16 };
  const payload = Uint8Array.from({ length: 5000 }, (_, i) => i & 0xff);
  const large = tcp4({ ...ends(0, 1), sourcePort: 1, targetPort: 2, flags: '.', payload });
  const header = {
    flags: VIRTIO_NET_HDR_F_NEEDS_CSUM,
    gsoType: VIRTIO_NET_HDR_GSO_TCPV4,
    gsoSize: 1000,
    hdrLen: 54,
    ...tcp,
  };

  test('a packet to be cut reaches a guest that takes it whole, with its header', async () => {
    const [a, b] = await connect({ features: sender }, { features: taker });
    await a.send(large, { header });
    const packet = await b.receivePacket();
    expect(packet.header).toMatchObject({ ...header, numBuffers: 3 });
    expect(parse(packet.frame).payload).toEqual(payload);
  });

  test('for others it is cut and its checksums are completed', async () => {
    const [a, b] = await connect({ features: sender }, { features: subset(0b01000) });
    await a.send(large, { header });
    for (let at = 0; at < payload.length; at += 1000) {
      const packet = await b.receivePacket();
      expect(packet.header).toMatchObject({ flags: 0, gsoType: 0 });
      assertFrame(packet.frame, {
        ip4: { checksumOk: true },
        tcp: { checksumOk: true, sequence: at },
        payload: payload.subarray(at, at + 1000),
      });
    }
  });

  test('a header may be given as bytes', async () => {
    const [a, b] = await connect({ features: sender }, { features: taker });
    const bytes = new Uint8Array(12);
    bytes[0] = VIRTIO_NET_HDR_F_NEEDS_CSUM;
    bytes[6] = tcp.csumStart;
    bytes[8] = tcp.csumOffset;
    await a.send(large.subarray(0, 54), { header: bytes });
    expect((await b.receivePacket()).header).toMatchObject({ flags: 1, ...tcp });
  });
});

describe('memory', () => {
  /** A frame sent from memory that the test has chosen. */
  async function sendFrom(guest: TestGuest, offset: number, frame: Uint8Array): Promise<void> {
    const ring = guest.raw.splitRing(1);
    guest.memory.bytes.fill(0, offset, offset + 12);
    guest.memory.bytes.set(frame, offset + 12);
    const address = guest.memory.guestAddress(offset);
    ring.writeDescriptor(0, { address, lengthBytes: 12 + frame.length, flags: 0, next: 0 });
    ring.setAvailEntry(ring.availIndex % ring.size, 0);
    ring.availIndex += 1;
    guest.raw.kick(1);
  }

  test.each([
    ['ADD_MEM_REG', undefined],
    ['SET_MEM_TABLE', ['VHOST_USER_PROTOCOL_F_REPLY_ACK'] as const],
  ])('is plugged and unplugged by %s while frames pass', async (_, protocol) => {
    const options = {
      memoryRegions: 4,
      pluggedRegions: 2,
      ...(protocol === undefined ? {} : { protocolFeatures: protocol }),
    };
    const [a, b] = await connect(options, {});
    await expectDelivery(a, b, [frameBetween(0, 1, 1)]);
    await a.plugMemory(3);
    expect(network.eventsOf('request-refused')).toEqual([]);
    await expectDelivery(b, a, [frameBetween(1, 0, 2)]);
    await a.plugMemory(2);
    const { mmapOffset } = a.memory.region(3);
    await sendFrom(a, Number(mmapOffset), frameBetween(0, 1, 3));
    assertFrame(await b.receive(), frameBetween(0, 1, 3));
    await a.unplugMemory(2);
    await expectDelivery(b, a, [frameBetween(1, 0, 4)]);
    await expect(a.unplugMemory(2)).rejects.toMatchObject({ code: 'BAD_OPTION' });
    await expect(a.plugMemory(3)).rejects.toMatchObject({ code: 'BAD_OPTION' });
    await expect(a.plugMemory(4)).rejects.toMatchObject({ code: 'BAD_OPTION' });
  });

  test('a frame from memory that was unplugged breaks the queue', async () => {
    const [a] = await connect({ memoryRegions: 2 }, {});
    await a.unplugMemory(1);
    await sendFrom(a, Number(a.memory.region(1).mmapOffset), frameBetween(0, 1, 1));
    expect((await network.event('ring-broken')).queue).toBe(1);
  });

  test('nothing is allocated in what is not plugged', async () => {
    const [a] = await connect({ memoryRegions: 2, pluggedRegions: 1 });
    const regionBytes = Number(a.memory.region(1).sizeBytes);
    const grab = () => a.memory.allocate(regionBytes, 64);
    expect(grab).toThrow(expect.objectContaining({ code: 'BAD_OPTION' }));
    await a.plugMemory(1);
    expect(grab()).toBeGreaterThan(0);
  });

  test('has more regions than a table holds, where the backend has slots', async () => {
    const [a, b] = await connect({ memoryRegions: 40 });
    await expectDelivery(a, b, [frameBetween(0, 1, 1, 9000)]);
    await a.close();
    const protocolFeatures = ['VHOST_USER_PROTOCOL_F_REPLY_ACK'] as const;
    await expect(network.connect(0, { memoryRegions: 9, protocolFeatures })).rejects.toMatchObject({
      code: 'BAD_OPTION',
      message: expect.stringContaining('a table holds 8'),
    });
  });
});

describe('reconnect()', () => {
  /** Both ports go and come back; nobody listens while `meanwhile` runs. */
  async function restart(
    guests: readonly TestGuest[],
    meanwhile: () => Promise<void> = async () => {},
  ): Promise<void> {
    const paths = network.vswitch.ports.map((_, i) => network.path(i));
    for (const port of [...network.vswitch.ports]) await network.vswitch.removePort(port);
    for (const guest of guests) await expect.poll(() => guest.frontend.end).toBeDefined();
    await meanwhile();
    for (const path of paths) network.vswitch.addPort({ path });
  }

  test.each([
    ['split', subset(0b11100)],
    ['packed', subset(0b11101)],
    ['packed, in order', subset(0b11111)],
  ])('goes on with the same %s rings at a restarted backend', async (_, features) => {
    const [a, b] = await connect({ features, queueSize: 32 });
    // The rings stand somewhere in the middle, beyond their first lap.
    for (let i = 0; i < 45; i++) await expectDelivery(a, b, [frameBetween(0, 1, i)]);
    await b.send(frameBetween(1, 0, 7));
    await b.flush();
    await restart([a, b]);
    await expect(a.send(frameBetween(0, 1, 1))).rejects.toMatchObject({ code: 'DISCONNECTED' });
    // Sent while nobody was there: the next backend finds it in the ring.
    const late = frameBetween(0, 1, 99);
    a.transmitq.add(late);
    a.transmitq.driver.publish();
    await b.reconnect();
    await a.reconnect();
    assertFrame(await b.receive(), late);
    assertFrame(await a.receive(), frameBetween(1, 0, 7));
    for (let i = 0; i < 45; i++) {
      await expectDelivery(a, b, [frameBetween(0, 1, i)]);
      await expectDelivery(b, a, [frameBetween(1, 0, i)]);
    }
  });

  test('a wait that was under way ends, and later ones work', async () => {
    const [a, b] = await connect({});
    const waiting = expect(a.receive()).rejects.toMatchObject({ code: 'DISCONNECTED' });
    await restart([a, b]);
    await waiting;
    await a.reconnect();
    await b.reconnect();
    await expectDelivery(b, a, [frameBetween(1, 0, 1)]);
  });

  test('of a guest that is still connected begins anew', async () => {
    const [a, b] = await connect({});
    await a.reconnect();
    await expectDelivery(a, b, [frameBetween(0, 1, 1)]);
  });

  test('gives up at its limit, and may be tried again', async () => {
    const [a, b] = await connect({});
    await restart([a, b], async () => {
      await expect(a.reconnect({ timeoutMs: 50 })).rejects.toMatchObject({ code: 'SYSTEM' });
    });
    await a.reconnect();
    await b.reconnect();
    await expectDelivery(a, b, [frameBetween(0, 1, 1)]);
    await a.close();
    await expect(a.reconnect()).rejects.toMatchObject({ code: 'CLOSED' });
  });
});
