/**
 * The control queue and the configuration space of a guest whose frontend hands both over, as
 * virtio 1.2 §5.1.4 and §5.1.6.5 want them.
 */

import { afterEach, describe, expect, test } from 'vitest';
import { native } from '../../src/native/addon.ts';
import {
  arp,
  controlCommands as commands,
  controlStatus,
  PackedRing,
  SplitRing,
  TestGuest,
  type TestGuestOptions,
  tcp4,
  VIRTIO_NET_HDR_F_NEEDS_CSUM,
  VIRTIO_NET_HDR_GSO_TCPV4,
  virtioFeatures,
} from '../../src/testing/index.ts';
import { SwitchNetwork } from '../support/network.ts';

const { ok, error } = controlStatus;
const own = '52:54:00:00:00:01';
const other = '52:54:00:00:00:02';
const closers: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function networkOf(ports: number): Promise<SwitchNetwork> {
  const network = SwitchNetwork.open(ports);
  closers.push(() => network.close());
  return network;
}

const defaults = (packed: boolean, extra = 0n) =>
  virtioFeatures.VIRTIO_F_VERSION_1 |
  virtioFeatures.VIRTIO_NET_F_MRG_RXBUF |
  virtioFeatures.VIRTIO_F_INDIRECT_DESC |
  virtioFeatures.VIRTIO_F_EVENT_IDX |
  virtioFeatures.VIRTIO_NET_F_STATUS |
  virtioFeatures.VIRTIO_NET_F_MTU |
  virtioFeatures.VIRTIO_NET_F_MAC |
  virtioFeatures.VIRTIO_NET_F_CTRL_VQ |
  virtioFeatures.VIRTIO_NET_F_CTRL_RX |
  virtioFeatures.VIRTIO_NET_F_CTRL_RX_EXTRA |
  virtioFeatures.VIRTIO_NET_F_CTRL_VLAN |
  virtioFeatures.VIRTIO_NET_F_CTRL_MAC_ADDR |
  virtioFeatures.VIRTIO_NET_F_GUEST_ANNOUNCE |
  (packed ? virtioFeatures.VIRTIO_F_RING_PACKED : 0n) |
  extra;

const multiqueue = virtioFeatures.VIRTIO_NET_F_MQ;
const offloads =
  virtioFeatures.VIRTIO_NET_F_GUEST_CSUM |
  virtioFeatures.VIRTIO_NET_F_GUEST_TSO4 |
  virtioFeatures.VIRTIO_NET_F_CTRL_GUEST_OFFLOADS;

const ownOffloads = virtioFeatures.VIRTIO_NET_F_CSUM | virtioFeatures.VIRTIO_NET_F_HOST_TSO4;
const guestOffloads = {
  GUEST_CSUM: virtioFeatures.VIRTIO_NET_F_GUEST_CSUM,
  GUEST_TSO4: virtioFeatures.VIRTIO_NET_F_GUEST_TSO4,
};

const headersBytes = 54;
/** To be cut into four segments, its checksum left to do. */
const longPacket = tcp4({
  from: other,
  to: 'ff:ff:ff:ff:ff:ff',
  source: '10.0.1.0',
  target: '10.0.0.1',
  sourcePort: 1,
  targetPort: 2,
  payload: new Uint8Array(3500),
});
const cutting = {
  flags: VIRTIO_NET_HDR_F_NEEDS_CSUM,
  gsoType: VIRTIO_NET_HDR_GSO_TCPV4,
  gsoSize: 1000,
  hdrLen: headersBytes,
  csumStart: 34,
  csumOffset: 16,
};

async function connected(
  path: string,
  options: Partial<TestGuestOptions> = {},
): Promise<TestGuest> {
  const guest = await TestGuest.connect({ path, controlQueue: true, ...options });
  closers.push(() => guest.close());
  return guest;
}

const layouts = [
  ['one descriptor each', {}],
  ['a descriptor a field', { pieces: [1, 1] }],
  ['an indirect table', { indirect: true }],
] as const;

