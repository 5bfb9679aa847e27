/**
 * Workers over the control socket: listed with the status, added, and refused as the switch refuses
 * them.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ControlClient } from '../../src/control/client.ts';
import { ControlServer } from '../../src/control/server.ts';
import { Switch, type WorkerOptions } from '../../src/index.ts';

let folder: string;
let vswitch: Switch;
let server: ControlServer;
let client: ControlClient;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'control-'));
  vswitch = Switch.open();
  server = ControlServer.listen(vswitch, { path: join(folder, 'control') });
  client = await ControlClient.connect(join(folder, 'control'));
});

afterEach(() => {
  client.close();
  server.close();
  vswitch.close();
  rmSync(folder, { recursive: true });
});

test('a worker that is added takes its share of the queues, and is listed with the others', async () => {
  vswitch.addPort({ process: 'a' });
  vswitch.addPort({ process: 'b' });
  expect((await client.status()).workers).toEqual([{ number: 0, transmitqs: 2 }]);
  expect(await client.addWorker()).toEqual({ number: 1, transmitqs: 1 });
  expect((await client.status()).workers).toEqual([
    { number: 0, transmitqs: 1 },
    { number: 1, transmitqs: 1 },
  ]);
});

test.each<[string, unknown, string]>([
  ['a list', [], 'BAD_OPTION'],
  ['null', null, 'BAD_OPTION'],
  ['what no worker has', { cup: 1 }, 'BAD_OPTION'],
  ['a CPU without a text', { cpu: { toString: 1, valueOf: 1 } }, 'BAD_OPTION'],
  ['a CPU that is not there', { cpu: 1000 }, 'SYSTEM'],
])('%s is refused and starts nothing', async (_, worker, code) => {
  await expect(client.addWorker(worker as WorkerOptions)).rejects.toMatchObject({ code });
  expect(vswitch.workers).toHaveLength(1);
});
