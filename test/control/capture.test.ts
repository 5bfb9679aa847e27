/** GET /v1/capture: what is recorded, when it ends, and what is left behind. */

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ControlClient } from '../../src/control/client.ts';
import { ControlServer } from '../../src/control/server.ts';
import { type CapturedPacket, decodeCapture, type ProcessPort, Switch } from '../../src/index.ts';
import { frameBetween } from '../support/ethernet.ts';

let folder: string;
let vswitch: Switch;
let a: ProcessPort;
let server: ControlServer;
let client: ControlClient;

/** With a manual clock a frame is recorded before step() returns. */
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'capture-'));
  vswitch = Switch.open({ clock: 'manual' });
  a = vswitch.addPort({ process: 'a' });
  vswitch.addPort({ process: 'b' });
  server = ControlServer.listen(vswitch, { path: join(folder, 'control') });
  client = await ControlClient.connect(join(folder, 'control'));
});

afterEach(() => {
  client.close();
  server.close();
  vswitch.close();
  rmSync(folder, { recursive: true });
});

async function packetsIn(stream: Readable): Promise<CapturedPacket[]> {
  return decodeCapture(Buffer.concat(await stream.toArray()));
}

/** Of which a capture has one. */
function eventfds(): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === 'anon_inode:[eventfd]';
    } catch {
      // The one that this folder was read with.
      return false;
    }
  }).length;
}

function sendNumbered(count: number): void {
  for (let number = 0; number < count; number++) {
    a.send(frameBetween(0, 1, number));
    vswitch.step();
  }
}

/** From a port that came when the capture had begun, to nobody. */
function sendLate(): void {
  vswitch.addPort({ process: 'late' }).send(frameBetween(0, 1, 0));
  vswitch.step();
}

test.each([
  ['of a port is what went over it', 'b', ['b toGuest', 'b toGuest', 'b toGuest']],
  ['without one is of all', undefined, Array(3).fill(['a fromGuest', 'b toGuest']).flat()],
])('a capture %s, to the last packet when it is ended', async (_, port, expected) => {
  const ending = new AbortController();
  const stream = await client.capture(port, ending.signal);
  sendNumbered(3);
  ending.abort();
  const packets = await packetsIn(stream);
  expect(packets.map(({ port, direction }) => `${port} ${direction}`)).toEqual(expected);
  expect(packets.at(-1)!.data).toEqual(Buffer.from(frameBetween(0, 1, 2)));
});

test('a capture that was ended before it began is empty, and whole', async () => {
  const stream = await client.capture('a', AbortSignal.abort());
  expect(await packetsIn(stream)).toEqual([]);
});

test.each([
  ['of a port', 'b'],
  ['of all', undefined],
])('a capture %s without traffic is one that tcpdump has no complaint about', async (_, port) => {
  const ending = new AbortController();
  const stream = await client.capture(port, ending.signal);
  ending.abort();
  const input = Buffer.concat(await stream.toArray());
  const { stdout, stderr, status } = spawnSync('tcpdump', ['-n', '-r', '-'], { input });
  expect({ status, stdout: stdout.toString() }).toEqual({ status: 0, stdout: '' });
  expect(stderr.toString()).toMatch(/^reading from file -, link-type EN10MB.*\n$/);
});

test('a capture of a bridge without ports is whole, too', async () => {
  for (const port of vswitch.ports) vswitch.removePort(port);
  const ending = new AbortController();
  const stream = await client.capture(undefined, ending.signal);
  sendLate();
  ending.abort();
  const packets = await packetsIn(stream);
  expect(packets.map(({ port }) => port)).toEqual(['late']);
});

test('a client that breaks off leaves nothing behind', async () => {
  const before = eventfds();
  const stream = await client.capture('a');
  expect(eventfds()).toBe(before + 1);
  sendNumbered(1);
  stream.destroy();
  await expect.poll(eventfds).toBe(before);
  sendNumbered(1);
});

test('a port that is not there is refused with the names of those that are', async () => {
  await expect(client.capture('c')).rejects.toMatchObject({
    code: 'NO_SUCH_PORT',
    message: 'there is no port c; there are a, b',
  });
});
