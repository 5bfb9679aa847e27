/**
 * A guest that was told of its MTU is given no longer packet, whatever others send:
 * VIRTIO_NET_F_MTU, VHOST_USER_NET_SET_MTU.
 */

import { afterEach, expect, test } from 'vitest';
import { type TestGuest, tcp4 } from '../../src/testing/index.ts';
import {
  VIRTIO_NET_HDR_F_NEEDS_CSUM,
  VIRTIO_NET_HDR_GSO_TCPV4,
} from '../../src/testing/net-header.ts';
import { protocolFeatures, virtioFeatures } from '../../src/vhost-user/features.ts';
import { u64Layout } from '../../src/vhost-user/message.ts';
import { frameBetween, macOf } from '../support/ethernet.ts';
import {
  announce,
  deliveredTo,
  dropsOf,
  expectDelivery,
  SwitchNetwork,
} from '../support/network.ts';

const {
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_MRG_RXBUF,
  VIRTIO_NET_F_MTU,
  VIRTIO_NET_F_CSUM,
  VIRTIO_NET_F_HOST_TSO4,
} = virtioFeatures;
const { VHOST_USER_PROTOCOL_F_REPLY_ACK, VHOST_USER_PROTOCOL_F_MTU } = protocolFeatures;
const mtuBytes = 1500;
const ethernetBytes = 14;
const tagBytes = 4;

let network: SwitchNetwork;

afterEach(() => network.close());

/** A sender on port 0 and a guest on port 1 that was told of its MTU. */
async function connect(told: bigint = VIRTIO_NET_F_MTU): Promise<[TestGuest, TestGuest]> {
  network = SwitchNetwork.open(2);
  const sender = await network.connect(0, {
    features: VIRTIO_F_VERSION_1 | VIRTIO_NET_F_CSUM | VIRTIO_NET_F_HOST_TSO4,
  });
  const limited = await network.connect(1, {
    features: VIRTIO_F_VERSION_1 | VIRTIO_NET_F_MRG_RXBUF | told,
    protocolFeatures: VHOST_USER_PROTOCOL_F_REPLY_ACK | VHOST_USER_PROTOCOL_F_MTU,
  });
  await setMtu(limited, mtuBytes);
  await announce(1, [sender, limited]);
  return [sender, limited];
}

async function setMtu(guest: TestGuest, bytes: number): Promise<void> {
  await guest.frontend.tell('NET_SET_MTU', u64Layout, BigInt(bytes));
}

async function dropsAfter(sender: TestGuest, frame: Uint8Array): Promise<object> {
  await sender.send(frame);
  await sender.flush();
  return dropsOf(network.port(1).counters);
}

function tagged(frame: Uint8Array): Uint8Array {
  return Uint8Array.from([...frame.subarray(0, 12), 0x81, 0, 0, 7, ...frame.subarray(12)]);
}

test('a packet of the MTU arrives, one byte more does not', async () => {
  const [sender, limited] = await connect();
  await expectDelivery(sender, limited, [frameBetween(0, 1, 1, ethernetBytes + mtuBytes)]);
  const delivered = deliveredTo(limited);
  const longer = frameBetween(0, 1, 2, ethernetBytes + mtuBytes + 1);
  expect(await dropsAfter(sender, longer)).toEqual({ overMtu: 1 });
  expect(deliveredTo(limited)).toBe(delivered);
});

test('a VLAN tag does not count', async () => {
  const [sender, limited] = await connect();
  const frame = tagged(frameBetween(0, 1, 1, ethernetBytes + mtuBytes));
  await expectDelivery(sender, limited, [frame]);
  const longer = tagged(frameBetween(0, 1, 2, ethernetBytes + mtuBytes + 1));
  expect(longer).toHaveLength(ethernetBytes + tagBytes + mtuBytes + 1);
  expect(await dropsAfter(sender, longer)).toEqual({ overMtu: 1 });
});

test('the MTU can change while frames move', async () => {
  const [sender, limited] = await connect();
  await setMtu(limited, 9000);
  await expectDelivery(sender, limited, [frameBetween(0, 1, 1, ethernetBytes + 9000)]);
});

test.each([
  { segmentBytes: 1460, expected: {} },
  { segmentBytes: 1461, expected: { overMtu: 1 } },
])(
  'segments of $segmentBytes B of payload, of a packet that is cut',
  async ({ segmentBytes, expected }) => {
    const [sender, limited] = await connect();
    const headersBytes = ethernetBytes + 40;
    const frame = tcp4({
      ...{ from: macOf(0), to: macOf(1), source: '10.0.0.1', target: '10.0.0.2' },
      ...{ sourcePort: 1, targetPort: 2, payload: new Uint8Array(4 * segmentBytes) },
    });
    const delivered = deliveredTo(limited);
    await sender.send(frame, {
      header: {
        ...{ flags: VIRTIO_NET_HDR_F_NEEDS_CSUM, csumStart: ethernetBytes + 20, csumOffset: 16 },
        ...{ gsoType: VIRTIO_NET_HDR_GSO_TCPV4, gsoSize: segmentBytes, hdrLen: headersBytes },
      },
    });
    await sender.flush();
    expect(dropsOf(network.port(1).counters)).toEqual(expected);
    expect(deliveredTo(limited) - delivered).toBe('overMtu' in expected ? 0 : 4);
  },
);

test('a guest that did not agree on the feature is given every length', async () => {
  const [sender, limited] = await connect(0n);
  await expectDelivery(sender, limited, [frameBetween(0, 1, 1, ethernetBytes + 9000)]);
});
