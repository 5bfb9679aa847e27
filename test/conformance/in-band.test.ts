/**
 * vhost-user "In-band notifications" and "Inflight I/O tracking" from end to end: a frontend
 * without any eventfd exchanges frames with an ordinary guest, and the file of an inflight region
 * is what its description says.
 */

import { mkdtempSync, readdirSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { native } from '../../src/native/addon.ts';
import { FdSocket } from '../../src/native/fd-socket.ts';
import { GuestMemory, ReceiveQueue, VhostUserFrontend } from '../../src/testing/index.ts';
import { TransmitQueue } from '../../src/testing/transmit-queue.ts';
import { protocolFeatures, virtioFeatures } from '../../src/vhost-user/features.ts';
import {
  emptyLayout,
  encodeMessage,
  headerBytes,
  headerFlags,
  inflightAreaLayout,
  u64Layout,
  vringAddressesLayout,
  vringStateLayout,
} from '../../src/vhost-user/message.ts';
import { frameBetween, numberOf } from '../support/ethernet.ts';
import { SwitchNetwork } from '../support/network.ts';
import { socketPair } from '../support/socket-pair.ts';

const receiveqIndex = 0;
const transmitqIndex = 1;
const vringCall = 4;
const size = 64;
const ring = { size, eventIdx: false, headerBytes: 12 };

let network: SwitchNetwork;
let folder: string;

beforeEach(() => {
  network = SwitchNetwork.open(1);
  network.addPort({ inBand: true });
  folder = mkdtempSync(join(tmpdir(), 'in-band-'));
});

afterEach(async () => {
  await network.close();
  rmSync(folder, { recursive: true });
});

/** The next request on the backend channel, acknowledged: its number and queue. */
async function nextBackendRequest(channel: FdSocket): Promise<[number, number]> {
  const received = await new Promise<Buffer>((resolve) => {
    channel.onReadable(() => {
      // One request is under way at a time, and it is sent at once.
      const message = channel.receive(headerBytes + vringStateLayout.bytesMax);
      if (typeof message === 'object') resolve(message.bytes);
    });
  });
  const request = received.readUInt32LE(0);
  const flags = headerFlags.VERSION | headerFlags.REPLY;
  channel.send(encodeMessage(request, flags, u64Layout.encode(0n)));
  return [request, vringStateLayout.decode(received.subarray(headerBytes))!.index];
}

test('a frontend without eventfds exchanges frames with an ordinary guest', async () => {
  const peer = await network.connect(0);
  const frontend = VhostUserFrontend.connect({ path: network.path(1) });
  await frontend.negotiate(
    virtioFeatures.VIRTIO_F_VERSION_1,
    protocolFeatures.VHOST_USER_PROTOCOL_F_REPLY_ACK |
      protocolFeatures.VHOST_USER_PROTOCOL_F_BACKEND_REQ |
      protocolFeatures.VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS,
  );
  const [channel, fd] = await socketPair();
  await frontend.tell('SET_BACKEND_REQ_FD', emptyLayout, undefined as never, [fd]);
  native().closeFd(fd);
  const memory = GuestMemory.create({ sizeBytes: 4 << 20 });
  await frontend.setMemory(memory.regions);
  const receiveq = new ReceiveQueue(memory, {
    ...ring,
    queue: receiveqIndex,
    mergeable: false,
    bufferBytes: 2048,
    bufferCount: size,
  });
  const transmitq = new TransmitQueue(memory, { ...ring, queue: transmitqIndex });
  const kick = (index: number) => frontend.tell('VRING_KICK', vringStateLayout, { index, num: 0 });
  receiveq.driver.armInterrupt();
  receiveq.driver.publish();
  for (const { driver, index } of [
    { driver: receiveq.driver, index: receiveqIndex },
    { driver: transmitq.driver, index: transmitqIndex },
  ]) {
    await frontend.enableRing(index, true);
    await frontend.tell('SET_VRING_NUM', vringStateLayout, { index, num: size });
    const addresses = { index, flags: 0, log: 0n, ...driver.ring.addresses };
    await frontend.tell('SET_VRING_ADDR', vringAddressesLayout, addresses);
    await kick(index);
  }

  for (let i = 0; i < 3; i++) {
    transmitq.add(frameBetween(1, 0, i), {});
    transmitq.driver.publish();
    await kick(transmitqIndex);
    expect(numberOf(await peer.receive())).toBe(i);
  }
  for (let i = 0; i < 3; i++) {
    await peer.send(frameBetween(0, 1, i));
    let frame = receiveq.take();
    // Every frame is followed by a call, so this ends with it.
    while (frame === undefined) {
      expect(await nextBackendRequest(channel)).toEqual([vringCall, receiveqIndex]);
      frame = receiveq.take();
    }
    expect(numberOf(frame)).toBe(i);
  }
  frontend.close();
  channel.close();
  memory.close();
});

test.each([
  ['an eventfd', () => native().eventfdCreate()],
  ['a file', () => native().memfdCreate('no-socket', 4096)],
])('a backend channel that is %s is refused with a sentence, and closed', async (_, create) => {
  const fdCount = () => readdirSync('/proc/self/fd').length;
  const before = fdCount();
  const frontend = VhostUserFrontend.connect({ path: network.path(1) });
  await frontend.negotiate(
    virtioFeatures.VIRTIO_F_VERSION_1,
    protocolFeatures.VHOST_USER_PROTOCOL_F_REPLY_ACK |
      protocolFeatures.VHOST_USER_PROTOCOL_F_BACKEND_REQ,
  );
  const fd = create();
  await expect(
    frontend.tell('SET_BACKEND_REQ_FD', emptyLayout, undefined as never, [fd]),
  ).rejects.toMatchObject({ code: 'REFUSED' });
  native().closeFd(fd);
  const { reason } = await network.event('frontend-left');
  expect(reason).toMatchObject({
    code: 'BAD_SOCKET',
    sentence: 'port p1: SET_BACKEND_REQ_FD: what was passed is no socket',
  });
  frontend.close();
  await expect.poll(fdCount).toBe(before);
});

test('an inflight region is a file of the size and with the heads it is said to have', async () => {
  const socket = FdSocket.connect(network.path(1));
  const ask = async (request: number, payload: Uint8Array, replyBytes: number) => {
    socket.send(encodeMessage(request, headerFlags.VERSION, payload));
    if (replyBytes === 0) return undefined;
    return new Promise<{ bytes: Buffer; fds: number[] }>((resolve) => {
      socket.onReadable(() => {
        const message = socket.receive(headerBytes + replyBytes);
        if (typeof message === 'object') resolve(message);
      });
    });
  };
  const { VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD } = protocolFeatures;
  await ask(16, u64Layout.encode(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD), 0);
  const wanted = { sizeBytes: 0n, offsetBytes: 0n, queues: 2, queueSize: 128, wireBytes: 24 };
  const reply = await ask(31, inflightAreaLayout.encode(wanted), 24);
  const area = inflightAreaLayout.decode(reply!.bytes.subarray(headerBytes))!;
  const [fd] = reply!.fds as [number];
  const contents = Buffer.alloc(Number(area.sizeBytes) + 1);
  expect(readSync(fd, contents, 0, contents.length, 0)).toBe(Number(area.sizeBytes));
  const queueBytes = Number(area.sizeBytes) / 2;
  const expected = Buffer.alloc(contents.length);
  for (const start of [0, queueBytes]) {
    expected.writeUInt16LE(1, start + 8);
    expected.writeUInt16LE(128, start + 10);
  }
  expect(contents.equals(expected)).toBe(true);
  native().closeFd(fd);
  socket.close();
});
