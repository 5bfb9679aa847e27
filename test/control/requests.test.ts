/**
 * Requests by whoever may open the control socket, in any number, order and shape: none of them
 * ends the process or holds it up, and what is refused is refused with a sentence.
 */

import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ControlClient } from '../../src/control/client.ts';
import { connectionsMax, waitingMax } from '../../src/control/connections.ts';
import { ControlServer } from '../../src/control/server.ts';
import type { Switch } from '../../src/index.ts';
import { ask, raw, readers, reading, refusal } from './raw-client.ts';
import { serveSwitch } from './served-switch.ts';

let folder: string;
let control: string;
let vswitch: Switch;
let client: ControlClient;
let close: () => void;

beforeEach(async () => {
  ({ folder, control, vswitch, client, close } = await serveSwitch());
});

afterEach(() => close());

describe('a key that nobody knows is refused with its name', () => {
  const link = { from: 'a', to: 'b' };
  test.each<[string, unknown, string, string]>([
    [
      '/v1/ports',
      { path: '/x', banana: 1 },
      '400 CONTROL_BAD_REQUEST',
      'banana: there is no such key; there are path, name',
    ],
    [
      '/v1/ports',
      { path: '/x', nmae: 'a' },
      '400 CONTROL_BAD_REQUEST',
      'nmae: there is no such key; did you mean name?',
    ],
    [
      '/v1/ports',
      { path: '/x', 'a\nb': 1 },
      '400 CONTROL_BAD_REQUEST',
      'a\\u{a}b: there is no such key;',
    ],
    ['/v1/workers', { cpus: 1 }, '400 BAD_OPTION', 'cpus: there is no such key; did you mean cpu?'],
    [
      '/v1/network',
      { heal: true, partition: [['a'], ['b']] },
      '400 BAD_OPTION',
      'heal: there is no such key;',
    ],
    ['/v1/network', { heal: true, banana: 1 }, '400 BAD_OPTION', 'banana: there is no such key;'],
    [
      '/v1/network',
      { partition: [['a'], ['b']], impairment: {} },
      '400 BAD_OPTION',
      'impairment: there is no such key;',
    ],
    [
      '/v1/network',
      { link, impairment: {}, atMs: 5 },
      '400 BAD_OPTION',
      'atMs: there is no such key;',
    ],
    [
      '/v1/network',
      { link, impairment: {}, partition: 'x' },
      '400 BAD_OPTION',
      'partition: there is no such key;',
    ],
    [
      '/v1/network',
      { link: { ...link, form: 'a' }, impairment: {} },
      '400 BAD_OPTION',
      'link.form: there is no such key; did you mean from?',
    ],
    [
      '/v1/network',
      { link, impairment: { los: 1 } },
      '400 BAD_OPTION',
      'impairment.los: there is no such key; did you mean loss?',
    ],
    [
      '/v1/network',
      { heel: true },
      '400 BAD_OPTION',
      'heel: there is no such key; did you mean heal?',
    ],
  ])('%s of %j', async (path, body, expected, sentence) => {
    for (const name of ['a', 'b']) vswitch.addPort({ process: name });
    let changes = 0;
    vswitch.on('event', () => changes++);
    const asked = ask(control, 'POST', path, JSON.stringify(body));
    expect(await refusal(asked)).toBe(expected);
    expect(JSON.parse((await asked).text).error).toContain(sentence);
    expect(changes).toBe(0);
    expect(vswitch.workers).toHaveLength(1);
  });
});