describe.each([
  ['split', false],
  ['packed', true],
])('a control queue in a %s ring', (_, packed) => {
  test.each(layouts)('answers every command that was negotiated, with %s', async (_, layout) => {
    const network = await networkOf(1);
    const guest = await connected(network.path(0), {
      features: defaults(packed, multiqueue | offloads),
      queuePairs: 2,
    });
    const said = [
      commands.rxMode('promisc', true),
      commands.rxMode('nobcast', false),
      commands.macTable([own, other], ['33:33:00:00:00:01']),
      commands.macTable([], []),
      commands.mac('02:00:00:00:00:07'),
      commands.addVlan(4095),
      commands.deleteVlan(4095),
      commands.announced(),
      commands.queuePairs(8),
      commands.guestOffloads(virtioFeatures.VIRTIO_NET_F_GUEST_CSUM),
    ];
    for (const command of said) expect(await guest.control(command, layout)).toBe(ok);
    expect((await guest.config()).mac).toBe('02:00:00:00:00:07');
  });

  test('refuses what it cannot mean, and goes on', async () => {
    const network = await networkOf(1);
    const guest = await connected(network.path(0), {
      features: defaults(packed, multiqueue | offloads),
      queuePairs: 2,
    });
    const refused = [
      { class: 6, command: 0 },
      { class: 0, command: 6, data: Uint8Array.of(1) },
      { class: 0, command: 0 },
      { class: 0, command: 0, data: Uint8Array.of(2) },
      { class: 1, command: 0, data: Uint8Array.of(2, 0, 0, 0, 1, 2, 3, 4, 5, 6) },
      { class: 1, command: 0, data: new Uint8Array(8).fill(0xff) },
      { class: 1, command: 0, data: new Uint8Array(20_000) },
      { class: 1, command: 2, data: new Uint8Array(6) },
      commands.mac('00:00:00:00:00:00'),
      commands.mac('01:00:00:00:00:01'),
      { class: 1, command: 1, data: new Uint8Array(7).fill(2) },
      commands.addVlan(4096),
      { class: 2, command: 2, data: new Uint8Array(2) },
      { class: 3, command: 0, data: new Uint8Array(1) },
      commands.queuePairs(0),
      commands.queuePairs(9),
      { class: 4, command: 1, data: Uint8Array.of(1, 0) },
      { class: 4, command: 0, data: Uint8Array.of(1) },
      commands.guestOffloads(virtioFeatures.VIRTIO_NET_F_GUEST_UFO),
    ];
    for (const command of refused) expect(await guest.control(command), `${command}`).toBe(error);
    expect(await guest.control(commands.queuePairs(2))).toBe(ok);
  });

  test('VQ_PAIRS_SET: frames go to so many receiveqs, one without a command', async () => {
    const network = await networkOf(2);
    const guest = await connected(network.path(0), {
      features: defaults(packed, multiqueue),
      queuePairs: 4,
    });
    const sender = await network.connect(1);
    const pairsUsed = async () => {
      const flows = Array.from({ length: 64 }, (_, flow) =>
        arp({
          senderMac: `52:54:00:00:01:${flow.toString(16).padStart(2, '0')}`,
          senderIp: `10.0.1.${flow}`,
          targetIp: '10.0.0.1',
        }),
      );
      await sender.sendAll(flows);
      const pairs = new Set<number>();
      for (let left = flows.length; left > 0; left--) {
        pairs.add((await guest.receivePacket()).queuePair);
      }
      return [...pairs].sort();
    };
    expect(await pairsUsed()).toEqual([0]);
    expect(await guest.control(commands.queuePairs(2))).toBe(ok);
    expect(await pairsUsed()).toEqual([0, 1]);
    expect(await guest.control(commands.queuePairs(1))).toBe(ok);
    expect(await pairsUsed()).toEqual([0]);
    // A driver that goes down to fewer pairs has frames in the transmitqs of the others.
    for (const queuePair of [0, 1, 2, 3]) {
      const senderIp = `10.0.0.${queuePair}`;
      await guest.send(arp({ senderMac: own, senderIp, targetIp: '10.0.1.0' }), { queuePair });
      await sender.expect({ arp: { senderIp } });
    }
    await guest.flush();
  });

  test('GUEST_OFFLOADS_SET: a packet is cut from now on, and whole again once wanted', async () => {
    const network = await networkOf(2);
    const guest = await connected(network.path(0), { features: defaults(packed, offloads) });
    const sender = await network.connect(1, { features: defaults(packed, ownOffloads) });
    const received = async () => {
      await sender.send(longPacket, { header: cutting });
      await sender.flush();
      return guest.receiveAll();
    };
    const { GUEST_CSUM, GUEST_TSO4 } = guestOffloads;
    const [whole] = await received();
    expect(whole!.header).toMatchObject({ gsoType: VIRTIO_NET_HDR_GSO_TCPV4, gsoSize: 1000 });
    expect(whole!.frame).toHaveLength(longPacket.length);
    for (const left of [GUEST_CSUM, 0n]) {
      expect(await guest.control(commands.guestOffloads(left))).toBe(ok);
      const segments = await received();
      expect(segments.map(({ header, frame }) => [header.gsoType, frame.length])).toEqual([
        [0, headersBytes + 1000],
        [0, headersBytes + 1000],
        [0, headersBytes + 1000],
        [0, headersBytes + 500],
      ]);
    }
    expect(await guest.control(commands.guestOffloads(GUEST_CSUM | GUEST_TSO4))).toBe(ok);
    expect((await received()).map(({ frame }) => frame.length)).toEqual([longPacket.length]);
  });

  test('a ring that is disabled is left alone: its driver has gone, and its memory', async () => {
    const network = await networkOf(1);
    const guest = await connected(network.path(0), { features: defaults(packed) });
    for (const queue of [2, 1, 0]) await guest.frontend.enableRing(queue, false);
    expect(network.port(0).status.frontend?.rings).toEqual([]);
  });

  test('another driver, whose rings begin anew, has one queue pair and all offloads', async () => {
    const network = await networkOf(2);
    const guest = await connected(network.path(0), {
      features: defaults(packed, multiqueue | offloads),
      queuePairs: 2,
    });
    const sender = await network.connect(1, { features: defaults(packed, ownOffloads) });
    expect(await guest.control(commands.queuePairs(2))).toBe(ok);
    expect(await guest.control(commands.guestOffloads(0n))).toBe(ok);
    const ring = packed ? new PackedRing(guest.memory, 256) : new SplitRing(guest.memory, 256);
    const fds = [native().eventfdCreate(), native().eventfdCreate()] as const;
    closers.push(() => {
      for (const fd of fds) native().closeFd(fd);
    });
    const { addresses, size } = ring;
    // virtio_uml gives 0 for packed rings, too.
    const start = { size, base: 0, addresses, callFd: fds[0], kickFd: fds[1] };
    await guest.frontend.startRing(guest.raw.controlQueue!, start);
    for (let flow = 0; flow < 16; flow++) {
      const senderMac = `52:54:00:00:02:${flow.toString(16).padStart(2, '0')}`;
      await sender.send(arp({ senderMac, senderIp: `10.0.1.${flow}`, targetIp: '10.0.0.1' }));
      expect((await guest.receivePacket()).queuePair).toBe(0);
    }
    await sender.send(longPacket, { header: cutting });
    expect((await guest.receivePacket()).frame).toHaveLength(longPacket.length);
  });
});

