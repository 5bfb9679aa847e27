/**
 * A vhost-user port: who is served when, and what a frontend may do to its rings and memory while
 * frames flow, without losing one.
 */

import { existsSync } from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import { native } from '../../../src/native/addon.ts';
import { GuestMemory, type TestGuest, VhostUserFrontend } from '../../../src/testing/index.ts';
import { protocolFeatures } from '../../../src/vhost-user/features.ts';
import {
  emptyLayout,
  memoryRegionLayout,
  requestNumbers,
  u64Layout,
} from '../../../src/vhost-user/message.ts';
import { frameBetween, numberOf } from '../../support/ethernet.ts';
import { expectDelivery, SwitchNetwork } from '../../support/network.ts';

const { VHOST_USER_PROTOCOL_F_REPLY_ACK, VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS } =
  protocolFeatures;
const receiveq = 0;
const transmitq = 1;

let network: SwitchNetwork;

afterEach(() => network.close());

async function expectBothWays(a: TestGuest, b: TestGuest): Promise<void> {
  await expectDelivery(a, b, [frameBetween(0, 1, 1), frameBetween(0, 1, 2)]);
  await expectDelivery(b, a, [frameBetween(1, 0, 3), frameBetween(1, 0, 4)]);
}

function ended(frontend: VhostUserFrontend): Promise<Error> {
  return new Promise((resolve) => frontend.onEnd(resolve));
}

describe('one machine at a time', () => {
  test('a second client is refused with a sentence while the first goes on', async () => {
    network = SwitchNetwork.open(2);
    const [a, b] = (await network.connectAll()) as [TestGuest, TestGuest];
    const second = VhostUserFrontend.connect({ path: network.path(0) });
    expect(await ended(second)).toMatchObject({ code: 'DISCONNECTED' });
    expect((await network.event('frontend-refused')).sentence).toBe(
      `port p0: refused process ${process.pid}: process ${process.pid} is connected; ` +
        'stop that one first, or give each machine a socket of its own',
    );
    expect(network.eventsOf('frontend-left')).toEqual([]);
    await expectBothWays(a, b);
  });

  test('a first that is dead makes room at once', async () => {
    network = SwitchNetwork.open(2);
    let [a, b] = (await network.connectAll()) as [TestGuest, TestGuest];
    for (let i = 0; i < 20; i++) {
      // Both within one turn of the event loop: the port learns of neither before the other.
      a.disconnect();
      a = await network.connect(0);
    }
    expect(network.eventsOf('frontend-refused')).toEqual([]);
    await expectBothWays(a, b);
  });

  test('a frontend that only connects and waits keeps its place', async () => {
    network = SwitchNetwork.open(1);
    const first = VhostUserFrontend.connect({ path: network.path(0) });
    await network.event('frontend-connected');
    expect(network.port(0).frontendPid).toBe(process.pid);
    await ended(VhostUserFrontend.connect({ path: network.path(0) }));
    expect(first.end).toBeUndefined();
    first.close();
    await network.event('frontend-left');
    expect(network.port(0).frontendPid).toBeUndefined();
  });

  test('after a protocol error the next frontend is served', async () => {
    network = SwitchNetwork.open(2);
    const bad = VhostUserFrontend.connect({ path: network.path(0) });
    bad.sendBytes(new Uint8Array(12).fill(0xff));
    await ended(bad);
    const [a, b] = (await network.connectAll()) as [TestGuest, TestGuest];
    await expectBothWays(a, b);
  });
});

describe('close', () => {
  test('removes the socket and ends the session', async () => {
    network = SwitchNetwork.open(2);
    const [a] = (await network.connectAll()) as [TestGuest, TestGuest];
    const port = network.port(0);
    const path = network.path(0);
    expect(existsSync(path)).toBe(true);
    const end = ended(a.frontend);
    network.vswitch.removePort(port);
    expect(existsSync(path)).toBe(false);
    expect(await end).toMatchObject({ code: 'DISCONNECTED' });
    expect(network.eventsOf('frontend-left')).toMatchObject([
      { port: 'p0', reason: { kind: 'closed-by-owner' } },
    ]);
    expect(() => port.counters).toThrow(expect.objectContaining({ code: 'CLOSED' }));
    port.close();
  });

  test('frees the path and the name for another port', async () => {
    network = SwitchNetwork.open(2);
    network.vswitch.removePort(network.port(1));
    network.addPort();
    const [a, b] = (await network.connectAll()) as [TestGuest, TestGuest];
    await expectBothWays(a, b);
  });
});

