/**
 * Requests over TCP as real clients make them, curl, fetch and our own, and everything that they
 * are refused for: by one sentence and a status.
 */

import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect as connectTcp, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { connectionsMax } from '../../../src/control/connections.ts';
import {
  ControlServer,
  connect,
  TcpListener,
  type TcpOptions,
} from '../../../src/control/index.ts';
import { Switch } from '../../../src/index.ts';
import { ask } from '../raw-client.ts';
import { type Certificates, makeCertificates, tlsOf } from './certificates.ts';

const token = 'a-token-that-may-do-everything';
const readToken = 'a-token-that-only-looks';
const bearer = (value = token) => ({ authorization: `Bearer ${value}` });

let certificates: Certificates;
let certificateFolder: string;
let folder: string;
let vswitch: Switch;
let server: ControlServer | undefined;
let tcp: TcpListener;

beforeAll(async () => {
  certificateFolder = mkdtempSync(join(tmpdir(), 'certificates-'));
  const names = ['DNS:switch.example', 'DNS:localhost', 'IP:127.0.0.1'];
  certificates = await makeCertificates(certificateFolder, names);
});
afterAll(() => rmSync(certificateFolder, { recursive: true }));

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tcp-'));
  vswitch = Switch.open();
  vswitch.addPort({ process: 'a' });
});
afterEach(() => {
  server?.close();
  server = undefined;
  vswitch.close();
  rmSync(folder, { recursive: true });
});

async function serve(options: Partial<TcpOptions> = {}, path?: string): Promise<string> {
  tcp = await TcpListener.listen({ address: '127.0.0.1:0', token, readToken, ...options });
  server = ControlServer.listen(vswitch, { tcp, ...(path === undefined ? {} : { path }) });
  return tcp.url;
}
const serveTls = () => serve({ tls: tlsOf(certificates) });
const ca = () => readFileSync(certificates.ca);

interface Answer {
  readonly status: number;
  readonly body: { code?: string; error?: string };
}

/** With Host and Origin as no browser lets a page choose them. */
async function curl(url: string, ...args: string[]): Promise<Answer> {
  const { stdout } = await execa('curl', [
    ...['--silent', '--show-error', '--max-time', '30', '--cacert', certificates.ca],
    ...['--write-out', '\n%{http_code}', ...args, url],
  ]);
  const [text, status] = [stdout.slice(0, stdout.lastIndexOf('\n')), stdout.slice(-3)];
  return { status: Number(status), body: text.trim() === '' ? {} : JSON.parse(text) };
}

const withToken = ['-H', `Authorization: Bearer ${token}`];
const withReadToken = ['-H', `Authorization: Bearer ${readToken}`];

