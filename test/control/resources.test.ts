/** What can be read one by one: ports, bridges, workers, and the document of the API. */

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ControlClient, RefusedError } from '../../src/control/client.ts';
import { ControlServer } from '../../src/control/server.ts';
import { Switch } from '../../src/index.ts';
import { ask, raw, refusal } from './raw-client.ts';

let folder: string;
let control: string;
let vswitch: Switch;
let server: ControlServer;
let client: ControlClient;

const json = async (path: string) => JSON.parse((await ask(control, 'GET', path)).text);

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'control-'));
  control = join(folder, 'control');
  vswitch = Switch.open();
  vswitch.addPort({ process: 'a' });
  vswitch.addPort({ path: join(folder, 'b.sock'), name: 'b/ä %', bridge: 'blue' });
  server = ControlServer.listen(vswitch, { path: control, bodyLimitMs: 50 });
  client = await ControlClient.connect(control);
});

afterEach(() => {
  client.close();
  server.close();
  vswitch.close();
  rmSync(folder, { recursive: true });
});

test('ports are those of the status, all and one by one, whatever they are called', async () => {
  const { ports } = await client.status();
  expect(await client.ports()).toEqual(ports);
  expect(await json('/v1/ports')).toEqual(ports);
  for (const port of ports) {
    expect(await client.port(port.name)).toEqual(port);
    expect(await json(`/v1/ports/${encodeURIComponent(port.name)}`)).toEqual(port);
  }
});

test('bridges have the names of their ports', async () => {
  const [one, other] = await client.bridges();
  expect(one).toEqual({ name: 'default', ports: ['a'], addresses: 0 });
  expect(other).toEqual({ name: 'blue', ports: ['b/ä %'], addresses: 0 });
  expect(await client.bridge('blue')).toEqual(other);
  expect(await json('/v1/bridges')).toEqual([one, other]);
  expect(await json('/v1/bridges/default')).toEqual(one);
});

test('workers are those of the status', async () => {
  await client.addWorker();
  expect(await client.workers()).toEqual((await client.status()).workers);
  expect(await json('/v1/workers')).toEqual(vswitch.workers);
});

test('the document of the API is the one that is shipped', async () => {
  expect(await json('/v1/openapi.json')).toEqual(JSON.parse(readFileSync('openapi.json', 'utf8')));
});

test.each([
  ['GET', '/v1/ports/c', '404 NO_SUCH_PORT'],
  ['DELETE', '/v1/ports/c', '404 NO_SUCH_PORT'],
  ['GET', '/v1/ports/%', '404 NO_SUCH_PORT'],
  ['GET', '/v1/ports/__proto__', '404 NO_SUCH_PORT'],
  ['GET', '/v1/bridges/green', '404 NO_SUCH_BRIDGE'],
  ['GET', '/v1/capture/c', '404 NO_SUCH_PORT'],
])('%s %s names what is not there, and what is', async (method, path, expected) => {
  const asked = ask(control, method, path);
  expect(await refusal(asked)).toBe(expected);
  expect(JSON.parse((await asked).text).error).toMatch(/^there is no .*; there are .+/);
});

test('a client that is refused learns of every field that is why', async () => {
  const body = { path: 'a', source: { macs: ['x'] }, mtu: 1 };
  const error = await client.addPort(body).catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(RefusedError);
  expect((error as RefusedError).findings.map(({ path }) => path)).toEqual([
    ['path'],
    ['source', 'macs', '0'],
    ['mtu'],
  ]);
});

test('a body with more mistakes than anybody reads is told of the first, and of their number', async () => {
  const keys = Array.from({ length: 1000 }, (_, i) => [`key${i}`, i]);
  const body = JSON.stringify({ path: '/x', ...Object.fromEntries(keys) });
  const { error, findings } = JSON.parse((await ask(control, 'POST', '/v1/ports', body)).text);
  expect(findings).toHaveLength(32);
  expect(error).toMatch(/; 968 more$/);
});

test('a body that does not come is a 408, and the end of its connection', async () => {
  const head = 'POST /v1/ports HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"path"';
  const answer = await raw(control, head).answer;
  expect(answer).toMatch(/^HTTP\/1\.1 408 /);
  expect(JSON.parse(/^{.*}$/m.exec(answer)![0]).code).toBe('CONTROL_TIMEOUT');
  expect(vswitch.ports).toHaveLength(2);
});
