/**
 * Ports over unix datagram sockets: with sockets of unix-dgram at the other end, where every case
 * can be made, and with QEMU, which is whom they are for.
 */

import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import unixDgram, { type UnixDgramSocket } from 'unix-dgram';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Switch } from '../../../src/index.ts';
import type { ProcessPort } from '../../../src/port/process/process-port.ts';
import { arp, icmp4, type ParsedFrame, parse } from '../../../src/testing/index.ts';
import { tinyGuest, tinyGuestBoot } from '../../../src/tiny/guest.ts';
import { broadcast, ethernetFrame, frameBetween, macOf, numberOf } from '../../support/ethernet.ts';

let folder: string;
let vswitch: Switch;
let host: ProcessPort;
const sockets: UnixDgramSocket[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'dgram-'));
  vswitch = Switch.open();
  host = vswitch.addPort({ process: 'host' });
});

afterEach(() => {
  vswitch.close();
  for (const socket of sockets.splice(0)) socket.close();
  rmSync(folder, { recursive: true });
});

const path = (name: string) => join(folder, name);
const codeOf = (code: string) => expect.objectContaining({ code });

/** A socket at `path(name)`, and the datagrams it has been given. */
function bind(name: string): { socket: UnixDgramSocket; received: Buffer[] } {
  const received: Buffer[] = [];
  const socket = unixDgram.createSocket('unix_dgram', (bytes) => received.push(bytes));
  sockets.push(socket);
  socket.bind(path(name));
  return { socket, received };
}

function send(socket: UnixDgramSocket, bytes: Uint8Array): void {
  socket.send(Buffer.from(bytes), 0, bytes.length, path('switch'), (failure) => {
    if (failure !== undefined) throw failure;
  });
}

describe('a dgram port', () => {
  test('carries one frame a datagram, both ways', async () => {
    const port = vswitch.addPort({ dgram: path('switch'), peer: path('machine') });
    const { socket, received } = bind('machine');
    const frames = [60, 1514, 65_550].map((bytes, i) => frameBetween(1, 0, i, bytes));
    for (const frame of frames) {
      send(socket, frame);
      expect(await host.receive()).toEqual([Buffer.from(frame)]);
    }
    host.send(frameBetween(0, 1, 7));
    await expect.poll(() => received).toEqual([Buffer.from(frameBetween(0, 1, 7))]);
    expect(port).toMatchObject({ kind: 'dgram', name: 'switch', bridge: 'default' });
    expect(port.counters.fromGuest.frames).toBe(3);
    expect(port.counters.toGuest.frames).toBe(1);
  });

  test('loses nothing to a peer whose queue is full for a while', async () => {
    vswitch.addPort({ dgram: path('switch'), peer: path('machine') });
    const { received } = bind('machine');
    const count = 2000;
    for (let i = 0; i < count; i++)
      host.send(ethernetFrame({ from: macOf(0), to: broadcast, number: i }));
    await expect.poll(() => received.length).toBe(count);
    expect(received.map(numberOf)).toEqual(Array.from({ length: count }, (_, i) => i));
  });

  test('counts what finds nobody, and what is no frame', async () => {
    const port = vswitch.addPort({ dgram: path('switch'), peer: path('machine') });
    host.send(frameBetween(0, 1));
    await expect.poll(() => port.counters.drops.notReady).toBe(1);
    const { socket } = bind('other');
    send(socket, new Uint8Array(13));
    send(socket, new Uint8Array(0));
    send(socket, new Uint8Array(65_551));
    send(socket, frameBetween(1, 0));
    await host.receive();
    expect(port.counters.drops).toMatchObject({ tooShort: 2, tooLong: 1 });
    expect(port.counters.fromGuest.frames).toBe(1);
  });

  test('has its socket to itself, takes over a stale one, and removes it at the end', () => {
    const { socket } = bind('switch');
    const add = () =>
      vswitch.addPort({ dgram: path('switch'), peer: path('machine'), mode: 0o600 });
    expect(add).toThrow(codeOf('SOCKET_IN_USE'));
    sockets.splice(0);
    socket.close();
    const port = add();
    expect(statSync(path('switch')).mode & 0o777).toBe(0o600);
    expect(add).toThrow(codeOf('SOCKET_DUPLICATE'));
    vswitch.removePort(port);
    expect(existsSync(path('switch'))).toBe(false);
    expect(() => port.counters).toThrow(codeOf('CLOSED'));
    expect(add().name).toBe('switch');
  });

  test.each<[string, () => object, string]>([
    ['a path too long', () => ({ dgram: path('x'.repeat(108)) }), 'SOCKET_PATH_TOO_LONG'],
    ['a peer too long', () => ({ peer: path('x'.repeat(108)) }), 'SOCKET_PATH_TOO_LONG'],
    ['no peer', () => ({ peer: undefined }), 'BAD_OPTION'],
    ['no path', () => ({ dgram: '' }), 'BAD_OPTION'],
    ['a folder that is missing', () => ({ dgram: path('missing/x') }), 'SOCKET_FOLDER_MISSING'],
    ['a mode that is none', () => ({ mode: 0o1777 }), 'BAD_OPTION'],
    ['a file in the way', () => ({ dgram: path('file') }), 'SOCKET_NOT_A_SOCKET'],
  ])('with %s is refused and leaves the switch as it was', (_, options, code) => {
    writeFileSync(path('file'), '');
    const good = { dgram: path('switch'), peer: path('machine') };
    const add = () => vswitch.addPort({ ...good, ...options() });
    expect(add).toThrow(codeOf(code));
    expect(vswitch.ports).toEqual([host]);
    expect(existsSync(path('switch'))).toBe(false);
    expect(vswitch.addPort(good).name).toBe('switch');
  });
});

