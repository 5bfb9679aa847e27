/**
 * The control socket: what it answers, whom it lets in, and that no request, however odd, costs
 * more than a sentence.
 */

import {
  existsSync,
  mkdtempSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ControlClient } from '../../src/control/client.ts';
import type { MachinePortStatus } from '../../src/control/protocol.ts';
import { ControlServer } from '../../src/control/server.ts';
import { Switch, type SwitchEvent } from '../../src/index.ts';
import { TestGuest } from '../../src/testing/index.ts';
import { ethernetFrame, macOf } from '../support/ethernet.ts';
import { ask as askAt, raw as rawAt, refusal } from './raw-client.ts';

let folder: string;
let vswitch: Switch;
let server: ControlServer;
let client: ControlClient;

const at = (name: string) => join(folder, name);

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'control-'));
  vswitch = Switch.open();
  server = ControlServer.listen(vswitch, { path: at('control'), portSockets: { mode: 0o640 } });
  client = await ControlClient.connect(at('control'));
});

afterEach(() => {
  client.close();
  server.close();
  vswitch.close();
  rmSync(folder, { recursive: true });
});

/** What would read like another line, end the name early, or show nothing. */
const strangeNames = [
  ...['a\u2028b', 'a\u2029b', 'a\u00a0b', 'a\u3000b', 'a\tb', 'a\u202eb', 'a\u200bb', 'a\u3164b'],
  ...['a\u2800b', 'a\ufeffb', '\ud800', ' a', 'a ', ' ', 'a: listening on /b', 'x'.repeat(129)],
];

/** For which String() throws. */
const textless = { toString: 1, valueOf: 1 };

const ask = (method: string, path: string, body?: string | Buffer) =>
  askAt(at('control'), method, path, body);
const raw = (bytes: string) => rawAt(at('control'), bytes);

/** The first port, which is a machine's. */
async function firstPort(): Promise<MachinePortStatus> {
  const [port] = (await client.status()).ports;
  if (port?.kind !== 'vhost-user') throw new Error(`the first port is ${port?.kind}`);
  return port;
}

describe('status', () => {
  test('of a switch without ports says which one it is', async () => {
    const status = await client.status();
    expect(status).toMatchObject({ pid: process.pid, ports: [] });
    expect(status.version).toMatch(/^\d+\.\d+\.\d+/);
    expect(status.uptimeSeconds).toBeGreaterThanOrEqual(0);
  });

  test('of a port nobody has connected to is where it listens, and zeros', async () => {
    vswitch.addPort({ path: at('web1.sock') });
    const [port] = (await client.status()).ports;
    expect(port).toMatchObject({
      name: 'web1',
      kind: 'vhost-user',
      path: at('web1.sock'),
      listener: 'switch',
      macs: [],
    });
    for (const key of ['frontend', 'session', 'lastEnd', 'waiting', 'socketLost']) {
      expect(port).not.toHaveProperty(key);
    }
    expect(port!.counters.fromGuest.frames).toBe(0);
  });

  test('of a connected port is what was agreed, shared, started, offered and learned', async () => {
    vswitch.addPort({ path: at('web1.sock') });
    vswitch.addPort({ path: at('web2.sock') });
    await using one = await TestGuest.connect({ path: at('web1.sock'), receiveBuffers: 100 });
    await using other = await TestGuest.connect({ path: at('web2.sock') });
    const learned = new Promise((resolve) => vswitch.once('mac-learned', resolve));
    await one.send(ethernetFrame({ from: macOf(1), to: macOf(2) }));
    await one.flush();
    await other.receive();
    await learned;
    const port = await firstPort();
    const mac = (await client.fdb())[0]?.mac;
    expect(await client.fdb()).toEqual([
      { mac, port: 'web1', bridge: 'default', ageSeconds: expect.any(Number) },
    ]);
    expect(port.macs).toEqual([mac]);
    expect(port.frontend).toMatchObject({
      pid: process.pid,
      memory: { regions: 1, bytes: 8 << 20 },
    });
    expect(port.frontend!.features).toContain('VIRTIO_F_VERSION_1');
    expect(port.frontend!.rings).toEqual([
      { queue: 0, enabled: true, base: 0, state: 'started', offered: 100 },
      { queue: 1, enabled: true, base: 1, state: 'started', offered: 0 },
    ]);
    expect(port.session).toMatchObject({ framesFromGuest: 1, framesToGuest: 0, macsLost: [] });
    expect(port.counters.fromGuest).toMatchObject({ frames: 1 });
  });

  test('of a port of this process is what it counted', async () => {
    vswitch.addPort({ process: 'probe', bridge: 'lab' });
    const [port] = (await client.status()).ports;
    const { counters, ...rest } = port!;
    expect(rest).toEqual({ name: 'probe', kind: 'host', bridge: 'lab', macs: [] });
    expect(counters.fromGuest.frames).toBe(0);
  });

  test('counts a session from its own beginning', async () => {
    vswitch.addPort({ path: at('web1.sock') });
    for (const frames of [3, 1]) {
      const left = new Promise((resolve) => vswitch.once('frontend-left', resolve));
      const guest = await TestGuest.connect({ path: at('web1.sock') });
      for (let i = 0; i < frames; i++) {
        await guest.send(ethernetFrame({ from: macOf(1), to: macOf(2) }));
      }
      await guest.flush();
      const port = await firstPort();
      expect(port.session).toMatchObject({
        framesFromGuest: frames,
        drops: { noDestination: frames },
      });
      await guest.close();
      await left;
    }
    const port = await firstPort();
    expect(port.counters.fromGuest.frames).toBe(4);
    expect(port.lastEnd).toMatchObject({ kind: 'frontend-left' });
    expect(port).not.toHaveProperty('session');
  });
});