describe('the configuration space', () => {
  test('has the address and the MTU that the operator gave, and asks for no more pairs', async () => {
    const network = await networkOf(0);
    network.addPort({ mtu: 1400, source: { macs: [own, other] } });
    const guest = await connected(network.path(0), {
      features: defaults(false, multiqueue),
      queuePairs: 2,
    });
    expect(await guest.config()).toEqual({
      mac: own,
      linkUp: true,
      announce: false,
      queuePairsMax: 8,
      mtu: 1400,
    });
    expect(guest.has('VIRTIO_NET_F_MAC')).toBe(true);
    expect(guest.raw.controlQueue).toBe(16);
    expect(await guest.control(commands.mac('52:54:00:00:00:03'))).toBe(error);
    expect(await guest.control(commands.mac(other))).toBe(ok);
    expect((await guest.config()).mac).toBe(other);
  });

  test('without an address from the operator there is none, and none is offered', async () => {
    const network = await networkOf(1);
    const guest = await connected(network.path(0));
    expect(guest.has('VIRTIO_NET_F_MAC')).toBe(false);
    expect(await guest.config()).toMatchObject({ mac: '00:00:00:00:00:00', mtu: 1500 });
    expect(guest.raw.controlQueue).toBe(2);
    expect(await guest.control(commands.rxMode('allmulti', true))).toBe(ok);
  });
});
