/**
 * What a guest can do on its control queue, in both formats: chains that are none, a status that nobody can
 * write, kicks without commands and commands without end. Each costs that queue at most; frames go on, the
 * guest's own and everybody else's.
 */

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  arp,
  controlCommands as commands,
  controlStatus,
  type TestGuest,
  VIRTQ_DESC_F_AVAIL,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  virtioFeatures,
} from '../../src/testing/index.ts';
import { SwitchNetwork } from '../support/network.ts';

let network: SwitchNetwork;
let guest: TestGuest;
let others: TestGuest[];

const features =
  virtioFeatures.VIRTIO_F_VERSION_1 |
  virtioFeatures.VIRTIO_NET_F_CTRL_VQ |
  virtioFeatures.VIRTIO_NET_F_CTRL_RX |
  virtioFeatures.VIRTIO_NET_F_MQ;

interface Descriptor {
  readonly at: number;
  readonly bytes: number;
  readonly flags: number;
  /** In a split ring; the one behind it unless given. */
  readonly next?: number;
}

/** Offers a chain from the start of a ring that nobody has used, and kicks. */
function offer(chain: readonly Descriptor[]): void {
  const queue = guest.raw.controlQueue!;
  if (guest.has('VIRTIO_F_RING_PACKED')) {
    const ring = guest.raw.packedRing(queue);
    for (const [i, { at, bytes }] of chain.entries()) ring.describe(i, at, bytes, 0);
    for (const [i, { flags }] of [...chain.entries()].reverse()) {
      ring.setFlags(i, flags | VIRTQ_DESC_F_AVAIL);
    }
  } else {
    const ring = guest.raw.splitRing(queue);
    for (const [i, { at, bytes, flags, next }] of chain.entries()) {
      ring.describe(i, at, bytes, flags, next ?? i + 1);
    }
    ring.setAvailEntry(0, 0);
    ring.availIndex = 1;
  }
  guest.raw.kick(queue);
}

/** Frames pass among the others, and to and from the guest. */
async function expectHealthy(): Promise<void> {
  const all = [guest, ...others];
  for (const [i, from] of all.entries()) {
    const to = all[(i + 1) % all.length]!;
    const senderMac = `52:54:00:00:00:0${i}`;
    await from.send(arp({ senderMac, senderIp: `10.0.0.${i}`, targetIp: '10.0.0.9' }));
    await to.expect({ arp: { senderIp: `10.0.0.${i}` } });
  }
}

const outside = 2 ** 40;

describe.each([
  ['split', 0n],
  ['packed', virtioFeatures.VIRTIO_F_RING_PACKED],
])('the control queue of a %s guest', (format, bit) => {
  beforeEach(async () => {
    network = SwitchNetwork.open(3);
    guest = await network.connect(0, { features: features | bit, controlQueue: true });
    others = [await network.connect(1), await network.connect(2)];
  });
  afterEach(() => network.close());

  const status = { at: 4096, bytes: 1, flags: VIRTQ_DESC_F_WRITE };
  const command = { at: 8192, bytes: 3, flags: VIRTQ_DESC_F_NEXT };
  const crimes: [string, readonly Descriptor[], string][] = [
    [
      'a status that nobody can write to',
      [{ ...command, flags: 0 }],
      'a control command has no byte that its status can be written to',
    ],
    [
      'a status of no bytes',
      [command, { ...status, bytes: 0 }],
      'a control command has no byte that its status can be written to',
    ],
    [
      'a command behind its status',
      [
        { ...status, flags: VIRTQ_DESC_F_WRITE | VIRTQ_DESC_F_NEXT },
        { ...command, flags: 0 },
      ],
      'a control command has a readable descriptor behind a writable one',
    ],
    [
      'a command outside guest memory',
      [{ ...command, at: outside }, status],
      'a descriptor points outside guest memory',
    ],
    [
      'a status outside guest memory',
      [command, { ...status, at: outside }],
      'a descriptor points outside guest memory',
    ],
    ...(format === 'split'
      ? ([
          [
            'a chain without end',
            [{ ...command, next: 0 }],
            'a descriptor chain is a loop or longer than the queue size',
          ],
        ] as [string, readonly Descriptor[], string][])
      : []),
  ];

  test.each(crimes)('%s breaks it alone, with one sentence', async (_, chain, reason) => {
    offer(chain);
    const broken = await network.event('ring-broken');
    expect(broken).toMatchObject({ queue: guest.raw.controlQueue, reason });
    guest.raw.kick(guest.raw.controlQueue!);
    await expectHealthy();
    expect(network.eventsOf('ring-broken')).toHaveLength(1);
  });

  test('kicked and never filled it costs nobody anything', async () => {
    for (let i = 0; i < 500; i++) {
      guest.raw.kick(guest.raw.controlQueue!);
      if (i % 50 === 0) await expectHealthy();
    }
    expect(await guest.control(commands.rxMode('promisc', true))).toBe(controlStatus.ok);
  });

  test('commands without end are all answered, and take nobody their frames', async () => {
    for (let i = 0; i < 400; i++) {
      expect(await guest.control(commands.queuePairs(1 + (i % 8)))).toBe(controlStatus.ok);
      if (i % 50 === 0) await expectHealthy();
    }
    expect(await guest.control(commands.queuePairs(1))).toBe(controlStatus.ok);
    await expectHealthy();
  });

  test('a status without a command is an error, and the queue goes on', async () => {
    const at = guest.memory.allocate(1, 1);
    guest.memory.bytes[at] = 0xff;
    offer([{ at, bytes: 1, flags: VIRTQ_DESC_F_WRITE }]);
    await expect.poll(() => guest.memory.bytes[at]).toBe(controlStatus.error);
    expect(network.eventsOf('ring-broken')).toEqual([]);
  });
});
