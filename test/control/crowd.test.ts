/**
 * A crowd at the control socket: thousands who want events, those who read none of theirs, bodies
 * that never end. Whoever is too much is told so, memory stays bounded, and two guests that pass
 * frames to each other all along lose none.
 */

import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ControlClient } from '../../src/control/client.ts';
import { eventReadersMax } from '../../src/control/event-feed.ts';
import { ControlServer } from '../../src/control/server.ts';
import { Neighbourhood } from '../support/bystanders.ts';
import { eventsIn, raw, readers } from './raw-client.ts';

const ofEvents = 'GET /v1/events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n';
const ofBody = 'PUT /v1/settings HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n{';

let neighbourhood: Neighbourhood;
let server: ControlServer;
let client: ControlClient;
let control: string;

beforeEach(async () => {
  neighbourhood = await Neighbourhood.open();
  control = join(dirname(neighbourhood.network.path(0)), 'control');
  server = ControlServer.listen(neighbourhood.network.vswitch, { path: control });
  client = await ControlClient.connect(control);
});

afterEach(async () => {
  client.close();
  server.close();
  // Throws if a frame was lost.
  await neighbourhood.close();
});

test('thousands who want events are served or told that there are too many', async () => {
  const served = await readers(control, eventReadersMax, ofEvents);
  await expect.poll(() => served.every(({ parts }) => parts.length > 0)).toBe(true);
  const answers = new Set<string>();
  for (let i = 0; i < 2000; i += 100) {
    const hundred = await readers(control, 100, ofEvents);
    await expect.poll(() => hundred.every(({ socket }) => socket.destroyed)).toBe(true);
    for (const { parts } of hundred) answers.add(parts.join('').slice(0, 12));
  }
  expect([...answers]).toEqual(['HTTP/1.1 503']);
  neighbourhood.network.vswitch.heal();
  await expect
    .poll(() => served.every(({ parts }) => eventsIn(parts).at(-1)?.type === 'healed'))
    .toBe(true);
  for (const { socket } of served) socket.destroy();
});

test('readers that stop reading cost no more than what each may leave unread', async () => {
  const { vswitch } = neighbourhood.network;
  const stalled = await readers(control, eventReadersMax, ofEvents);
  await expect.poll(() => stalled.every(({ parts }) => parts.length > 0)).toBe(true);
  for (const { socket } of stalled) socket.pause();
  const before = process.memoryUsage();
  const bytes = 20_000;
  const count = 2000;
  for (let i = 0; i < count; i++) {
    // Of a port of its own each, or most would be left out as too many of one.
    vswitch.emit('event', { type: 'listening', port: `${i}`, path: 'x'.repeat(bytes) });
    if (i % 50 === 49) await new Promise((resolve) => setTimeout(resolve, 25));
  }
  const after = process.memoryUsage();
  const grown = after.heapUsed + after.external - before.heapUsed - before.external;
  // All of it would be 2.5 GB; half a MiB a reader may wait, and the latest 1024 are kept.
  expect(grown).toBeLessThan((eventReadersMax * bytes * count) / 8);
  expect((await client.status()).ports).toHaveLength(4);
  for (const { socket } of stalled) socket.resume();
  const isTold = () =>
    stalled.every(({ parts }) => eventsIn(parts).some(({ type }) => type === 'events-lost'));
  await expect.poll(isTold).toBe(true);
  for (const { socket } of stalled) socket.destroy();
});

test('bodies that never end hold up nobody, and those who send them are told', async () => {
  const path = join(dirname(control), 'impatient');
  const other = ControlServer.listen(neighbourhood.network.vswitch, { path, bodyLimitMs: 500 });
  const slow = await readers(path, 200, ofBody);
  const drip = setInterval(() => {
    for (const { socket } of slow) if (socket.writable) socket.write(' ');
  }, 20);
  try {
    const { answer } = raw(
      path,
      'GET /v1/bridges HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n',
    );
    expect(await answer).toMatch(/^HTTP\/1\.1 200 /);
    await expect.poll(() => slow.every(({ parts }) => parts.length > 0)).toBe(true);
    const heads = new Set(slow.map(({ parts }) => parts.join('').slice(0, 12)));
    expect([...heads]).toEqual(['HTTP/1.1 408']);
    await expect.poll(() => slow.every(({ socket }) => socket.destroyed)).toBe(true);
  } finally {
    clearInterval(drip);
    other.close();
  }
});
