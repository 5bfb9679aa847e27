/** Settings over the control socket: read, planned and applied, and refused with the path. */

import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ControlClient } from '../../src/control/client.ts';
import { SettingsError, type Switch } from '../../src/index.ts';
import { ask, raw } from './raw-client.ts';
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

test('are the document of the switch, which can be changed and applied', async () => {
  vswitch.addPort({ path: join(folder, 'a.sock'), allow: [0] });
  const settings = await client.settings();
  expect(settings).toEqual(vswitch.settings);
  expect(await client.apply(settings)).toEqual([]);
  settings.ports.b = { ...settings.ports.a!, path: join(folder, 'b.sock') } as never;
  delete settings.ports.a;
  const changes = [
    { disturbs: 'port', type: 'port-removed', port: 'a' },
    { disturbs: 'nobody', type: 'port-added', port: 'b', to: settings.ports.b },
  ];
  expect(await client.apply(settings, { dryRun: true })).toEqual(changes);
  expect(vswitch.ports.map(({ name }) => name)).toEqual(['a']);
  expect(await client.apply(settings)).toEqual(changes);
  expect(vswitch.settings).toEqual(settings);
});

test('of a thousand ports are one request', async () => {
  const ports = Object.fromEntries(
    Array.from({ length: 1000 }, (_, index) => [`p${index}`, { kind: 'process' as const }]),
  );
  expect(await client.apply({ ports })).toHaveLength(1000);
  expect(Object.keys((await client.settings()).ports)).toHaveLength(1000);
});

describe('have a tag, which another change of them makes another', () => {
  const headOf = async (request: string) => {
    const { answer } = raw(control, `${request}\r\nhost: x\r\nconnection: close\r\n\r\n`);
    return await answer;
  };
  const tag = async () =>
    /^etag: ("\S+")\r$/im.exec(await headOf('GET /v1/settings HTTP/1.1'))![1]!;
  const put = async (match: string, workers: number) => {
    const body = JSON.stringify({ ...vswitch.settings, workers });
    const head = ['PUT /v1/settings HTTP/1.1', `if-match: ${match}`];
    const { answer } = raw(
      control,
      `${[...head, 'host: x', 'connection: close', `content-length: ${body.length}`].join('\r\n')}` +
        `\r\n\r\n${body}`,
    );
    return (await answer).split('\r\n', 1)[0];
  };

  test('which is what If-Match is held against', async () => {
    const first = await tag();
    expect(await tag()).toBe(first);
    expect(await put(first, 2)).toMatch(/200/);
    expect(await tag()).not.toBe(first);
    expect(await put(first, 3)).toMatch(/412/);
    expect(await put('"nonsense"', 3)).toMatch(/412/);
    expect(vswitch.workers).toHaveLength(2);
    expect(await put(`${first}, ${await tag()}`, 3)).toMatch(/200/);
    expect(await put('*', 1)).toMatch(/200/);
    expect(vswitch.workers).toHaveLength(1);
    await client.apply({ ...vswitch.settings, workers: 2 });
    await client.apply({ ...vswitch.settings, workers: 1 });
    expect(await tag()).toBe(first);
  });

  test('and edit() overwrites nothing', async () => {
    await client.edit((settings) => {
      settings.idleUs = 70;
    });
    expect(vswitch.settings.idleUs).toBe(70);
    const edited = client.edit((settings) => {
      vswitch.apply({ ...vswitch.settings, workers: 2 });
      settings.idleUs = 80;
    });
    await expect(edited).rejects.toMatchObject({ code: 'SETTINGS_CHANGED' });
    expect(vswitch.settings).toMatchObject({ workers: 2, idleUs: 70 });
    const failed = client.edit(() => Promise.reject(new Error('no')));
    await expect(failed).rejects.toThrow('no');
  });
});