describe('stopping a ring', () => {
  test('answers with the exact index of what was taken and of what was filled', async () => {
    network = SwitchNetwork.open(2);
    const [a, b] = (await network.connectAll()) as [TestGuest, TestGuest];
    const frames = 1000;
    for (let first = 0; first < frames; first += 50) {
      const burst = Array.from({ length: 50 }, (_, i) => frameBetween(0, 1, first + i));
      await expectDelivery(a, b, burst);
    }
    expect(await a.frontend.stopRing(transmitq)).toBe(frames);
    expect(await b.frontend.stopRing(receiveq)).toBe(frames);
    expect(await a.frontend.stopRing(receiveq)).toBe(0);
  });

  test('in the middle of traffic takes nothing afterwards, and a start goes on there', async () => {
    network = SwitchNetwork.open(2);
    const [a, b] = (await network.connectAll()) as [TestGuest, TestGuest];
    const { driver } = a.transmitq;
    const [callFd, kickFd] = [native().eventfdCreate(), native().eventfdCreate()];
    let number = 0;
    for (let round = 0; round < 50; round++) {
      for (let i = 0; i < 200; i++) a.transmitq.add(frameBetween(0, 1, number++), {});
      driver.publish();
      native().eventfdSignal(kickFd);
      if (round === 0) a.kick('transmitq');
      const base = await a.frontend.stopRing(transmitq);
      // Everything taken was given back, and nothing else.
      expect(driver.ring.usedIndex).toBe(base);
      const { size, addresses } = driver.ring;
      await a.frontend.startRing(transmitq, { size, base, addresses, callFd, kickFd });
      // b has its buffers back in the ring before the next round, so that none is dropped for it.
      while (b.pendingFrames < number) await new Promise(setImmediate);
      a.transmitq.reclaim();
    }
    for (let i = 0; i < number; i++) expect(numberOf(await b.receive())).toBe(i);
    expect(network.port(1).counters.toGuest.frames).toBe(number);
    for (const fd of [callFd, kickFd]) native().closeFd(fd);
  });
});

