/**
 * Sessions outlive the command: a frontend that was connected to a switch which is killed, or ended
 * by its service manager, goes on with the next one on the same connection.
 */

import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { ControlClient } from '../../src/control/client.ts';
import { TestGuest, type TestGuestOptions } from '../../src/testing/index.ts';
import {
  emptyLayout,
  encodeMessage,
  headerFlags,
  requestNumbers,
  u64Layout,
} from '../../src/vhost-user/message.ts';
import { Command } from '../support/command.ts';
import { frameBetween, numberOf } from '../support/ethernet.ts';
import { ServiceManager } from '../support/service-manager.ts';

let folder: string;
let manager: ServiceManager;
let starts: number;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'kept-'));
  manager = ServiceManager.listen(folder);
  starts = 0;
});

afterEach(async () => {
  await Command.killAll();
  manager.close();
  rmSync(folder, { recursive: true });
});

const socket = (name: string) => join(folder, `${name}.sock`);
const asPorts = (...options: readonly string[]) => [
  ...['--socket', `${socket('a')}${options.join()}`, '--socket', socket('b')],
  ...['--control', socket('control')],
];

async function start(args: readonly string[] = asPorts()): Promise<Command> {
  const command = manager.start(args);
  starts += 1;
  await manager.told('READY=1', starts);
  return command;
}

async function expectFrames(from: TestGuest, to: TestGuest, offset = 0): Promise<void> {
  for (let number = offset; number < offset + 5; number++) {
    await from.send(frameBetween(0, 1, number));
    expect(numberOf(await to.receive())).toBe(number);
  }
}

/** The first frames after a switch was killed: what it had not handed back may come again. */
async function expectFirst(from: TestGuest, to: TestGuest, again: boolean): Promise<void> {
  await from.send(frameBetween(0, 1, 9999));
  let number = numberOf(await to.receive());
  while (again && number !== 9999) number = numberOf(await to.receive());
  expect(number).toBe(9999);
}

// A guest that is closed waits for a switch to stop its queues: there always is one by then.

/** Returns once all is done, to the end of its turn, that these guests have said. */
async function settled(...guests: readonly TestGuest[]): Promise<void> {
  for (const guest of guests) {
    await guest.frontend.ask('GET_FEATURES', emptyLayout, undefined, u64Layout);
  }
  const client = await ControlClient.connect(socket('control'));
  await client.status();
  await client.close();
}

/** Sessions that the manager keeps. */
const keptSessions = () =>
  new Set(manager.storedNames.filter((name) => name.startsWith('session '))).size;

async function both(): Promise<[TestGuest, TestGuest]> {
  const a = await TestGuest.connect({ path: socket('a'), ...limit });
  const b = await TestGuest.connect({ path: socket('b'), ...limit });
  await settled(a, b);
  return [a, b];
}
const limit = { timeoutMs: 60_000 };

const kinds: Record<string, Omit<TestGuestOptions, 'path'>> = {
  'a modern driver': {},
  'one without event indexes': { features: ['VIRTIO_F_VERSION_1'] },
  'a legacy one': { features: ['VIRTIO_NET_F_MRG_RXBUF'] },
  'one that wants its buffers back in order': {
    features: ['VIRTIO_F_VERSION_1', 'VIRTIO_F_IN_ORDER', 'VHOST_USER_F_PROTOCOL_FEATURES'],
  },
  'one with 32 pairs of queues, whose fds one message cannot hold': { queuePairs: 32 },
  'one with a control queue': { controlQueue: true },
  'memory in 20 pieces': { memoryRegions: 20, memorySizeBytes: 20 << 20 },
  'the smallest rings': { queueSize: 2 },
};
const packed = {
  features: ['VIRTIO_F_VERSION_1', 'VIRTIO_F_RING_PACKED', 'VIRTIO_F_EVENT_IDX'],
} as const;

