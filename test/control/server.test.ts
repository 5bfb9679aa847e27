/** The control socket: what it answers. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ControlClient } from '../../src/control/client.ts';
import { ControlServer } from '../../src/control/server.ts';
import { Switch } from '../../src/index.ts';
import { TestGuest } from '../../src/testing/index.ts';
import { ethernetFrame, macOf } from '../support/ethernet.ts';

let folder: string;
let vswitch: Switch;
let server: ControlServer;
let client: ControlClient;

const at = (name: string) => join(folder, name);

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'control-'));
  vswitch = Switch.open();
  server = ControlServer.listen(vswitch, { path: at('control') });
  client = await ControlClient.connect(at('control'));
});

afterEach(() => {
  client.close();
  server.close();
  vswitch.close();
  rmSync(folder, { recursive: true });
});

describe('status', () => {
  test('of a switch without ports says which one it is', async () => {
    const status = await client.status();
    expect(status).toMatchObject({ pid: process.pid, workers: 1, ports: [] });
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
    expect(port).not.toHaveProperty('frontend');
    expect(port).not.toHaveProperty('session');
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
    const [port] = (await client.status()).ports;
    expect(port!.macs).toHaveLength(1);
    expect(port!.frontend).toMatchObject({
      pid: process.pid,
      memory: { regions: 1, bytes: 8 << 20 },
    });
    expect(port!.frontend!.features).toContain('VIRTIO_F_VERSION_1');
    expect(port!.frontend!.rings).toEqual([
      { queue: 0, enabled: true, base: 0, state: 'started', offered: 100 },
      { queue: 1, enabled: true, base: 1, state: 'started', offered: 0 },
    ]);
    expect(port!.session).toMatchObject({ framesFromGuest: 1, framesToGuest: 0, macsLost: [] });
    expect(port!.counters.fromGuest).toMatchObject({ frames: 1 });
  });
});
