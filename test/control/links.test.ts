/**
 * POST /v1/network: links and partitions of a switch that runs are changed, once they make sense.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ControlClient } from '../../src/control/client.ts';
import { ControlServer } from '../../src/control/server.ts';
import { type NetworkChange, Switch } from '../../src/index.ts';
import type { ProcessPort } from '../../src/port/process/process-port.ts';
import { ethernetFrame, macOf } from '../support/ethernet.ts';

const there = ethernetFrame({ from: macOf(1), to: macOf(2) });
const back = ethernetFrame({ from: macOf(2), to: macOf(1) });

let folder: string;
let vswitch: Switch;
let server: ControlServer;
let client: ControlClient;
let [a, b]: ProcessPort[] = [];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'control-'));
  const path = join(folder, 'control');
  vswitch = Switch.open();
  [a, b] = ['a', 'b'].map((name) => vswitch.addPort({ process: name }));
  server = ControlServer.listen(vswitch, { path });
  client = await ControlClient.connect(path);
});

afterEach(() => {
  client.close();
  server.close();
  vswitch.close();
  rmSync(folder, { recursive: true });
});

/** Sends a frame each way and returns the reasons for which frames were dropped. */
async function drops(): Promise<string[]> {
  const ports = [a!, b!];
  const before = ports.map((port) => port.counters.drops);
  a!.send([there]);
  b!.send([back]);
  for (const port of ports) await port.flush();
  return ports.flatMap((port, i) =>
    Object.entries(port.counters.drops)
      .filter(([reason, count]) => count > before[i]![reason]!)
      .map(([reason]) => reason),
  );
}

test('a link is impaired in the direction that was said, and made whole again', async () => {
  const link = { from: 'a', to: 'b' };
  await client.change({ link, impairment: { loss: 1 } });
  expect(await drops()).toEqual(['lost']);
  await client.change({ link, impairment: {} });
  expect(await drops()).toEqual([]);
});

test('a partition cuts both ways until it heals', async () => {
  await client.change({ partition: [['a'], ['b']] });
  expect(await drops()).toHaveLength(2);
  await client.change({ heal: true });
  expect(await drops()).toEqual([]);
});

test.each([
  ['nothing', {}, 'BAD_OPTION'],
  ['no object', 7, 'BAD_OPTION'],
  ['null', null, 'BAD_OPTION'],
  ['what has no text', { toString: 1, valueOf: 1 }, 'BAD_OPTION'],
  ['what no link has', { link: { from: 'a', to: 'b' }, impairment: { los: 1 } }, 'BAD_OPTION'],
  ['a port that is not there', { partition: [['a'], ['c']] }, 'NO_SUCH_PORT'],
])('a change of %s is refused and changes nothing', async (_, change, code) => {
  await expect(client.change(change as NetworkChange)).rejects.toMatchObject({ code });
  expect(await drops()).toEqual([]);
});