describe('ports', () => {
  test('can be added and removed, and get the permissions of the others', async () => {
    const added = await client.addPort({ path: at('web1.sock') });
    expect(added).toMatchObject({ name: 'web1', path: at('web1.sock') });
    expect(statSync(at('web1.sock')).mode & 0o777).toBe(0o640);
    await client.addPort({ name: 'dialling', connect: at('machine.sock') });
    expect(vswitch.ports.map(({ name }) => name)).toEqual(['web1', 'dialling']);
    await client.removePort('web1');
    await client.removePort('dialling');
    expect(vswitch.ports).toEqual([]);
    expect(existsSync(at('web1.sock'))).toBe(false);
  });

  test('can be given a name, a bridge, permissions and a group', async () => {
    const group = process.getgid!();
    const path = at('web1.sock');
    const added = await client.addPort({
      name: 'a name/with a slash',
      bridge: 'lab',
      path,
      mode: '600',
      group,
    });
    expect(added.bridge).toBe('lab');
    expect(statSync(path).mode & 0o777).toBe(0o600);
    await client.removePort('a name/with a slash');
    expect(vswitch.ports).toEqual([]);
  });

  test('that were added carry frames, and lose their machine when they are removed', async () => {
    await client.addPort({ path: at('web1.sock') });
    await client.addPort({ path: at('web2.sock') });
    await using one = await TestGuest.connect({ path: at('web1.sock') });
    await using other = await TestGuest.connect({ path: at('web2.sock') });
    await one.send(ethernetFrame({ from: macOf(1), to: macOf(2) }));
    await other.receive();
    await client.removePort('web1');
    await expect.poll(() => one.frontend.end?.code).toBe('DISCONNECTED');
    expect((await client.status()).ports.map(({ name }) => name)).toEqual(['web2']);
  });

  test.each([
    ['over this socket', () => client.removePort('web')],
    ['by the program itself', () => vswitch.removePort(vswitch.port('web')!)],
  ])('that were removed %s begin anew under the same name', async (_, remove) => {
    await client.addPort({ name: 'web', path: at('web.sock') });
    await (await TestGuest.connect({ path: at('web.sock') })).close();
    await expect.poll(async () => (await firstPort()).lastEnd?.kind).toBeDefined();
    await remove();
    expect(await client.addPort({ name: 'web', path: at('web.sock') })).not.toHaveProperty(
      'lastEnd',
    );
  });

  test('that cannot be added are refused with the code of the switch', async () => {
    await client.addPort({ path: at('web1.sock') });
    writeFileSync(at('file'), '');
    const add = (path: string) => client.addPort({ path });
    await expect(add(at('web1.sock'))).rejects.toMatchObject({ code: 'SOCKET_DUPLICATE' });
    await expect(add(at('file'))).rejects.toMatchObject({ code: 'SOCKET_NOT_A_SOCKET' });
    await expect(add(at('no/web2'))).rejects.toMatchObject({ code: 'SOCKET_FOLDER_MISSING' });
    await expect(add(at('x'.repeat(108)))).rejects.toMatchObject({ code: 'SOCKET_PATH_TOO_LONG' });
    await expect(add(at('control'))).rejects.toMatchObject({ code: 'SOCKET_IN_USE' });
    const twice = { name: 'web1', path: at('web2.sock') };
    await expect(client.addPort(twice)).rejects.toMatchObject({ code: 'BAD_OPTION' });
    const stranger = { path: at('web2.sock'), group: 'no such group' };
    await expect(client.addPort(stranger)).rejects.toMatchObject({ code: 'SOCKET_GROUP_UNKNOWN' });
    await expect(client.removePort('web2')).rejects.toMatchObject({ code: 'NO_SUCH_PORT' });
    expect(vswitch.ports.map(({ name }) => name)).toEqual(['web1']);
  });
});

