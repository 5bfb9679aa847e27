/** client.ts against what listens on a unix socket and is no switch. */

import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ControlClient } from '../../src/control/client.ts';

let folder: string;
let server: Server | undefined;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'client-'));
});

afterEach(() => {
  server?.closeAllConnections();
  server?.close();
  server = undefined;
  rmSync(folder, { recursive: true, force: true });
});

test.for<[string, RequestListener, RegExp]>([
  [
    'refuses in its own way',
    (_, response) => response.writeHead(404).end('{"message":"page not found"}'),
    /answers 404 to \/v1\/workers/,
  ],
  ['speaks HTML', (_, response) => response.end('<html></html>'), /not valid JSON/],
  [
    'breaks off in the middle of its answer',
    (_, response) => {
      response.writeHead(200, { 'content-length': 100 });
      response.write('{', () => response.destroy());
    },
    /aborted/,
  ],
])('what %s is no switch', async ([, listener, words]) => {
  const path = join(folder, 'control');
  server = createServer(listener).listen(path);
  await once(server, 'listening');
  await expect(ControlClient.connect(path)).rejects.toMatchObject({
    code: 'CONTROL_UNREACHABLE',
    message: expect.stringMatching(words),
  });
});

test('a connection that was closed while it was idle is made anew', async () => {
  const path = join(folder, 'control');
  const served = new WeakSet<object>();
  server = createServer((request, response) => {
    // As if its time were up at the very moment of the second request.
    if (served.has(request.socket)) request.socket.destroy();
    else response.end('{}');
    served.add(request.socket);
  }).listen(path);
  await once(server, 'listening');
  const client = await ControlClient.connect(path);
  for (let i = 0; i < 3; i++) expect(await client.status()).toEqual({});
  client.close();
});
