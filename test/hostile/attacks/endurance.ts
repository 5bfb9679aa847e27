/**
 * Guests that wear the switch out: classes 20, 22, 23 and 24. They are slow, loud or many, and none
 * of it is forbidden.
 */

import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { native } from '../../../src/native/addon.ts';
import type { TestGuest } from '../../../src/testing/index.ts';
import { VIRTQ_DESC_F_AVAIL } from '../../../src/testing/packed-ring.ts';
import { writeDescriptorAt } from '../../../src/testing/split-ring.ts';
import { protocolFeatures, virtioFeatures } from '../../../src/vhost-user/features.ts';
import { u64Layout, vringFdLayout } from '../../../src/vhost-user/message.ts';
import { ethernetFrame, macOf } from '../../support/ethernet.ts';
import {
  type Format,
  featuresOf,
  formats,
  packet,
  RawQueue,
  receiveq,
  transmitq,
} from '../raw-queue.ts';
import { attackerNumber, fromAttacker, peerNumber, type Stage, toAttacker } from '../stage.ts';
import type { Attack } from './attack.ts';

export interface Ordeal {
  readonly class: number;
  readonly name: string;
  readonly strike: (stage: Stage, format: Format) => Promise<void>;
}

export const framesNeverTaken = 2000;
export const addresses = 10_000;
const connections = 100;
const burstFrames = 100;
/** More than a ring of the attacker takes up, from its descriptors on. */
const ringBytes = 1024;
const kicksPerBurst = 1000;

function patientGuest(stage: Stage, format: Format, receiveBuffers: number): Promise<TestGuest> {
  const features = featuresOf(format) | virtioFeatures.VIRTIO_F_EVENT_IDX;
  return stage.attacker(format, { features, receiveBuffers });
}

/** Asks for a call as soon as a frame was used, or at any other time. */
function setEvent({ raw }: TestGuest, format: Format, value: number, flags: number): void {
  if (format === 'split') raw.splitRing(transmitq).usedEvent = value;
  else raw.packedRing(transmitq).driverEvent = { offWrap: value, flags };
}

const neverTakesFrames: Ordeal = {
  class: 20,
  name: 'a guest that never takes a frame',
  async strike(stage, format) {
    await stage.hear(await patientGuest(stage, format, 0));
    for (let sent = 0; sent < framesNeverTaken; sent += burstFrames) {
      await stage.peer.sendAll(Array.from({ length: burstFrames }, () => toAttacker()));
      await stage.goOn();
    }
    await stage.peer.flush();
  },
};

const oneBuffer: Ordeal = {
  class: 20,
  name: 'a guest that takes one frame at a time',
  async strike(stage, format) {
    const guest = await patientGuest(stage, format, 1);
    await stage.hear(guest);
    for (let i = 0; i < 10; i++) {
      await stage.peer.sendAll(Array.from({ length: burstFrames }, () => toAttacker()));
      await stage.goOn();
      await guest.receiveAll();
    }
    await stage.reach(guest);
  },
};

const ringElsewhere: Ordeal = {
  class: 20,
  name: 'a ring that comes back after a reset, at another address',
  async strike(stage, format) {
    const guest = await patientGuest(stage, format, 8);
    await stage.hear(guest);
    const { frontend, memory } = guest;
    const { size, addresses } = guest.transmitq.driver;
    const first = addresses.desc;
    for (const queue of [receiveq, transmitq]) await frontend.stopRing(queue);
    if (frontend.speaks(protocolFeatures.VHOST_USER_PROTOCOL_F_STATUS)) {
      await frontend.tell('SET_STATUS', u64Layout, 0n);
      await frontend.tell('SET_FEATURES', u64Layout, guest.features);
    }
    // Whoever still looks at the old place finds a ring that is broken in every way.
    const old = Number(first - memory.userAddress(0));
    memory.bytes.fill(0xff, old, old + ringBytes);
    const place = memory.allocateWhole(ringBytes, 4096);
    const moved = (at: bigint) => at - first + memory.userAddress(place);
    const callFd = native().eventfdCreate();
    const kickFd = native().eventfdCreate();
    try {
      await frontend.startRing(transmitq, {
        size,
        base: format === 'split' ? 0 : 0x8000_8000,
        addresses: {
          desc: moved(addresses.desc),
          avail: moved(addresses.avail),
          used: moved(addresses.used),
        },
        callFd,
        kickFd,
      });
      await frontend.enableRing(transmitq, true);
      const offsetOf = (at: bigint) => Number(at - first) + place;
      const descriptor = offsetOf(addresses.desc);
      const { address, lengthBytes } = new RawQueue(guest, transmitq).buffer(
        packet(fromAttacker(7)),
      );
      writeDescriptorAt(memory, descriptor, { address, lengthBytes, flags: 0, next: 0 });
      // Where a split ring has the index of its avail ring, a packed one has its flags.
      if (format === 'split') memory.view.setUint16(offsetOf(addresses.avail) + 2, 1, true);
      else memory.view.setUint16(descriptor + 14, VIRTQ_DESC_F_AVAIL, true);
      native().eventfdSignal(kickFd);
      await stage.arrives(fromAttacker(7));
    } finally {
      for (const fd of [callFd, kickFd]) native().closeFd(fd);
    }
  },
};