describe.each(['SIGKILL', 'SIGTERM'] as const)('after %s', (signal) => {
  const served = signal === 'SIGKILL' ? kinds : { ...kinds, 'packed rings': packed };
  test.each(Object.entries(served))('%s stays connected, time and again', async (_, options) => {
    let command = await start();
    await using a = await TestGuest.connect({ path: socket('a'), ...limit, ...options });
    await using b = await TestGuest.connect({ path: socket('b'), ...limit });
    await expectFrames(a, b);
    await settled(a, b);
    for (let round = 0; round < 3; round++) {
      await command.stop(signal);
      command = await start();
      await expectFirst(a, b, signal === 'SIGKILL');
      await expectFirst(b, a, signal === 'SIGKILL');
      await expectFrames(b, a, 10);
      await expectFrames(a, b, 20);
      // More than a ring has.
      for (let i = 0; i < 60; i++) await expectFrames(a, b, 100 + 5 * i);
      expect(command.stdout).not.toContain('the frontend left');
      expect(keptSessions()).toBe(2);
    }
    expect(command.stdout).not.toContain(' error ');
  });

  test('frames that were sent meanwhile arrive', async () => {
    const command = await start();
    const [a, b] = await both();
    await expectFrames(a, b);
    await settled(a, b);
    await command.stop(signal);
    for (let number = 50; number < 100; number++) a.raw.send(frameBetween(0, 1, number));
    a.raw.kick(1);
    await start();
    let first = numberOf(await b.receive());
    while (signal === 'SIGKILL' && first < 50) first = numberOf(await b.receive());
    expect(first).toBe(50);
    for (let number = 51; number < 100; number++) expect(numberOf(await b.receive())).toBe(number);
    await a.close();
    await b.close();
  });

  test('a frontend that left meanwhile has left, and its port serves the next one', async () => {
    const command = await start();
    const [a, b] = await both();
    await command.stop(signal);
    a.disconnect();
    const next = await start();
    await next.said('port a: the frontend left');
    await using again = await TestGuest.connect({ path: socket('a'), ...limit });
    await expectFrames(again, b);
    await b.close();
  });

  test('sessions of ports that there are no more end', async () => {
    const command = await start();
    const [a, b] = await both();
    await command.stop(signal);
    await start(['--socket', socket('b')]);
    await expect(a.receive()).rejects.toMatchObject({ code: 'DISCONNECTED' });
    await manager.told('FDSTOREREMOVE=1');
    expect(keptSessions()).toBe(1);
    await a.close();
    await b.close();
  });

  test('a frontend that may not connect any more is sent away', async () => {
    const command = await start();
    const [a, b] = await both();
    await command.stop(signal);
    const next = await start(asPorts(',allow=4242'));
    await next.said('port a: refused process');
    await expect(a.receive()).rejects.toMatchObject({ code: 'DISCONNECTED' });
    await a.close();
    await b.close();
  });
});

test('packed rings of a killed switch keep their places nowhere: their frontend is told', async () => {
  const command = await start();
  await using a = await TestGuest.connect({ path: socket('a'), ...limit, ...packed });
  await settled(a);
  await command.stop('SIGKILL');
  const next = await start();
  await next.said('port a: a session that was kept has ended: it has packed rings');
  await expect(a.receive()).rejects.toMatchObject({ code: 'DISCONNECTED' });
  await a.reconnect();
  await using b = await TestGuest.connect({ path: socket('b'), ...limit });
  await expectFrames(a, b);
});

test('a session that was in the midst of a message when its switch was killed ends', async () => {
  const command = await start();
  await using a = await TestGuest.connect({ path: socket('a'), ...limit });
  const request = encodeMessage(
    requestNumbers.GET_FEATURES,
    headerFlags.VERSION,
    new Uint8Array(0),
  );
  await settled(a);
  a.raw.bytes(request.subarray(0, 6));
  // What was asked in a later turn is answered after what came before.
  for (let turn = 0; turn < 2; turn++) await settled();
  await command.stop('SIGKILL');
  const next = await start();
  await next.said(
    'port a: a session that was kept has ended: the process before ended in the midst of a request',
  );
  await expect(a.receive()).rejects.toMatchObject({ code: 'DISCONNECTED' });
  await a.reconnect();
  await using b = await TestGuest.connect({ path: socket('b'), ...limit });
  await expectFrames(a, b);
});

test('a session that ends is kept no longer, and nothing of it', async () => {
  const command = await start();
  const [a, b] = await both();
  await expectFrames(a, b);
  expect(keptSessions()).toBe(2);
  await a.close();
  await manager.told('FDSTOREREMOVE=1');
  expect(keptSessions()).toBe(1);
  await b.close();
  await manager.told('FDSTOREREMOVE=1', 2);
  expect(keptSessions()).toBe(0);
  const count = () => readdirSync(`/proc/${command.pid}/fd`).length;
  const before = count();
  for (let round = 0; round < 3; round++) {
    const guests = await both();
    await expectFrames(...guests);
    for (const guest of guests) await guest.close();
    await manager.told('FDSTOREREMOVE=1', 4 + 2 * round);
  }
  await vi.waitFor(() => expect(count()).toBeLessThanOrEqual(before), 10_000);
});
