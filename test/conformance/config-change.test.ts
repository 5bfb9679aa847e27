/**
 * vhost-user VHOST_USER_BACKEND_CONFIG_CHANGE_MSG: whose frontend reads the configuration space
 * here hears of what changes in it, and the guest finds it there.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { native } from '../../src/native/addon.ts';
import { FdListener, type FdSocket } from '../../src/native/fd-socket.ts';
import { controlCommands, controlStatus, type TestGuest } from '../../src/testing/index.ts';
import { protocolFeatures } from '../../src/vhost-user/features.ts';
import {
  backendRequestNumbers,
  emptyLayout,
  encodeMessage,
  headerBytes,
  headerFlags,
  u64Layout,
} from '../../src/vhost-user/message.ts';
import { SwitchNetwork } from '../support/network.ts';

const spoken =
  protocolFeatures.VHOST_USER_PROTOCOL_F_REPLY_ACK |
  protocolFeatures.VHOST_USER_PROTOCOL_F_MTU |
  protocolFeatures.VHOST_USER_PROTOCOL_F_BACKEND_REQ |
  protocolFeatures.VHOST_USER_PROTOCOL_F_CONFIG;

let network: SwitchNetwork;
let folder: string;
beforeEach(() => {
  network = SwitchNetwork.open(1);
  folder = mkdtempSync(join(tmpdir(), 'config-'));
});
afterEach(async () => {
  await network.close();
  rmSync(folder, { recursive: true });
});

/**
 * The backend channel of a guest: the requests that come by it, each acknowledged if that is
 * wanted.
 */
async function channelOf(guest: TestGuest): Promise<() => Promise<number>> {
  const path = join(folder, 'channel.sock');
  const listener = FdListener.listen(path);
  const accepted = new Promise<FdSocket>((resolve, reject) => {
    listener.onConnection(resolve, reject);
  });
  const fd = native().socketConnect(path);
  const socket = await accepted;
  listener.close();
  await guest.frontend.tell('SET_BACKEND_REQ_FD', emptyLayout, undefined as never, [fd]);
  native().closeFd(fd);
  const said: number[] = [];
  let heard = () => {};
  socket.onReadable(() => {
    const received = socket.receive(headerBytes);
    if (typeof received === 'string') {
      socket.close();
      return;
    }
    const request = received.bytes.readUInt32LE(0);
    if ((received.bytes.readUInt32LE(4) & headerFlags.NEED_REPLY) !== 0) {
      const flags = headerFlags.VERSION | headerFlags.REPLY;
      socket.send(encodeMessage(request, flags, u64Layout.encode(0n)));
    }
    said.push(request);
    heard();
  });
  return async () => {
    while (said.length === 0) {
      await new Promise<void>((resolve) => {
        heard = resolve;
      });
    }
    return said.shift()!;
  };
}

const { CONFIG_CHANGE_MSG } = backendRequestNumbers;

describe.each([
  ['acknowledged', spoken],
  ['not to be acknowledged', spoken & ~protocolFeatures.VHOST_USER_PROTOCOL_F_REPLY_ACK],
])('a change that is %s', (_, protocolFeatures) => {
  test('of the MTU is told, once for each', async () => {
    const guest = await network.connect(0, { controlQueue: true, protocolFeatures });
    const next = await channelOf(guest);
    for (const mtu of [1400, 9000]) {
      // The second of two that are the same is none.
      for (let i = 0; i < 2; i++) {
        await guest.frontend.tell('NET_SET_MTU', u64Layout, BigInt(mtu));
      }
      expect(await next()).toBe(CONFIG_CHANGE_MSG);
      expect(await guest.config()).toMatchObject({ mtu, announce: false });
    }
  });

  test('of the MTU in the settings of the port is told, unless the frontend has said one', async () => {
    const guest = await network.connect(0, { controlQueue: true, protocolFeatures });
    const next = await channelOf(guest);
    const configure = (mtu: number) => {
      const settings = network.vswitch.settings;
      Object.assign(settings.ports.p0!, { mtu });
      network.vswitch.apply(settings);
    };
    // An answer says that the channel before it is known.
    expect(await guest.config()).toMatchObject({ mtu: 1500 });
    configure(1400);
    expect(await next()).toBe(CONFIG_CHANGE_MSG);
    expect(await guest.config()).toMatchObject({ mtu: 1400 });
    await guest.frontend.tell('NET_SET_MTU', u64Layout, 9000n);
    expect(await next()).toBe(CONFIG_CHANGE_MSG);
    configure(1300);
    expect(await guest.config()).toMatchObject({ mtu: 9000 });
  });

  test('is that the guest is to announce itself, when its control queue goes on', async () => {
    const guest = await network.connect(0, { controlQueue: true, protocolFeatures });
    const next = await channelOf(guest);
    expect(await guest.control(controlCommands.rxMode('promisc', true))).toBe(controlStatus.ok);
    const queue = guest.raw.controlQueue!;
    const { addresses, size } = guest.raw.splitRing(queue);
    const base = await guest.frontend.stopRing(queue);
    expect(base).toBe(1);
    const fds = [native().eventfdCreate(), native().eventfdCreate()] as const;
    const ring = { size, base, addresses, callFd: fds[0], kickFd: fds[1] };
    await guest.frontend.startRing(queue, ring);
    for (const fd of fds) native().closeFd(fd);
    expect(await next()).toBe(CONFIG_CHANGE_MSG);
    expect(await guest.config()).toMatchObject({ announce: true });
  });
});

test('a guest that was asked to announce itself says that it did', async () => {
  const guest = await network.connect(0, { controlQueue: true });
  expect(await guest.control(controlCommands.rxMode('promisc', true))).toBe(controlStatus.ok);
  expect(await guest.config()).toMatchObject({ announce: false });
  await guest.reconnect();
  expect(await guest.config()).toMatchObject({ announce: true });
  expect(await guest.control(controlCommands.announced())).toBe(controlStatus.ok);
  expect(await guest.config()).toMatchObject({ announce: false });
});