const kicksForNothing: Ordeal = {
  class: 20,
  name: 'kicks without anything to find',
  async strike(stage, format) {
    const guest = await patientGuest(stage, format, 8);
    await stage.reach(guest);
    for (let i = 0; i < 10; i++) {
      for (let kicks = 0; kicks < kicksPerBurst; kicks++) guest.raw.kick(kicks % 2);
      await stage.goOn();
    }
    await guest.send(fromAttacker(3));
    await stage.arrives(fromAttacker(3));
  },
};

const eventIndexes: Ordeal = {
  class: 20,
  name: 'event indexes of any value',
  async strike(stage, format) {
    const guest = await patientGuest(stage, format, 8);
    await stage.reach(guest);
    const ring = new RawQueue(guest, transmitq);
    for (const [i, value] of [0, 1, 0x7fff, 0x8000, 0xffff, 0x1234].entries()) {
      setEvent(guest, format, value, value % 4);
      ring.offer([ring.buffer(packet(fromAttacker(10 + i)))]);
      ring.kick();
      await stage.arrives(fromAttacker(10 + i));
    }
  },
};

const reconnectStorm: Ordeal = {
  class: 22,
  name: 'frontends that leave at any point',
  async strike(stage, format) {
    const { VHOST_USER_PROTOCOL_F_REPLY_ACK, VHOST_USER_PROTOCOL_F_MQ } = protocolFeatures;
    for (let i = 0; i < connections; i++) {
      const frontend = await stage.dial();
      const starting = frontend.negotiate(
        featuresOf(format),
        VHOST_USER_PROTOCOL_F_REPLY_ACK | VHOST_USER_PROTOCOL_F_MQ,
      );
      starting.catch(() => {});
      for (let turns = 0; turns < i % 10; turns++) await new Promise(setImmediate);
      frontend.close();
    }
    await stage.goOn(2);
  },
};

const addressFlood: Ordeal = {
  class: 23,
  name: `a guest with ${addresses} addresses`,
  async strike(stage, format) {
    const guest = await stage.attacker(format, { queueSize: 256, receiveBuffers: 8 });
    await stage.hear(guest);
    const to = macOf(peerNumber);
    for (let sent = 0; sent < addresses; sent += burstFrames) {
      const frames = Array.from({ length: burstFrames }, (_, i) =>
        ethernetFrame({ to, from: macOf(attackerNumber, sent + i + 1) }),
      );
      await guest.sendAll(frames);
    }
    await guest.flush();
    await stage.goOn(2);
  },
};

/** The attacker asks for a call through this fd, and sends a frame for which there is one. */
async function becomeCalled(stage: Stage, format: Format, fd: number, spoil: () => void) {
  const guest = await patientGuest(stage, format, 8);
  await stage.reach(guest);
  const payload = { index: transmitq, hasFd: true };
  await guest.frontend.tell('SET_VRING_CALL', vringFdLayout, payload, [fd]);
  await stage.goOn();
  spoil();
  const ring = new RawQueue(guest, transmitq);
  setEvent(guest, format, format === 'split' ? 0 : 0x8000, 0);
  ring.offer([ring.buffer(packet(fromAttacker(6)))]);
  ring.kick();
  await stage.arrives(fromAttacker(6));
  await stage.goOn(2);
}

const fullPipe: Ordeal = {
  class: 24,
  name: 'a call fd that is a full pipe, and blocks',
  async strike(stage, format) {
    const path = join(tmpdir(), `hostile-${process.pid}.fifo`);
    execFileSync('mkfifo', [path]);
    // Two descriptions of one pipe: this end may fill it without blocking, the other one would
    // block.
    const blocking = openSync(path, constants.O_RDWR);
    const filling = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
    try {
      fill(filling);
      await becomeCalled(stage, format, blocking, () => {});
    } finally {
      for (const fd of [blocking, filling]) closeSync(fd);
      rmSync(path);
    }
  },
};

const fullEventfd: Ordeal = {
  class: 24,
  name: 'a call eventfd that is filled, and made blocking after it was passed',
  async strike(stage, format) {
    const fd = native().eventfdCreate();
    try {
      await becomeCalled(stage, format, fd, () => spoil(fd));
    } finally {
      native().closeFd(fd);
    }
  },
};

/** Fills an eventfd that nobody writes to right now, and clears its flag, which Node cannot. */
function spoil(fd: number): void {
  native().eventfdDrain(fd);
  writeSync(fd, new BigUint64Array([2n ** 64n - 2n]));
  const clear = 'import fcntl; fcntl.fcntl(3, fcntl.F_SETFL, 0)';
  execFileSync('python3', ['-c', clear], { stdio: ['ignore', 'ignore', 'ignore', fd] });
}

/** Writes until nothing more fits, which may not wait. */
function fill(fd: number): void {
  try {
    for (;;) writeSync(fd, Buffer.alloc(4096));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
  }
}

export const ordeals = {
  neverTakesFrames,
  oneBuffer,
  ringElsewhere,
  kicksForNothing,
  eventIndexes,
  reconnectStorm,
  addressFlood,
  fullPipe,
  fullEventfd,
};

export const wearingGuests: readonly Attack[] = formats.flatMap((format) =>
  Object.values(ordeals).map((ordeal) => ({
    class: ordeal.class,
    format,
    name: ordeal.name,
    strike: (stage: Stage) => ordeal.strike(stage, format),
  })),
);
