/** GET /v1/events: what it tells, how much of it, and to how many. */

import { afterEach, beforeEach, expect, test } from 'vitest';
import type { ControlClient } from '../../src/control/client.ts';
import { eventReadersMax } from '../../src/control/event-feed.ts';
import type { Switch } from '../../src/index.ts';
import { told } from '../../src/model/faults/table.ts';
import { ask, eventsIn, readers, reading, refusal } from './raw-client.ts';
import { serveSwitch } from './served-switch.ts';

/** On a machine with other things to do. */
const patience = { timeout: 30_000 };

let control: string;
let vswitch: Switch;
let client: ControlClient;
let close: () => void;

beforeEach(async () => {
  ({ control, vswitch, client, close } = await serveSwitch());
});

afterEach(() => close());

test('events that nobody reads are left out and counted', async () => {
  const { socket, parts } = reading(control, 'GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n');
  await expect.poll(() => vswitch.listenerCount('event')).toBe(2);
  socket.pause();
  const sent = 2000;
  for (let i = 0; i < sent; i++) {
    vswitch.emit('event', { type: 'listening', port: `${i}`, path: 'x'.repeat(10_000) });
    if (i % 100 === 99) await new Promise((resolve) => setTimeout(resolve, 25));
  }
  socket.resume();
  await expect.poll(() => eventsIn(parts).some(({ type }) => type === 'events-lost')).toBe(true);
  vswitch.emit('event', { type: 'healed' });
  await expect.poll(() => eventsIn(parts).at(-1)?.type).toBe('healed');
  const told = eventsIn(parts);
  const lost = told.flatMap((event) => (event.type === 'events-lost' ? event.count : []));
  expect(told.filter(({ type }) => type === 'listening').length).toBeLessThan(sent / 2);
  expect(told.length - lost.length - 1 + lost.reduce((sum, count) => sum + count)).toBe(sent);
  socket.destroy();
});

test('events of one kind that a peer causes push out no others', async () => {
  const { socket, parts } = reading(control, 'GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n');
  await expect.poll(() => vswitch.listenerCount('event')).toBe(2);
  const refused = told('port-taken', { pid: 1, present: 2 });
  const knock = { type: 'frontend-refused', port: 'a', ...refused } as const;
  for (let i = 0; i < 10_000; i++) vswitch.emit('event', knock);
  vswitch.emit('event', { ...knock, port: 'b' });
  vswitch.emit('event', { type: 'healed' });
  await expect.poll(() => eventsIn(parts).at(-1)?.type, patience).toBe('events-lost');
  const events = eventsIn(parts);
  expect(events.slice(0, 256)).toEqual(Array(256).fill(knock));
  expect(events.slice(256)).toEqual([
    { ...knock, port: 'b' },
    { type: 'healed' },
    { type: 'events-lost', port: 'a', of: 'frontend-refused', count: 10_000 - 256 },
  ]);
  socket.destroy();
});

test('events have as many readers as there may be, one listener for all, and a sentence for more', async () => {
  const warnings: Error[] = [];
  const onWarning = (warning: Error) => warnings.push(warning);
  process.on('warning', onWarning);
  const ofEvents = 'GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n';
  const all = await readers(control, eventReadersMax, ofEvents);
  await expect.poll(() => all.every(({ parts }) => parts.length > 0)).toBe(true);
  expect(vswitch.listenerCount('event')).toBe(2);
  expect(await refusal(ask(control, 'GET', '/v1/events'))).toBe('503 CONTROL_BUSY');
  vswitch.emit('event', { type: 'healed' });
  for (const { parts } of all)
    await expect.poll(() => eventsIn(parts)).toEqual([{ type: 'healed' }]);
  // One that leaves makes room for another.
  all[0]!.socket.destroy();
  const [late] = await readers(control, 1, ofEvents);
  await expect
    .poll(() => {
      if (late!.parts.join('').includes('application/jsonl')) return true;
      late!.socket.write(ofEvents);
      return false;
    })
    .toBe(true);
  for (const { socket } of [...all, late!]) socket.destroy();
  await expect.poll(() => vswitch.listenerCount('event')).toBe(1);
  process.off('warning', onWarning);
  expect(warnings).toEqual([]);
});

test('events tell what the operator does', async () => {
  const stream = client.events();
  const first = stream.next();
  await expect.poll(() => vswitch.listenerCount('event')).toBe(2);
  const [a, b] = ['a', 'b'].map((name) => vswitch.addPort({ process: name }));
  await client.addWorker();
  await client.change({ link: { from: 'a', to: 'b' }, impairment: { loss: 1 } });
  vswitch.impair({ port: a! }, {});
  await client.change({ partition: [['a'], ['b']] });
  vswitch.heal();
  await client.removePort(b!.name);
  const told = [(await first).value];
  while (told.length < 6) told.push((await stream.next()).value);
  expect(told).toEqual([
    { type: 'worker-added', worker: { number: 1, transmitqs: expect.any(Number) } },
    { type: 'link-impaired', link: { from: 'a', to: 'b' }, impairment: { loss: 1 } },
    { type: 'link-mended', link: { port: 'a' } },
    { type: 'partitioned', sides: [['a'], ['b']] },
    { type: 'healed' },
    { type: 'port-removed', port: 'b' },
  ]);
  await stream.return(undefined);
});