describe('that do not fit are refused, with the path to each thing that is wrong:', () => {
  test.each(['', '?dry-run'])('PUT /v1/settings%s', async (query) => {
    const before = vswitch.settings;
    const settings = { workers: 0, ports: { web1: { path: '/run/web1', mtu: 5 } } };
    const error = await client.apply(settings, { dryRun: query !== '' }).catch((thrown) => thrown);
    expect(error).toBeInstanceOf(SettingsError);
    expect(error).toMatchObject({
      code: 'BAD_OPTION',
      message: 'workers: must be at least 1, not 0; ports.web1.mtu: must be at least 68, not 5',
      findings: [{ path: ['workers'] }, { path: ['ports', 'web1', 'mtu'], part: 'value' }],
    });
    expect(vswitch.settings).toEqual(before);
  });

  test('and what the machine has not as everywhere', async () => {
    const ports = { a: { path: join(folder, 'gone', 'a') } };
    await expect(client.apply({ ports })).rejects.toMatchObject({ code: 'SOCKET_FOLDER_MISSING' });
    await expect(client.apply({ workers: 3000 })).rejects.toMatchObject({ code: 'BAD_OPTION' });
    expect(vswitch.ports).toEqual([]);
  });

  test.each([
    ['?dryrun', /there is no dryrun behind a question mark; there is dry-run/],
    ['?dry-run=1', /there is no dry-run=1 behind/],
  ])('a query %s that is none changes nothing', async (query, sentence) => {
    const { status, text } = await ask(control, 'PUT', `/v1/settings${query}`, '{"workers":2}');
    expect(status).toBe(400);
    expect(text).toMatch(sentence);
    expect(vswitch.workers).toHaveLength(1);
  });

  test.each([
    ['lists', '['.repeat(2 ** 20)],
    ['mappings', '{"ports":'.repeat(2 ** 18)],
    ['what looks like the end of a text', `["\\"${'"],['.repeat(100)}`],
  ])('%s in each other, deeper than anybody writes them', async (_, body) => {
    const { status, text } = await ask(control, 'PUT', '/v1/settings', body);
    expect(status).toBe(400);
    expect(text).toMatch(/the body (has lists or mappings in more than 32 others|is not JSON)/);
  });

  test.each([
    ['keys', (i: number) => `"key${i}":${i}`, '{', '}'],
    ['ports', (i: number) => `"p${i}":{"kind":"process"}`, '{"ports":{', '}}'],
    ['entries', () => '1', '{"links":[', ']}'],
  ])('more %s than any switch has are refused before they are looked at', async (...values) => {
    const [, item, begin, end] = values;
    const body = begin + Array.from({ length: 100_000 }, (_, i) => item(i)).join(',') + end;
    const { status, text } = await ask(control, 'PUT', '/v1/settings', body);
    expect({ status, error: JSON.parse(text).fault }).toEqual({
      status: 413,
      error: 'body-too-many',
    });
    expect(vswitch.ports).toEqual([]);
  });

  test('as many ports as a switch may have are settings, with all that can be said of each', async () => {
    const source = { macs: ['52:54:00:00:00:01'], addresses: ['10.0.0.0/24', 'fe80::/64'] };
    const all = { mode: '660', group: 0, allow: [0, ':0'], source, mtu: 9000, bridge: 'blue' };
    const port = (i: number) => ({
      path: join(folder, `${i}`),
      ...all,
      ringReset: true,
      inBand: true,
    });
    const ports = Object.fromEntries(
      Array.from({ length: 1024 }, (_, i) => [`port ${i}`, port(i)]),
    );
    const changes = await client.apply({ ports }, { dryRun: true });
    expect(changes.length).toBeGreaterThanOrEqual(1024);
  });

  test('brackets in texts are texts', async () => {
    const body = JSON.stringify({ ports: { [`"\\${'['.repeat(100)}`]: { kind: 'process' } } });
    expect((await ask(control, 'PUT', '/v1/settings', body)).status).toBe(200);
  });

  test('more mistakes than anybody reads are told of the first, and of their number', async () => {
    const keys = Array.from({ length: 900 }, (_, i) => [`key${i}`, i]);
    const body = JSON.stringify(Object.fromEntries(keys));
    const { error, findings } = JSON.parse((await ask(control, 'PUT', '/v1/settings', body)).text);
    expect(findings).toHaveLength(32);
    expect(error).toMatch(/; 868 more$/);
  });
});