describe.each(['http', 'https'])('over %s', (scheme) => {
  let url: string;
  beforeEach(async () => {
    url = scheme === 'http' ? await serve() : await serveTls();
    expect(url).toMatch(new RegExp(`^${scheme}://127\\.0\\.0\\.1:\\d+$`));
  });

  test('curl asks and changes with the token', async () => {
    const { status, body } = await curl(`${url}/v1/ports`, ...withToken);
    expect({ status, body }).toMatchObject({ status: 200, body: [{ name: 'a' }] });
    const path = join(folder, 'b.sock');
    const added = await curl(`${url}/v1/ports`, ...withToken, '-d', JSON.stringify({ path }));
    expect(added.status).toBe(201);
    expect((await curl(`${url}/v1/ports/a`, ...withToken, '-X', 'DELETE')).status).toBe(204);
    expect(vswitch.ports.map(({ name }) => name)).toEqual(['b']);
  });

  test.each([
    ['no token', [], 401, 'CONTROL_UNAUTHORIZED', /^a token is needed here/],
    ['another scheme', ['-u', `x:${token}`], 401, 'CONTROL_UNAUTHORIZED', /^a token is needed/],
    [
      'a wrong token',
      ['-H', 'Authorization: Bearer wrong'],
      401,
      'CONTROL_UNAUTHORIZED',
      /none of/,
    ],
    [
      'a part of the token',
      ['-H', `Authorization: Bearer ${token.slice(0, -1)}`],
      401,
      'CONTROL_UNAUTHORIZED',
      /^the token of this request is none of this switch$/,
    ],
    [
      'the name of another server',
      [...withToken, '-H', 'Host: evil.example'],
      403,
      'CONTROL_FOREIGN',
      /^the header Host names evil\.example, which this switch is not/,
    ],
    [
      'no name at all',
      [...withToken, '--http1.0', '-H', 'Host:'],
      403,
      'CONTROL_FOREIGN',
      /^the header Host names nobody/,
    ],
    [
      'a page of another server',
      [...withToken, '-H', 'Origin: https://evil.example'],
      403,
      'CONTROL_FOREIGN',
      /^pages of https:\/\/evil\.example may not ask this switch, only those of http/,
    ],
    ['a page of nobody', [...withToken, '-H', 'Origin: null'], 403, 'CONTROL_FOREIGN', /^pages of/],
  ])('%s is refused', async (_, args, status, code, sentence) => {
    for (const change of [[], ['-X', 'DELETE'], ['-X', 'OPTIONS']]) {
      const answer = await curl(`${url}/v1/ports/a`, ...args, ...change);
      expect(answer).toMatchObject({ status, body: { code } });
      expect(answer.body.error).toMatch(sentence);
    }
    expect(vswitch.ports).toHaveLength(1);
  });

  test('its own pages may ask', async () => {
    const own = await curl(`${url}/v1/ports`, ...withToken, '-H', `Origin: ${url}`);
    expect(own.status).toBe(200);
  });

  test.each(['localhost', 'localhost:1', '127.0.0.1', '[::1]:9443'])(
    'Host: %s is it',
    async (host) => {
      expect((await curl(`${url}/v1/ports`, ...withToken, '-H', `Host: ${host}`)).status).toBe(200);
    },
  );

  test('the token of readers asks, and changes and captures nothing', async () => {
    expect((await curl(`${url}/v1/status`, ...withReadToken)).status).toBe(200);
    for (const [path, ...args] of [
      ['/v1/ports/a', '-X', 'DELETE'],
      ['/v1/capture'],
      ['/v1/settings', '-X', 'PUT', '-d', '{}'],
    ]) {
      expect(await curl(`${url}${path}`, ...withReadToken, ...args)).toMatchObject({
        status: 403,
        body: { code: 'CONTROL_READ_ONLY' },
      });
    }
    expect(vswitch.ports).toHaveLength(1);
  });

  test('our client asks, changes, hears events and captures to the last packet', async () => {
    await using client = await connect(url, { token, ca: ca() });
    expect(client.isRemote).toBe(true);
    expect((await client.ports()).map(({ name }) => name)).toEqual(['a']);
    const stop = new AbortController();
    const capture = await client.capture('a', stop.signal);
    const port = vswitch.port('a')!;
    vswitch.addPort({ process: 'c' });
    if (port.kind === 'host') port.send(Buffer.alloc(60, 1));
    await expect.poll(() => port.counters.fromGuest.frames).toBe(1);
    stop.abort();
    const chunks: Buffer[] = [];
    for await (const chunk of capture) chunks.push(chunk);
    expect(Buffer.concat(chunks).includes(Buffer.alloc(60, 1))).toBe(true);
    const events = client.events();
    const first = events.next();
    await expect.poll(() => vswitch.listenerCount('event')).toBe(2);
    vswitch.heal();
    expect((await first).value).toMatchObject({ type: 'healed' });
    await events.return(undefined);
  });
});

describe('our client', () => {
  test('is told why it is refused', async () => {
    const url = await serveTls();
    await expect(connect(url, { ca: ca() })).rejects.toMatchObject({
      code: 'CONTROL_UNAUTHORIZED',
      fault: 'token-missing',
    });
    await expect(connect(url, { token: 'x'.repeat(20), ca: ca() })).rejects.toMatchObject({
      fault: 'token-wrong',
    });
    await using reader = await connect(url, { token: readToken, ca: ca() });
    await expect(reader.removePort('a')).rejects.toMatchObject({ code: 'CONTROL_READ_ONLY' });
  });

  test('gives its token to no switch whose certificate nobody vouches for', async () => {
    const url = await serveTls();
    await expect(connect(url, { token })).rejects.toMatchObject({
      code: 'CONTROL_UNREACHABLE',
      fault: 'control-untrusted',
      message: expect.stringContaining('give the certificate of who signed its own with --ca'),
    });
    const other = url.replace('127.0.0.1', '127.0.0.2');
    await expect(connect(other, { token, ca: ca() })).rejects.toMatchObject({
      code: 'CONTROL_UNREACHABLE',
    });
  });

  test.each([
    'http://192.0.2.1:9443',
    'http://switch.example',
    'https://',
    'https://127.0.0.1:99999',
    'https://127.0.0.1:1/v1',
    'https://user@127.0.0.1:1',
  ])('%s is no address of a switch', async (url) => {
    await expect(connect(url, { token })).rejects.toMatchObject({
      code: 'BAD_OPTION',
      fault: 'control-url',
    });
  });

  test('says so where nobody listens, or somebody else does', async () => {
    const other = createServer((socket) => socket.resume().end('SSH-2.0-x\r\n')).listen(
      0,
      '127.0.0.1',
    );
    await once(other, 'listening');
    const url = `http://127.0.0.1:${(other.address() as AddressInfo).port}`;
    await expect(connect(url, { token })).rejects.toMatchObject({ code: 'CONTROL_UNREACHABLE' });
    other.close();
    await once(other, 'close');
    await expect(connect(url, { token })).rejects.toThrow(/can be reached at http.*ECONNREFUSED/);
  });
});