test('a guest of QEMU -netdev dgram answers ARP and ping from the same bridge', {
  timeout: 300_000,
}, async () => {
  vswitch.addPort({ dgram: path('switch'), peer: path('machine'), name: 'vm' });
  const { kernel, initrd, commandLine } = tinyGuestBoot(await tinyGuest(), 'vm', '10.0.0.2/24');
  const ends = [`local.path=${path('machine')}`, `remote.path=${path('switch')}`].join(',');
  const qemu = execa(
    'qemu-system-x86_64',
    [
      ...['-nodefaults', '-display', 'none', '-accel', 'tcg', '-cpu', 'max', '-m', '192M'],
      ...['-kernel', kernel, '-initrd', initrd, '-append', commandLine],
      ...['-netdev', `dgram,id=net1,local.type=unix,remote.type=unix,${ends}`],
      ...['-device', `virtio-net-pci,netdev=net1,mac=${macOf(1)}`],
    ],
    { timeout: 280_000, reject: false, all: true },
  );
  try {
    const [us, guest] = [macOf(0), macOf(1)];
    const answerTo = async (question: Uint8Array, isAnswer: (frame: ParsedFrame) => boolean) => {
      // The guest boots meanwhile.
      for (let tries = 0; tries < 500 && qemu.exitCode === null; tries++) {
        host.send(question);
        const frames = await host.receive({ timeoutMs: 500 }).catch(() => []);
        const answer = frames.map((frame) => parse(frame)).find(isAnswer);
        if (answer !== undefined) return answer;
      }
      throw new Error('the guest does not answer');
    };
    const ask = { senderMac: us, senderIp: '10.0.0.1', targetIp: '10.0.0.2' };
    const reply = await answerTo(arp(ask), (frame) => frame.arp?.operation === 'reply');
    expect(reply.arp).toMatchObject({ senderMac: guest, senderIp: '10.0.0.2', targetMac: us });
    const payload = 'sixty-four bytes make a long enough question for a guest to answer';
    const ping = icmp4({ to: guest, from: us, source: '10.0.0.1', target: '10.0.0.2', payload });
    const pong = await answerTo(ping, (frame) => frame.icmp4?.type === 0);
    expect(Buffer.from(pong.payload).toString()).toBe(payload);
  } finally {
    qemu.kill();
    await qemu;
  }
});
