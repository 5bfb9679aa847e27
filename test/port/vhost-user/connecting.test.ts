/**
 * Ports that connect to a frontend which listens, as QEMU does with server=on in its chardev and
 * DPDK's virtio-user with server=1.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Switch, type SwitchEvent } from '../../../src/index.ts';
import { FdListener } from '../../../src/native/fd-socket.ts';
import { TestGuest } from '../../../src/testing/index.ts';
import { Command } from '../../support/command.ts';
import { frameBetween, numberOf } from '../../support/ethernet.ts';

/** How far apart two attempts are, by src/port/vhost-user/connecting.ts. */
const retryMs = 200;

let folder: string;
let vswitch: Switch;
let events: SwitchEvent[];
let open: { close(): unknown }[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'connecting-'));
  vswitch = Switch.open();
  events = [];
  open = [];
  vswitch.on('event', (event) => events.push(event));
});

afterEach(async () => {
  for (const each of open) await each.close();
  vswitch.close();
  rmSync(folder, { recursive: true });
});

function path(name: string): string {
  return join(folder, `${name}.sock`);
}

function waitingEvents(port: string): SwitchEvent[] {
  return events.filter((event) => event.type === 'waiting' && event.port === port);
}

async function listen(name: string): Promise<TestGuest> {
  const guest = await TestGuest.listen({ path: path(name), timeoutMs: 60_000 });
  open.push(guest);
  return guest;
}

/** Listens and drops every connection; counts them. */
function dropConnections(name: string): { count: number } {
  const listener = FdListener.listen(path(name));
  open.push(listener);
  const dropped = { count: 0 };
  listener.onConnection(
    (socket) => {
      dropped.count++;
      socket.close();
    },
    (error) => expect.fail(error.message),
  );
  return dropped;
}

const reaches = (dropped: { count: number }, count: number) =>
  expect.poll(() => dropped.count).toBeGreaterThanOrEqual(count);

async function expectDelivery(from: TestGuest, to: TestGuest, number: number): Promise<void> {
  await from.send(frameBetween(0, 1, number));
  expect(numberOf(await to.receive())).toBe(number);
}

test('a port that waits says so once, and connects at its next attempt when its frontend listens', async () => {
  for (const name of ['a', 'b']) vswitch.addPort({ connect: path(name) });
  vswitch.addPort({ connect: path('fence') });
  // Attempts of a third port are the clock: three of them mean two of the others at least.
  const fence = dropConnections('fence');
  await reaches(fence, 3);
  const before = fence.count;
  const attempts: number[] = [];
  vswitch.on('event', ({ type, port }) => {
    if (type === 'frontend-connected' && port !== 'fence') attempts.push(fence.count - before);
  });
  const [a, b] = await Promise.all([listen('a'), listen('b')]);
  expect(attempts).toHaveLength(2);
  expect(Math.max(...attempts)).toBeLessThanOrEqual(2);
  await expectDelivery(a, b, 1);
  await expectDelivery(b, a, 2);
  expect(waitingEvents('a')).toEqual([
    {
      type: 'waiting',
      port: 'a',
      code: 'FRONTEND_AWAITED',
      fault: 'frontend-awaited',
      parameters: { path: expect.stringMatching(/a\.sock$/), cause: expect.any(String) },
      sentence: expect.stringMatching(/^port a: waiting for a frontend to listen on .*a\.sock \(/),
    },
  ]);
  expect(vswitch.ports[0]).toMatchObject({ frontendPid: process.pid });
});

test('a frontend that goes and comes back is served again', async () => {
  for (const name of ['a', 'b']) vswitch.addPort({ connect: path(name) });
  const [a, b] = await Promise.all([listen('a'), listen('b')]);
  await expectDelivery(a, b, 1);
  await a.close();
  const again = await listen('a');
  await expectDelivery(again, b, 2);
  expect(waitingEvents('b').length).toBeLessThanOrEqual(1);
});

test('a frontend that drops every connection is tried at a steady pace', async () => {
  const startedAtMs = performance.now();
  vswitch.addPort({ connect: path('a') });
  const attempts = 4;
  await reaches(dropConnections('a'), attempts);
  // Timers of Node may fire a millisecond early.
  expect(performance.now() - startedAtMs).toBeGreaterThan((attempts - 1) * (retryMs - 2));
});

test('a closed port tries no more', async () => {
  const port = vswitch.addPort({ connect: path('a') });
  vswitch.addPort({ connect: path('fence') });
  vswitch.removePort(port);
  const dropped = dropConnections('a');
  await reaches(dropConnections('fence'), 3);
  expect(dropped.count).toBe(0);
});

test('a path that cannot be, or is taken by another port, is refused', () => {
  const long = `/${'x'.repeat(107)}`;
  expect(() => vswitch.addPort({ connect: long })).toThrow(
    expect.objectContaining({ code: 'SOCKET_PATH_TOO_LONG' }),
  );
  vswitch.addPort({ path: path('a') });
  expect(() => vswitch.addPort({ connect: path('a') })).toThrow(
    expect.objectContaining({ code: 'SOCKET_DUPLICATE' }),
  );
  expect(vswitch.ports.length).toBe(1);
});

test('tsvswitch --connect joins guests that listen with those that connect', async () => {
  const command = await Command.start([path('a')], ['--connect', path('b')]);
  const [a, b] = await Promise.all([TestGuest.connect({ path: path('a') }), listen('b')]);
  open.push(a);
  await expectDelivery(a, b, 1);
  expect(await command.stop()).toMatchObject({ status: 0 });
});

test('tsvswitch without any port is wrong usage', async () => {
  const { status, stderr } = await Command.run([]);
  expect(status).toBe(2);
  expect(stderr).toContain('--connect');
});
