/**
 * What a guest can do on its control queue, in both formats: chains that are none, a status that
 * nobody can write, kicks without commands and commands without end. Each costs that queue at most;
 * frames go on, the guest's own and everybody else's.
 */

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  arp,
  controlCommands as commands,
  controlStatus,
  type TestGuest,
  VIRTQ_DESC_F_WRITE,
} from '../../src/testing/index.ts';
import { SwitchNetwork } from '../support/network.ts';
import { commitControl, controlFeatures, controlViolationsIn } from './attacks/control-queues.ts';
import { featuresOf, formats, RawQueue } from './raw-queue.ts';

let network: SwitchNetwork;
let guest: TestGuest;
let others: TestGuest[];

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

describe.each(formats)('the control queue of a %s guest', (format) => {
  beforeEach(async () => {
    network = SwitchNetwork.open(3);
    const features = featuresOf(format) | controlFeatures;
    guest = await network.connect(0, { features, controlQueue: true });
    others = [await network.connect(1), await network.connect(2)];
  });
  afterEach(() => network.close());

  test.each(controlViolationsIn(format))(
    '$name breaks it alone, with one sentence',
    async (violation) => {
      commitControl(guest, violation);
      const broken = await network.event('ring-broken');
      expect(broken).toMatchObject({ queue: guest.raw.controlQueue, reason: violation.reason });
      guest.raw.kick(guest.raw.controlQueue!);
      await expectHealthy();
      expect(network.eventsOf('ring-broken')).toHaveLength(1);
    },
  );

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
    const ring = new RawQueue(guest, guest.raw.controlQueue!);
    ring.offer([
      { address: guest.memory.guestAddress(at), lengthBytes: 1, flags: VIRTQ_DESC_F_WRITE },
    ]);
    ring.kick();
    await expect.poll(() => guest.memory.bytes[at]).toBe(controlStatus.error);
    expect(network.eventsOf('ring-broken')).toEqual([]);
  });
});
