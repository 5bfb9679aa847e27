/**
 * Class 28: control queues, which only few frontends hand over. Chains that are no command, each of
 * which costs the guest its control queue, and commands that cost nothing: kicks without one, and
 * one behind the other.
 */

import { controlCommands, type TestGuest } from '../../../src/testing/index.ts';
import {
  VIRTQ_DESC_F_INDIRECT as INDIRECT,
  VIRTQ_DESC_F_NEXT as NEXT,
  VIRTQ_DESC_F_WRITE as WRITE,
} from '../../../src/testing/split-ring.ts';
import { protocolFeatures, virtioFeatures } from '../../../src/vhost-user/features.ts';
import { NotOffered } from '../outcome.ts';
import { chained, type Format, featuresOf, formats, type Link, RawQueue } from '../raw-queue.ts';
import type { Stage } from '../stage.ts';
import type { Attack } from './attack.ts';

const controlClass = 28;
const outside = 1n << 40n;
const noStatus = 'a control command has no byte that its status can be written to';
const unmapped = 'a descriptor points outside guest memory';
const stormCommands = 400;

/** What a control queue needs, beside what its format does. */
export const controlFeatures =
  virtioFeatures.VIRTIO_NET_F_CTRL_VQ |
  virtioFeatures.VIRTIO_NET_F_CTRL_RX |
  virtioFeatures.VIRTIO_NET_F_MQ;

/** A chain that breaks the queue. */
export interface ControlCrime {
  readonly name: string;
  readonly reason: string;
  /** Both unless given. */
  readonly only?: Format;
  readonly chain: (ring: RawQueue) => readonly Link[];
}

/** RX mode "promiscuous", on. */
const command = (ring: RawQueue) => ring.buffer(Uint8Array.of(0, 0, 1));
const status = (ring: RawQueue) => ring.buffer(1, WRITE);

const controlCrimes: readonly ControlCrime[] = [
  {
    name: 'a command without a status',
    reason: noStatus,
    chain: (ring) => [command(ring)],
  },
  {
    name: 'a status that nobody can write to',
    reason: noStatus,
    chain: (ring) => chained([command(ring), { ...status(ring), flags: 0 }]),
  },
  {
    name: 'a status of no bytes',
    reason: noStatus,
    chain: (ring) => chained([command(ring), { ...status(ring), lengthBytes: 0 }]),
  },
  {
    name: 'a command behind its status',
    reason: 'a control command has a readable descriptor behind a writable one',
    chain: (ring) => chained([status(ring), command(ring)]),
  },
  {
    name: 'a command outside guest memory',
    reason: unmapped,
    chain: (ring) => chained([{ ...command(ring), address: outside }, status(ring)]),
  },
  {
    name: 'a command of 4 GiB that begins at the last byte',
    reason: unmapped,
    chain: (ring) => {
      const { memory } = ring.guest;
      const address = memory.guestAddress(memory.bytes.length - 1);
      return chained([{ address, lengthBytes: 0xffff_ffff }, status(ring)]);
    },
  },
  {
    name: 'a status outside guest memory',
    reason: unmapped,
    chain: (ring) => chained([command(ring), { ...status(ring), address: outside }]),
  },
  {
    name: 'a chain without end',
    reason: 'a descriptor chain is a loop or longer than the queue size',
    only: 'split',
    chain: (ring) => [{ ...command(ring), flags: NEXT, next: 0 }],
  },
  {
    name: 'an indirect table of an odd size',
    reason: 'an indirect table is empty, of odd size or longer than the queue size',
    chain: (ring) => {
      const table = ring.table(chained([command(ring), status(ring)]));
      const address = ring.guest.memory.guestAddress(table);
      return [{ address, lengthBytes: 31, flags: INDIRECT }];
    },
  },
];

/** Those that a queue of this format can commit. */
export function controlViolationsIn(format: Format): ControlCrime[] {
  return controlCrimes.filter(({ only = format }) => only === format);
}

/** Offers the chain in a control queue that nobody has used, and asks for attention twice. */
export function commitControl(guest: TestGuest, { chain }: ControlCrime): void {
  const ring = new RawQueue(guest, guest.raw.controlQueue!);
  ring.offer(chain(ring));
  for (let i = 0; i < 2; i++) ring.kick();
}

/** A guest whose frames arrive and whose control queue this backend serves. */
async function controller(stage: Stage, format: Format): Promise<TestGuest> {
  const guest = await stage.attacker(format, {
    features: featuresOf(format) | controlFeatures,
    protocolFeatures:
      protocolFeatures.VHOST_USER_PROTOCOL_F_REPLY_ACK |
      protocolFeatures.VHOST_USER_PROTOCOL_F_CONFIG,
    controlQueue: true,
  });
  await stage.hear(guest);
  return guest;
}

/** Whether it has a control queue is known once a guest has asked. */
async function requireOffer(stage: Stage): Promise<void> {
  const frontend = await stage.dial();
  const { VHOST_USER_PROTOCOL_F_CONFIG } = protocolFeatures;
  const agreed = await frontend.negotiate(controlFeatures, VHOST_USER_PROTOCOL_F_CONFIG);
  const isOffered =
    (agreed & controlFeatures) === controlFeatures && frontend.speaks(VHOST_USER_PROTOCOL_F_CONFIG);
  frontend.close();
  if (!isOffered) throw new NotOffered();
}

const attack = (
  format: Format,
  name: string,
  strike: (guest: TestGuest) => Promise<void>,
): Attack => ({
  class: controlClass,
  format,
  name,
  strike: async (stage) => {
    await requireOffer(stage);
    await strike(await controller(stage, format));
    await stage.goOn(2);
  },
});

export const hostileControls: readonly Attack[] = formats.flatMap((format) => [
  ...controlViolationsIn(format).map((violation) =>
    attack(format, violation.name, async (guest) => commitControl(guest, violation)),
  ),
  attack(format, 'kicks without a command', async (guest) => {
    for (let i = 0; i < stormCommands; i++) guest.raw.kick(guest.raw.controlQueue!);
  }),
  attack(
    format,
    'commands one behind the other that each change the queue pairs',
    async (guest) => {
      for (let i = 0; i < stormCommands; i++)
        await guest.control(controlCommands.queuePairs(1 + (i % 8)));
    },
  ),
]);