describe('what cannot be listened on', () => {
  const own = { token, address: '127.0.0.1:0' };
  test.each<[string, TcpOptions, string]>([
    ['plain HTTP to others', { token, address: '0.0.0.0:0' }, 'listen-plain'],
    ['plain HTTP on all addresses', { token, address: ':0' }, 'listen-plain'],
    ['a name', { token, address: 'localhost:1' }, 'listen-address'],
    ['a short token', { ...own, token: 'short' }, 'token-text'],
    ['a short token of readers', { ...own, readToken: 'short' }, 'token-text'],
    ['one token for both', { ...own, readToken: token }, 'token-twice'],
    ['no certificate', { ...own, tls: { certificate: 'x', key: 'y' } }, 'listen-tls'],
  ])('%s', async (_, options, fault) => {
    await expect(TcpListener.listen(options)).rejects.toMatchObject({ code: 'BAD_OPTION', fault });
  });

  test('a key of another certificate', async () => {
    const { certificate } = tlsOf(certificates);
    const key = readFileSync(join(certificateFolder, 'ca.key'));
    await expect(TcpListener.listen({ ...own, tls: { certificate, key } })).rejects.toMatchObject({
      fault: 'listen-tls',
    });
  });

  test('an address that somebody has', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const address = `127.0.0.1:${(other.address() as AddressInfo).port}`;
    await expect(TcpListener.listen({ token, address })).rejects.toMatchObject({
      code: 'SYSTEM',
      fault: 'listen-failed',
    });
    other.close();
  });
});

test('who comes before there is a switch is cut off', async () => {
  const early = await TcpListener.listen({ address: '127.0.0.1:0', token });
  const socket = connectTcp(Number(new URL(early.url).port), '127.0.0.1');
  await once(socket.resume(), 'close');
  server = ControlServer.listen(vswitch, { tcp: early });
  expect((await fetch(`${early.url}/v1/status`, { headers: bearer() })).status).toBe(200);
});

test('a certificate is renewed for those who connect then', async () => {
  const url = await serveTls();
  const fresh = mkdtempSync(join(folder, 'fresh-'));
  const next = await makeCertificates(fresh, ['DNS:new.example', 'IP:127.0.0.1']);
  expect(() => tcp.renew({ certificate: 'x', key: 'y' })).toThrow(/TLS cannot be made of/);
  await using old = await connect(url, { token, ca: ca() });
  tcp.renew(tlsOf(next));
  expect((await old.ports()).length).toBe(1);
  await expect(connect(url, { token, ca: ca() })).rejects.toMatchObject({
    fault: 'control-untrusted',
  });
  await using renewed = await connect(url, { token, ca: readFileSync(next.ca) });
  expect((await renewed.ports()).length).toBe(1);
  const asNew = ['--cacert', next.ca, '-H', 'Host: new.example', ...withToken];
  expect((await curl(`${url}/v1/ports`, ...asNew)).status).toBe(200);
});

describe('those who only take room', () => {
  const silent = async (port: number, count: number) => {
    const sockets = Array.from({ length: count }, () => connectTcp(port, '127.0.0.1'));
    for (const socket of sockets) socket.on('error', () => {});
    await Promise.all(sockets.map((socket) => once(socket, 'connect')));
    return sockets;
  };
  const end = (sockets: Socket[]) => {
    for (const socket of sockets) socket.destroy();
  };

  test('are pushed out by who has a token, and take none on the unix socket', async () => {
    const path = join(folder, 'control');
    const url = await serve({}, path);
    const sockets = await silent(Number(new URL(url).port), connectionsMax + 20);
    expect((await curl(`${url}/v1/ports`, ...withToken)).status).toBe(200);
    expect((await ask(path, 'GET', '/v1/ports')).status).toBe(200);
    end(sockets);
  });

  test('with a handshake that does not end are cut off', async () => {
    const url = await serveTls();
    const sockets = await silent(Number(new URL(url).port), 3);
    await Promise.all(sockets.map((socket) => once(socket.resume(), 'close')));
    expect((await curl(`${url}/v1/ports`, ...withToken)).status).toBe(200);
  });

  test('and who speaks no TLS', async () => {
    const url = await serveTls();
    const [socket] = await silent(Number(new URL(url).port), 1);
    socket!.write('GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await once(socket!.resume(), 'close');
    expect((await curl(`${url}/v1/ports`, ...withToken)).status).toBe(200);
  });

  test('send a long body without a token, which is not read', async () => {
    const url = await serve();
    const body = join(folder, 'body');
    writeFileSync(body, Buffer.alloc(8 * 2 ** 20, 'x'));
    const answer = await curl(`${url}/v1/settings`, '-X', 'PUT', '-H', 'Expect:', '-T', body).catch(
      ({ exitCode }) => exitCode,
    );
    // curl sends on while it is refused, and may see its connection end before the answer.
    expect([401, 55, 56]).toContain(answer.status ?? answer);
  });
});