describe('no request ends the process', () => {
  const ofEvents = 'GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n';
  const ofCapture = 'GET /v1/capture HTTP/1.1\r\nHost: x\r\n\r\n';
  const ofStatus = 'GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n';
  const ofLast = 'GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n';

  test.each([
    ['events and a capture', ofEvents + ofCapture],
    ['a capture and events', ofCapture + ofEvents],
    ['captures', ofCapture.repeat(3)],
    ['events', ofEvents.repeat(3)],
    ['a status and a capture', ofStatus + ofCapture],
  ])('%s in one write', async (_, bytes) => {
    const { socket, parts } = reading(control, bytes);
    await expect.poll(() => parts.length).toBeGreaterThan(0);
    expect((await client.status()).ports).toEqual([]);
    socket.destroy();
    expect((await client.status()).ports).toEqual([]);
  });

  test('requests of one write are answered in their order, also behind one with a body', async () => {
    const body = JSON.stringify({ path: join(folder, 'web1.sock') });
    const length = `Host: x\r\nContent-Length: ${body.length}\r\n\r\n`;
    const add = `POST /v1/ports HTTP/1.1\r\n${length}${body}`;
    const { socket, parts } = reading(control, ofStatus + add + ofStatus + ofCapture);
    await expect.poll(() => parts.join('')).toContain('application/x-pcapng');
    const statuses = Array.from(parts.join('').matchAll(/^HTTP\/1\.1 (\d+)/gm), ([, code]) => code);
    expect(statuses).toEqual(['200', '201', '200', '200']);
    socket.destroy();
  });

  test('one that fails as none should is a 500, and told to whoever runs the switch', async () => {
    const said: string[] = [];
    const path = join(folder, 'other');
    const onUnexpected = (error: unknown, what: string) => said.push(`${what}: ${error}`);
    const other = ControlServer.listen(vswitch, { path, onUnexpected });
    // There is no known way to bring this about.
    Object.defineProperty(vswitch, 'bridges', {
      get: () => {
        throw new TypeError('a mistake');
      },
    });
    const both = await Promise.all([
      refusal(ask(path, 'GET', '/v1/fdb')),
      refusal(ask(path, 'POST', '/v1/ports', JSON.stringify({ path: join(folder, 'web1.sock') }))),
    ]);
    expect(both).toEqual(['500 UNEXPECTED', '500 UNEXPECTED']);
    expect(said.sort()).toEqual([
      'GET /v1/fdb: TypeError: a mistake',
      'POST /v1/ports: TypeError: a mistake',
    ]);
    other.close();
  });

  test('two thousand in one write wait for their turns, and are refused beyond some', async () => {
    const { socket, parts } = reading(control, ofStatus.repeat(2000));
    const answers = () =>
      Array.from(parts.join('').matchAll(/^HTTP\/1\.1 (\d+)/gm), ([, code]) => code);
    let turns = 0;
    const ended = new Promise((resolve) => socket.once('close', resolve));
    const count = () => {
      turns++;
      if (!socket.destroyed && turns < 1_000_000) setImmediate(count);
    };
    count();
    await ended;
    // One is served before any waits.
    expect(answers()).toEqual([...Array(waitingMax + 1).fill('200'), '429']);
    expect(turns).toBeGreaterThan(waitingMax);
    expect((await client.status()).ports).toEqual([]);
  });

  test('more connections than there may be push out those that are idle', async () => {
    const idle = await readers(control, connectionsMax + 50, '');
    expect((await client.status()).ports).toEqual([]);
    for (const { socket } of idle) socket.destroy();
  });

  test('more connections than there may be, all of them busy, are told so', async () => {
    const head = 'POST /v1/ports HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n';
    const busy = await readers(control, connectionsMax, `${head}Content-Length: 100\r\n\r\n`);
    // Each is told to go on once its request is being served.
    await expect.poll(() => busy.every(({ parts }) => parts.length > 0)).toBe(true);
    expect(await raw(control, ofStatus).answer).toMatch(/^HTTP\/1\.1 503 /);
    const [, body] = (await raw(control, ofStatus).answer).split('\r\n\r\n');
    expect(JSON.parse(body!).code).toBe('CONTROL_BUSY');
    for (const { socket } of busy) socket.destroy();
    await expect
      .poll(async () => (await raw(control, ofLast).answer).slice(0, 12))
      .toBe('HTTP/1.1 200');
  });

  test('more captures than there may be are told so', async () => {
    const running = await readers(control, 16, ofCapture);
    await expect.poll(() => running.every(({ parts }) => parts.length > 0)).toBe(true);
    expect(await refusal(ask(control, 'GET', '/v1/capture'))).toBe('503 CONTROL_BUSY');
    for (const { socket } of running) socket.destroy();
    const { socket, parts } = reading(control, '');
    await expect
      .poll(() => {
        socket.write(ofCapture);
        return parts.join('').includes('x-pcapng');
      })
      .toBe(true);
    socket.destroy();
  });
});