describe('memory that changes while rings run', () => {
  /** Sends numbered frames both ways until `change` has run `times` times; all must arrive. */
  async function whileFramesFlow(
    a: TestGuest,
    b: TestGuest,
    times: number,
    change: (turn: number) => Promise<void>,
  ): Promise<void> {
    let changing = true;
    const changes = (async () => {
      for (let turn = 0; turn < times; turn++) await change(turn);
    })().finally(() => {
      changing = false;
    });
    let number = 0;
    while (changing) {
      const burst = Array.from({ length: 20 }, () => number++);
      await expectDelivery(
        a,
        b,
        burst.map((i) => frameBetween(0, 1, i)),
      );
      await expectDelivery(
        b,
        a,
        burst.map((i) => frameBetween(1, 0, i)),
      );
    }
    await changes;
    expect(number).toBeGreaterThan(20);
    expect(network.eventsOf('ring-broken')).toEqual([]);
  }

  test('SET_MEM_TABLE again loses nothing', async () => {
    network = SwitchNetwork.open(2);
    const [a, b] = (await network.connectAll({ memoryRegions: 4 })) as [TestGuest, TestGuest];
    await whileFramesFlow(a, b, 100, (turn) => {
      const guest = turn % 2 === 0 ? a : b;
      return guest.frontend.setMemory(guest.memory.regions);
    });
  });

  test('ADD_MEM_REG and REM_MEM_REG of other memory lose nothing', async () => {
    network = SwitchNetwork.open(2);
    const [a, b] = (await network.connectAll({
      protocolFeatures: VHOST_USER_PROTOCOL_F_REPLY_ACK | VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS,
    })) as [TestGuest, TestGuest];
    const plugged = GuestMemory.create({ sizeBytes: 1 << 20 });
    const { fd, ...region } = {
      ...plugged.regions[0]!,
      guestAddress: 0x10_0000_0000n,
      userAddress: 0x7e00_0000_0000n,
    };
    await whileFramesFlow(a, b, 100, async () => {
      await a.frontend.tell('ADD_MEM_REG', memoryRegionLayout, region, [fd]);
      await a.frontend.tell('REM_MEM_REG', memoryRegionLayout, region);
    });
    plugged.close();
  });

  test('rings rest while the memory under them is away, and go on when it is back', async () => {
    network = SwitchNetwork.open(2);
    const [a, b] = (await network.connectAll({
      protocolFeatures: VHOST_USER_PROTOCOL_F_REPLY_ACK | VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS,
    })) as [TestGuest, TestGuest];
    await expectBothWays(a, b);
    const { fd, ...region } = a.memory.regions[0]!;
    await a.frontend.tell('REM_MEM_REG', memoryRegionLayout, region);
    await a.send(frameBetween(0, 1, 5));
    await a.frontend.tell('ADD_MEM_REG', memoryRegionLayout, region, [fd]);
    a.kick('transmitq');
    expect(numberOf(await b.receive())).toBe(5);
    await a.flush();
    await expectBothWays(a, b);
    expect(network.eventsOf('ring-broken')).toEqual([]);
  });

  test('all 509 slots can be filled, and a frame lies in any of them', async () => {
    network = SwitchNetwork.open(2);
    const a = await network.connect(0, {
      protocolFeatures: VHOST_USER_PROTOCOL_F_REPLY_ACK | VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS,
    });
    const b = await network.connect(1);
    const slots = await a.frontend.ask('GET_MAX_MEM_SLOTS', emptyLayout, undefined, u64Layout);
    expect(slots).toBe(509n);
    const plugged = GuestMemory.create({ sizeBytes: 4096 });
    const { fd, mmapOffset, sizeBytes } = plugged.regions[0]!;
    const frame = frameBetween(0, 1, 1);
    // The first 12 bytes stay zero: the virtio-net header.
    plugged.bytes.set(frame, 12);
    const { ring } = a.transmitq.driver;
    for (let slot = 1n; slot < slots; slot++) {
      const guestAddress = 0x10_0000_0000n + slot * 0x10_0000n;
      const userAddress = 0x7e00_0000_0000n + slot * 0x10_0000n;
      const region = { guestAddress, userAddress, mmapOffset, sizeBytes };
      await a.frontend.tell('ADD_MEM_REG', memoryRegionLayout, region, [fd]);
      const at = ring.availIndex % ring.size;
      const lengthBytes = 12 + frame.length;
      ring.writeDescriptor(at, { address: guestAddress, lengthBytes, flags: 0, next: 0 });
      ring.setAvailEntry(at, at);
      ring.availIndex++;
      a.kick('transmitq');
      expect(Buffer.compare(await b.receive(), frame)).toBe(0);
    }
    const surplus = {
      guestAddress: 0x1n << 40n,
      userAddress: 0x7d00_0000_0000n,
      mmapOffset,
      sizeBytes,
    };
    await expect(
      a.frontend.tell('ADD_MEM_REG', memoryRegionLayout, surplus, [fd]),
    ).rejects.toMatchObject({ code: 'REFUSED' });
    plugged.close();
  });
});

describe('an unknown request', () => {
  test('whose sender waits for the answer is refused, and the session goes on', async () => {
    network = SwitchNetwork.open(2);
    const [a, b] = (await network.connectAll()) as [TestGuest, TestGuest];
    const needReply = 8;
    const unknown = 1000;
    expect(Object.values(requestNumbers)).not.toContain(unknown);
    const reply = await a.frontend.request(unknown, needReply, new Uint8Array(8), [], true);
    expect(u64Layout.decode(reply!.payload)).not.toBe(0n);
    expect((await network.event('request-refused')).sentence).toMatch(/^port p0: request 1000/);
    await expectBothWays(a, b);
  });
});