describe('events', () => {
  test('come one a line, until the client has seen enough', async () => {
    const before = vswitch.listenerCount('event');
    const events = client.events();
    const first = events.next();
    await expect.poll(() => vswitch.listenerCount('event')).toBe(before + 1);
    vswitch.addPort({ path: at('web1.sock') });
    expect((await first).value).toEqual({
      port: 'web1',
      type: 'listening',
      path: at('web1.sock'),
    } satisfies SwitchEvent);
    await events.return(undefined);
    await expect.poll(() => vswitch.listenerCount('event')).toBe(before);
  });

  test('with 64-bit numbers are JSON all the same', async () => {
    vswitch.addPort({ path: at('web1.sock') });
    const events = client.events();
    const first = events.next();
    await expect.poll(() => vswitch.listenerCount('event')).toBe(2);
    await using _guest = await TestGuest.connect({ path: at('web1.sock') });
    const types = [(await first).value!.type];
    while (types.at(-1) !== 'features-agreed') types.push((await events.next()).value!.type);
    expect(types).toContain('frontend-connected');
    await events.return(undefined);
  });
});

describe('a request that makes no sense is answered with one sentence', () => {
  test.each<[string, string, unknown]>([
    ['no JSON', '400 CONTROL_BAD_REQUEST', '{"path": '],
    ['nothing', '400 CONTROL_BAD_REQUEST', ''],
    ['a list', '400 CONTROL_BAD_REQUEST', []],
    ['null', '400 CONTROL_BAD_REQUEST', null],
    ['no path', '400 CONTROL_BAD_REQUEST', { name: 'web1' }],
    ['a misspelt field', '400 CONTROL_BAD_REQUEST', { path: '/x', nmae: 'web1' }],
    ['path and connect', '400 CONTROL_BAD_REQUEST', { path: '/x', connect: '/y' }],
    ['a mode for a port that connects', '400 CONTROL_BAD_REQUEST', { connect: '/y', mode: '600' }],
    ['a relative path', '400 CONTROL_BAD_REQUEST', { path: 'x.sock' }],
    ['a relative path to connect to', '400 CONTROL_BAD_REQUEST', { connect: 'x.sock' }],
    ['a path that is a number', '400 CONTROL_BAD_REQUEST', { path: 1 }],
    ['a path with a zero byte', '400 CONTROL_BAD_REQUEST', { path: '/x\0y' }],
    ['a name of two lines', '400 CONTROL_BAD_REQUEST', { path: '/x', name: 'a\nb' }],
    ['an empty name', '400 CONTROL_BAD_REQUEST', { path: '/x', name: '' }],
    ['a mode that is a number', '400 CONTROL_BAD_REQUEST', { path: '/x', mode: 660 }],
    ['a mode that is not octal', '400 CONTROL_BAD_REQUEST', { path: '/x', mode: '888' }],
    ['a bridge that is a number', '400 CONTROL_BAD_REQUEST', { path: '/x', bridge: 1 }],
    ['a group that is a list', '400 CONTROL_BAD_REQUEST', { path: '/x', group: [] }],
    ['a ringReset that is no switch', '400 BAD_OPTION', { path: '/x', ringReset: 'on' }],
    ['an inBand that is no switch', '400 BAD_OPTION', { path: '/x', inBand: 1 }],
    ['an allow list of nobody', '400 BAD_OPTION', { path: '/x', allow: [] }],
    ['an unknown user', '400 SOCKET_USER_UNKNOWN', { path: '/x', allow: ['no-such-user'] }],
    ['sources without any', '400 BAD_OPTION', { path: '/x', source: {} }],
    ['a source that is a text', '400 BAD_OPTION', { path: '/x', source: '10.0.0.1' }],
    [
      'an address without a text',
      '400 BAD_OPTION',
      { path: '/x', source: { addresses: [textless] } },
    ],
    ['a user without a text', '400 BAD_OPTION', { path: '/x', allow: [textless] }],
    ...strangeNames.flatMap((name): [string, string, unknown][] => [
      [`the name ${JSON.stringify(name)}`, '400 CONTROL_BAD_REQUEST', { path: '/x', name }],
      [
        `the bridge ${JSON.stringify(name)}`,
        '400 CONTROL_BAD_REQUEST',
        { path: '/x', bridge: name },
      ],
    ]),
    ['a path with a line separator', '400 CONTROL_BAD_REQUEST', { path: '/x\u2028y' }],
    ['an unknown source', '400 BAD_OPTION', { path: '/x', source: { macs: [], mac: 1 } }],
    ['64 KiB and more', '413 CONTROL_BODY_TOO_LONG', { name: 'x'.repeat(65_536), path: '/x' }],
  ])('a port of %s', async (_, expected, body) => {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    expect(await refusal(ask('POST', '/v1/ports', text))).toBe(expected);
    expect(vswitch.ports).toEqual([]);
  });

  test.each([
    ['GET', '/'],
    ['GET', '/v1'],
    ['GET', '/v2/status'],
    ['GET', '/v1/status/web1'],
    ['GET', '/v1/ports/'],
    ['GET', '/v1/ports/a/b'],
    ['PUT', '/v1/status'],
    ['DELETE', '/v1/bridges/a'],
    ['GET', '/v1/{name}'],
    ['GET', '/V1/status'],
    ['GET', '/v1/status/'],
    ['GET', '/v1/../v1/status'],
    ['POST', '/v1/status'],
    ['PUT', '/v1/ports'],
    ['DELETE', '/v1/ports'],
    ['DELETE', '/v1/ports/a/b'],
    ['GET', '//'],
    ['OPTIONS', '*'],
  ])('%s %s', async (method, path) => {
    expect(await refusal(ask(method, path))).toBe('404 CONTROL_UNKNOWN_REQUEST');
  });

  test('a name that is no URL', async () => {
    expect(await refusal(ask('DELETE', '/v1/ports/%zz'))).toBe('404 NO_SUCH_PORT');
  });

  test("a query is nobody's business", async () => {
    expect((await ask('GET', '/v1/status?pretty=1')).status).toBe(200);
  });

  test('no JSON value makes the switch fail', async () => {
    const field = fc.constantFrom('name', 'path', 'connect', 'mode', 'group', 'other');
    const body = fc.oneof(fc.jsonValue(), fc.dictionary(field, fc.jsonValue()));
    await fc.assert(
      fc.asyncProperty(body, async (value) => {
        const { status } = await ask('POST', '/v1/ports', JSON.stringify(value));
        // 201 could only be a path that is absolute, and fast-check finds no folder there.
        expect(status).toBeGreaterThanOrEqual(400);
        expect(status).toBeLessThan(500);
      }),
      { numRuns: 200 },
    );
    expect((await client.status()).ports).toEqual([]);
  });
});

