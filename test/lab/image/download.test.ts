/**
 * download.ts against real servers on loopback that behave as servers on the way to an image do.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { downloadedImage } from '../../../src/lab/image/download.ts';
import type { Checksum } from '../../../src/lab/image/source.ts';
import { needsRoot } from '../../support/needs.ts';

const content = randomBytes(3 << 20);
const sum = createHash('sha256').update(content).digest('hex');
const checksum: Checksum = { algorithm: 'sha256', sum };

const half = content.length / 2;
/** Attempts follow each other at once. */
const pauseMs = 1;
const soon = { timeout: 60_000 };

/** `count` is 1 at the first request. */
type Handler = (request: IncomingMessage, response: ServerResponse, count: number) => void;

let folder: string;
let cache: string;
let server: Server;
let requests: IncomingMessage[];
let responses: ServerResponse[];
let child: ChildProcess | undefined;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'download-'));
  cache = join(folder, 'tsvswitch');
  vi.stubEnv('XDG_CACHE_HOME', folder);
});

afterEach(async () => {
  vi.unstubAllEnvs();
  child?.kill('SIGKILL');
  child = undefined;
  server?.closeAllConnections();
  server?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** The URL of a server that answers its requests, counted from 1, with `handler`. */
async function serve(handler: Handler): Promise<string> {
  requests = [];
  responses = [];
  server = createServer((request, response) => {
    requests.push(request);
    responses.push(response);
    handler(request, response, requests.length);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/image`;
}

/** A server as it should be: ranges, If-Range and an entity tag. */
const answer: Handler = (request, response) => answerAs('"one"', request, response);

function answerAs(etag: string, request: IncomingMessage, response: ServerResponse): void {
  const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
  const isRest = start > 0 && request.headers['if-range'] === etag;
  const body = isRest ? content.subarray(start) : content;
  response.writeHead(isRest ? 206 : 200, {
    etag,
    'content-length': body.length,
    ...(isRest && {
      'content-range': `bytes ${start}-${content.length - 1}/${content.length}`,
    }),
  });
  response.end(body);
}

/** Promises all of it, and breaks the connection after half. */
function breakOff(response: ServerResponse, headers: Record<string, string>): void {
  response.writeHead(200, { 'content-length': content.length, ...headers });
  response.write(content.subarray(0, half), () => response.socket?.destroy());
}

const ranges = () => requests.map(({ headers }) => headers.range);
const statuses = () => responses.map(({ statusCode }) => statusCode);

/** What is in the cache besides locks. */
function entries(): string[] {
  return readdirSync(cache).filter((name) => !name.endsWith('.lock'));
}

function expectContent(path: string): void {
  expect(readFileSync(path).equals(content)).toBe(true);
  expect(entries()).toEqual([`image-${sum}`]);
  expect(readdirSync(join(cache, `image-${sum}`))).toEqual(['disk']);
}

test('an image is downloaded once, with a fraction that grows to the whole', async () => {
  const url = await serve(answer);
  const fractions: number[] = [];
  const progress = ({ fraction }: { fraction?: number }) => {
    if (fraction !== undefined) fractions.push(fraction);
  };
  const path = await downloadedImage(url, checksum, { progress });
  expectContent(path);
  expect(fractions).not.toHaveLength(0);
  expect(fractions).toEqual(fractions.toSorted((a, b) => a - b));
  expect(await downloadedImage(url, checksum)).toBe(path);
  expect(requests).toHaveLength(1);
});

test('redirects are followed', async () => {
  const url = await serve((request, response, count) => {
    if (request.url === '/elsewhere') return answer(request, response, count);
    response.writeHead(302, { location: '/elsewhere' }).end();
  });
  expectContent(await downloadedImage(url, checksum));
});

test('one that breaks off is gone on with where it stopped', async () => {
  const url = await serve((request, response, count) =>
    count === 1 ? breakOff(response, { etag: '"one"' }) : answer(request, response, count),
  );
  expectContent(await downloadedImage(url, checksum, { pauseMs }));
  // What was on its way when the connection broke may be lost with it.
  expect(ranges()).toEqual([undefined, expect.stringMatching(/^bytes=[1-9][0-9]*-$/)]);
  expect(statuses()).toEqual([200, 206]);
});

test('one whose process was killed is gone on with by the next', async () => {
  const url = await serve((request, response, count) => {
    if (count > 1) return answer(request, response, count);
    response.writeHead(200, { etag: '"one"', 'content-length': content.length });
    response.write(content.subarray(0, half));
  });
  const script = `
    import { downloadedImage } from ${JSON.stringify(resolve('dist/lab/image/download.js'))};
    await downloadedImage(${JSON.stringify(url)}, ${JSON.stringify(checksum)});
  `;
  child = spawn(process.execPath, ['--input-type=module', '--eval', script], { stdio: 'inherit' });
  const part = join(cache, `image-${sum}.partial`, 'disk');
  await vi.waitFor(() => expect(readFileSync(part)).toHaveLength(half), soon);
  const waiting = vi.fn();
  const second = downloadedImage(url, checksum, { progress: ({ phase }) => waiting(phase) });
  // The killed one has the lock until it is gone.
  await vi.waitFor(
    () => expect(waiting).toHaveBeenCalledWith(expect.stringMatching(/^waiting/)),
    soon,
  );
  expect(requests).toHaveLength(1);
  child.kill('SIGKILL');
  expectContent(await second);
  expect(ranges()).toEqual([undefined, `bytes=${half}-`]);
  expect(statuses()).toEqual([200, 206]);
});

test('one that was broken off by its caller is gone on with by the next call', async () => {
  const stop = new AbortController();
  const url = await serve((request, response, count) => {
    if (count > 1) return answer(request, response, count);
    response.writeHead(200, { etag: '"one"', 'content-length': content.length });
    response.write(content.subarray(0, half));
  });
  const first = downloadedImage(url, checksum, { signal: stop.signal });
  const part = join(cache, `image-${sum}.partial`, 'disk');
  await vi.waitFor(() => expect(readFileSync(part)).toHaveLength(half), soon);
  stop.abort(new Error('enough'));
  await expect(first).rejects.toThrow('enough');
  expectContent(await downloadedImage(url, checksum));
  expect(ranges()).toEqual([undefined, `bytes=${half}-`]);
  expect(statuses()).toEqual([200, 206]);
});

test('a part of a file that has changed is thrown away', async () => {
  const url = await serve((request, response, count) => {
    if (count > 1) return answerAs('"two"', request, response);
    response.writeHead(200, { etag: '"one"', 'content-length': content.length });
    response.write(Buffer.alloc(half), () => response.socket?.destroy());
  });
  expectContent(await downloadedImage(url, checksum, { pauseMs }));
  expect(requests[1]!.headers['if-range']).toBe('"one"');
  expect(statuses()).toEqual([200, 200]);
});

test('a part that was damaged on disk costs a second download, not the image', async () => {
  const url = await serve(answer);
  const partial = join(cache, `image-${sum}.partial`);
  mkdirSync(partial, { recursive: true });
  writeFileSync(join(partial, 'disk'), Buffer.alloc(half));
  writeFileSync(join(partial, 'origin.json'), JSON.stringify({ url, validator: '"one"' }));
  expectContent(await downloadedImage(url, checksum, { pauseMs }));
  expect(ranges()).toEqual([`bytes=${half}-`, undefined]);
  expect(statuses()).toEqual([206, 200]);
});

test.each([
  ['has no validator', {}],
  ['has only a weak entity tag', { etag: 'W/"one"' }],
])('a server that %s is asked for all of it again', async (_, headers) => {
  const url = await serve((_request, response, count) => {
    if (count === 1) return breakOff(response, headers);
    response.writeHead(200, { 'content-length': content.length, ...headers }).end(content);
  });
  expectContent(await downloadedImage(url, checksum, { pauseMs }));
  expect(requests[1]!.headers.range).toBeUndefined();
});

test('a server that refuses the range is asked for all of it again', async () => {
  const url = await serve((request, response, count) => {
    if (count === 1) return breakOff(response, { etag: '"one"' });
    if (request.headers.range) return response.writeHead(416).end();
    return answer(request, response, count);
  });
  expectContent(await downloadedImage(url, checksum, { pauseMs }));
  expect(requests).toHaveLength(3);
});

test('a server that is busy for a moment is asked again', async () => {
  const url = await serve((request, response, count) =>
    count < 3 ? response.writeHead(503).end() : answer(request, response, count),
  );
  expectContent(await downloadedImage(url, checksum, { pauseMs }));
});

test('a server that stays busy is asked five times', async () => {
  const url = await serve((_, response) => response.writeHead(503).end());
  await expect(downloadedImage(url, checksum, { pauseMs })).rejects.toMatchObject({
    code: 'IMAGE_UNAVAILABLE',
    message: expect.stringContaining('503 Service Unavailable'),
  });
  expect(requests).toHaveLength(5);
  expect(entries()).toEqual([]);
});

test('a server that is not there is an error that says so', async () => {
  const url = await serve(answer);
  server.close();
  await expect(downloadedImage(url, checksum, { pauseMs })).rejects.toMatchObject({
    code: 'IMAGE_UNAVAILABLE',
    message: expect.stringContaining('ECONNREFUSED'),
  });
});

test('an image that is not there is asked for once', async () => {
  const url = await serve((_, response) => response.writeHead(404).end('no such image'));
  await expect(downloadedImage(url, checksum, { pauseMs })).rejects.toMatchObject({
    code: 'IMAGE_UNAVAILABLE',
    message: expect.stringContaining('404 Not Found'),
  });
  expect(requests).toHaveLength(1);
  expect(entries()).toEqual([]);
});

test('a sha512 serves as well, and is held to', async () => {
  const url = await serve(answer);
  const sha512 = createHash('sha512').update(content).digest('hex');
  expect(
    readFileSync(await downloadedImage(url, { algorithm: 'sha512', sum: sha512 })).equals(content),
  ).toBe(true);
  const other: Checksum = { algorithm: 'sha512', sum: '0'.repeat(128) };
  await expect(downloadedImage(url, other, { pauseMs })).rejects.toMatchObject({
    code: 'IMAGE_CHECKSUM',
    message: expect.stringContaining(`its sha512 is ${sha512}`),
  });
});

test('an image with another checksum is not kept', async () => {
  const url = await serve(answer);
  const other: Checksum = { algorithm: 'sha256', sum: '0'.repeat(64) };
  await expect(downloadedImage(url, other, { pauseMs })).rejects.toMatchObject({
    code: 'IMAGE_CHECKSUM',
    message: expect.stringContaining(sum),
  });
  expect(requests).toHaveLength(1);
  expect(entries()).toEqual([]);
});

test('two who want the same image at once share one download', async () => {
  const url = await serve(answer);
  const phases: string[] = [];
  const progress = ({ phase }: { phase: string }) => phases.push(phase);
  const paths = await Promise.all([1, 2].map(() => downloadedImage(url, checksum, { progress })));
  expect(paths[0]).toBe(paths[1]);
  expectContent(paths[0]!);
  expect(requests).toHaveLength(1);
  expect(phases).toContain('waiting for another process that downloads it');
});

test('a cache folder that cannot be made is an error that names it', async () => {
  const file = join(folder, 'file');
  writeFileSync(file, '');
  vi.stubEnv('XDG_CACHE_HOME', file);
  const url = await serve(answer);
  await expect(downloadedImage(url, checksum)).rejects.toMatchObject({
    code: 'CACHE_UNUSABLE',
    message: expect.stringContaining(join(file, 'tsvswitch')),
  });
  expect(requests).toHaveLength(0);
});

describe('on a file system', needsRoot, () => {
  afterEach(async () => {
    await execa('umount', [folder]);
  });

  test('that is read-only, nothing is asked for', async () => {
    await execa('mount', ['-t', 'tmpfs', '-o', 'ro', 'tmpfs', folder]);
    const url = await serve(answer);
    await expect(downloadedImage(url, checksum)).rejects.toMatchObject({
      code: 'CACHE_UNUSABLE',
      message: expect.stringContaining('EROFS'),
    });
    expect(requests).toHaveLength(0);
  });

  test('that is too small, nothing is written', async () => {
    await execa('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', folder]);
    const url = await serve(answer);
    await expect(downloadedImage(url, checksum)).rejects.toMatchObject({
      code: 'DISK_FULL',
      message: expect.stringMatching(/3 MiB are to come, and 1 MiB are free/),
    });
    expect(entries()).toEqual([]);
  });

  test('that turns out too small, what was written is taken away', async () => {
    await execa('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', folder]);
    // Without a length it comes in chunks.
    const url = await serve((_, response) =>
      response.writeHead(200, { etag: '"one"' }).end(content),
    );
    await expect(downloadedImage(url, checksum)).rejects.toMatchObject({ code: 'DISK_FULL' });
    expect(entries()).toEqual([]);
  });
});
