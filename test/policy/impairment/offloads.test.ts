/**
 * Impaired links between guests with offloads: what travels is cut and complete, so that losses,
 * rates and MTUs meet packets as a wire would carry them.
 */

import { afterEach, expect, test } from 'vitest';
import {
  assertFrame,
  parse,
  type TestGuest,
  tcp4,
  udp6,
  VIRTIO_NET_HDR_F_NEEDS_CSUM,
  VIRTIO_NET_HDR_GSO_TCPV4,
  VIRTIO_NET_HDR_GSO_UDP,
} from '../../../src/testing/index.ts';
import { macOf } from '../../support/ethernet.ts';
import { announce, dropsOf, SwitchNetwork } from '../../support/network.ts';

let network: SwitchNetwork;

afterEach(() => network.close());

const payload = Uint8Array.from({ length: 5000 }, (_, i) => i & 0xff);
const segmentBytes = 1000;
const header = {
  flags: VIRTIO_NET_HDR_F_NEEDS_CSUM,
  gsoType: VIRTIO_NET_HDR_GSO_TCPV4,
  gsoSize: segmentBytes,
  hdrLen: 54,
  csumStart: 34,
  csumOffset: 16,
};
const large = tcp4({
  ...{ from: macOf(0), to: macOf(1), source: '10.0.0.1', target: '10.0.0.2' },
  ...{ sourcePort: 1, targetPort: 2, flags: '.', payload },
});

/** Two guests that give and take TCP packets of any size, and know each other. */
async function connect(): Promise<[TestGuest, TestGuest]> {
  network = SwitchNetwork.open(2);
  const features = [
    ...['VIRTIO_F_VERSION_1', 'VIRTIO_NET_F_MRG_RXBUF', 'VIRTIO_NET_F_CSUM'],
    ...['VIRTIO_NET_F_HOST_TSO4', 'VIRTIO_NET_F_GUEST_CSUM', 'VIRTIO_NET_F_GUEST_TSO4'],
  ] as const;
  const guests = (await network.connectAll({ features })) as [TestGuest, TestGuest];
  await announce(0, guests);
  await announce(1, guests);
  return guests;
}

test.each(['fromGuest', 'toGuest'] as const)(
  'a packet that passes whole otherwise is cut and completed on a link %s',
  async (direction) => {
    const [a, b] = await connect();
    await a.send(large, { header });
    expect((await b.receive()).length).toBe(large.length);
    const port = network.port(direction === 'fromGuest' ? 0 : 1);
    network.vswitch.impair({ port, direction }, { delayMs: 1 });
    await a.send(large, { header });
    for (let at = 0; at < payload.length; at += segmentBytes) {
      assertFrame(await b.receive(), {
        ip4: { checksumOk: true },
        tcp: { checksumOk: true, sequence: at },
        payload: payload.subarray(at, at + segmentBytes),
      });
    }
    expect(port.counters.impaired.held).toBe(5);
  },
);

test('an MTU is held against the packets that travel, not against the one they were cut from', async () => {
  const [a, b] = await connect();
  network.vswitch.impair({ from: 'p0', to: 'p1' }, { mtuBytes: 40 + segmentBytes });
  await a.send(large, { header });
  for (let at = 0; at < payload.length; at += segmentBytes) {
    expect(parse(await b.receive()).tcp?.sequence).toBe(at);
  }
  network.vswitch.impair({ from: 'p0', to: 'p1' }, { mtuBytes: 39 + segmentBytes });
  await a.send(large, { header });
  await a.flush();
  expect(dropsOf(network.port(1).counters)).toEqual({ overMtu: 5 });
});

test('with a manual clock and the same seed, fragments are the same to the bit', async () => {
  const datagram = udp6({
    ...{ from: macOf(0), to: macOf(1), source: 'fd00::1', target: 'fd00::2' },
    ...{ sourcePort: 1, targetPort: 2, payload },
  });
  const wanted = {
    flags: VIRTIO_NET_HDR_F_NEEDS_CSUM,
    gsoType: VIRTIO_NET_HDR_GSO_UDP,
    gsoSize: segmentBytes,
    ...{ hdrLen: 62, csumStart: 54, csumOffset: 6 },
  };
  const features = ['VIRTIO_F_VERSION_1', 'VIRTIO_NET_F_CSUM', 'VIRTIO_NET_F_HOST_UFO'] as const;
  const fragmentsOf = async (seed: number) => {
    network = SwitchNetwork.open(2, { clock: 'manual', seed });
    const [a, b] = (await network.connectAll({ features })) as [TestGuest, TestGuest];
    for (let i = 0; i < 2; i++) await a.send(datagram, { header: wanted });
    network.vswitch.step();
    const fragments: string[] = [];
    while (fragments.length < 12) {
      fragments.push(Buffer.from(await b.receive()).toString('hex'));
    }
    await network.close();
    return fragments;
  };
  const fragments = await fragmentsOf(5);
  expect(await fragmentsOf(5)).toEqual(fragments);
  expect(await fragmentsOf(6)).not.toEqual(fragments);
});