describe('a client that misbehaves costs only its own connection', () => {
  test('no HTTP at all', async () => {
    expect(await raw('hello\r\n\r\n').answer).toMatch(/^HTTP\/1\.1 400 /);
    expect((await client.status()).ports).toEqual([]);
  });

  test('headers without end', async () => {
    expect(await raw(`GET / HTTP/1.1\r\nX: ${'x'.repeat(100_000)}`).answer).toMatch(/ 431 /);
    expect((await client.status()).ports).toEqual([]);
  });

  test('a body that breaks off', async () => {
    const head = 'POST /v1/ports HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"path"';
    const { socket, answer } = raw(head);
    // The server has begun to read it once it has answered somebody who came later.
    await client.status();
    socket.destroy();
    await answer;
    expect((await client.status()).ports).toEqual([]);
  });

  test('a hundred that only connect', async () => {
    const idle = Array.from({ length: 100 }, () => raw(''));
    expect((await client.status()).ports).toEqual([]);
    for (const { socket } of idle) socket.destroy();
  });
});

describe('the socket', () => {
  test("is its owner's alone", () => {
    expect(statSync(at('control')).mode & 0o777).toBe(0o600);
  });

  test('is removed at the end, and with it every connection', async () => {
    const { answer } = raw('GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n');
    await expect.poll(() => vswitch.listenerCount('event')).toBe(2);
    server.close();
    server.close();
    expect(existsSync(at('control'))).toBe(false);
    await answer;
    await expect.poll(() => vswitch.listenerCount('event')).toBe(0);
    await expect(ControlClient.connect(at('control'))).rejects.toMatchObject({
      code: 'CONTROL_UNREACHABLE',
    });
  });

  test('replaces the file of one that died, and no other', async () => {
    const listen = (path: string) => () => ControlServer.listen(vswitch, { path });
    const died = createServer().listen(at('died'));
    await new Promise((resolve) => died.once('listening', resolve));
    // Its file stays behind, as after a crash: closing would remove it by the name it had.
    renameSync(at('died'), at('stale'));
    await new Promise((resolve) => died.close(resolve));
    ControlServer.listen(vswitch, { path: at('stale') }).close();
    writeFileSync(at('file'), 'mine');
    symlinkSync(at('file'), at('link'));
    expect(listen(at('file'))).toThrow(expect.objectContaining({ code: 'SOCKET_NOT_A_SOCKET' }));
    expect(listen(at('link'))).toThrow(expect.objectContaining({ code: 'SOCKET_NOT_A_SOCKET' }));
    expect(listen(at('control'))).toThrow(expect.objectContaining({ code: 'SOCKET_IN_USE' }));
    expect(listen(at('no/control'))).toThrow(
      expect.objectContaining({ code: 'SOCKET_FOLDER_MISSING' }),
    );
  });
});
