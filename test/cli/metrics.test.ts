/** `--metrics`: a confined switch is scraped, and an address that cannot be had ends it. */

import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { TestGuest } from '../../src/testing/index.ts';
import { Command } from '../support/command.ts';

let folder: string;
let path: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'metrics-'));
  path = join(folder, 'a.sock');
});

afterEach(async () => {
  await Command.killAll();
  rmSync(folder, { recursive: true });
});

test('a switch that has confined itself answers until it ends', async () => {
  const command = await Command.start([path], ['--metrics', '127.0.0.1:0']);
  await command.said('metrics are on port');
  const [, port] = /metrics are on port (\d+)/.exec(command.stdout)!;
  const scrape = async () => (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  const connected = 'tsvswitch_port_connected{port="a",bridge="default"}';
  expect(await scrape()).toContain(`${connected} 0\n`);
  const guest = await TestGuest.connect({ path });
  expect(await scrape()).toContain(`${connected} 1\n`);
  guest.disconnect();
  expect((await command.stop()).status).toBe(0);
  await expect(scrape()).rejects.toThrow('fetch failed');
});

test('what is no address is wrong usage', async () => {
  const { status, stderr } = await Command.run(['--socket', path, '--metrics', '9477']);
  expect({ status, stderr }).toEqual({
    status: 2,
    stderr:
      'tsvswitch: 9477 is no address to listen on, such as 127.0.0.1:9477, [::1]:9477 or :9477\n',
  });
});

test('an address that somebody has is told, and no port is opened', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const { status, stdout, stderr } = await Command.run(['--socket', path, '--metrics', address]);
  expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
  expect(stderr).toContain(`tsvswitch: metrics cannot be served on ${address}: `);
  server.close();
});
