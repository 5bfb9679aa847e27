/**
 * The doctor on a switch that runs: every ailment is provoked by a frontend that has it, and found;
 * those that need a real machine are in machines.test.ts.
 */

import { chmodSync, ftruncateSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ControlClient } from '../../../src/control/client.ts';
import type { Diagnosis } from '../../../src/control/doctor/diagnosis.ts';
import { examine } from '../../../src/control/doctor/examine.ts';
import { ControlServer } from '../../../src/control/server.ts';
import { type TestGuest, VhostUserFrontend } from '../../../src/testing/index.ts';
import { virtioFeatures } from '../../../src/vhost-user/features.ts';
import { u64Layout, vringFdLayout, vringStateLayout } from '../../../src/vhost-user/message.ts';
import { ethernetFrame, macOf } from '../../support/ethernet.ts';
import { SwitchNetwork } from '../../support/network.ts';

let network: SwitchNetwork;
let server: ControlServer;
let client: ControlClient;

/** Port p0 is the patient; on p1 is a healthy guest. */
beforeEach(async () => {
  network = SwitchNetwork.open(2);
  const path = join(dirname(network.path(0)), 'control');
  server = ControlServer.listen(network.vswitch, { path });
  client = await ControlClient.connect(path);
  const peer = await network.connect(1);
  await speak(peer, 1);
});

afterEach(async () => {
  client.close();
  server.close();
  await network.close();
});

/** A broadcast, so that the guest is not silent. */
async function speak(guest: TestGuest, number: number): Promise<void> {
  await guest.send(ethernetFrame({ from: macOf(number), to: macOf(0xff) }));
  await guest.flush();
}

async function examined(port: string): Promise<Diagnosis> {
  return (await examine(client)).find((diagnosis) => diagnosis.port === port)!;
}

/** What is found at p0 beside what all guests of this process have: no huge pages. */
async function ailments(): Promise<string[]> {
  const { findings } = await examined('p0');
  return findings.map(({ code }) => code).filter((code) => code !== 'no-huge-pages');
}

test('guests that talk carry frames, on ordinary pages', async () => {
  const guest = await network.connect(0);
  await speak(guest, 0);
  const { findings, ...rest } = await examined('p0');
  expect(rest).toEqual({ port: 'p0', carries: true });
  expect(findings.map(({ code }) => code)).toEqual(['no-huge-pages']);
  expect(await examined('p1')).toMatchObject({ carries: true });
});

describe('without a frontend', () => {
  test('not-connected', async () => {
    expect((await ailments())[0]).toBe('not-connected');
    const guest = await network.connect(0);
    await guest.close();
    await network.event('frontend-left');
    const { findings } = await examined('p0');
    expect(findings[0]!.sentence).toMatch(/no machine since 20/);
  });

  test('socket-lost: the file was removed, or replaced', async () => {
    renameSync(network.path(0), `${network.path(0)}.away`);
    expect(await ailments()).toEqual(['socket-lost']);
    renameSync(network.path(1), network.path(0));
    expect(await ailments()).toEqual(['socket-lost']);
    rmSync(`${network.path(0)}.away`);
  });

  test('nobody-listens', async () => {
    const path = join(dirname(network.path(0)), 'machine.sock');
    network.vswitch.addPort({ connect: path, name: 'dialling' });
    await network.event('waiting');
    const { findings } = await examined('dialling');
    expect(findings.map(({ code }) => code)).toEqual(['nobody-listens']);
    expect(findings[0]!.sentence).toContain('No such file');
    expect(findings[0]!.sentence).toContain(`path=${path},server=on`);
  });

  test('socket-closed: a folder keeps out whom the socket lets in', async () => {
    const folder = join(dirname(network.path(0)), 'closed');
    mkdirSync(folder, { mode: 0o700 });
    chmodSync(dirname(folder), 0o755);
    network.vswitch.addPort({ path: join(folder, 'web.sock'), mode: 0o666 });
    const { findings } = await examined('web');
    expect(findings.map(({ code }) => code)).toEqual(['not-connected', 'socket-closed']);
    expect(findings[1]!.sentence).toContain(`\`chmod o+x ${folder}\``);
    chmodSync(folder, 0o711);
    expect((await examined('web')).findings).toHaveLength(1);
  });
});

describe('after the switch ended the session', () => {
  async function refused(say: (frontend: VhostUserFrontend) => Promise<void>): Promise<string[]> {
    const frontend = VhostUserFrontend.connect({ path: network.path(0) });
    await say(frontend).catch(() => {});
    await network.event('frontend-left');
    frontend.close();
    return ailments();
  }

  test('features-refused', async () => {
    const features = virtioFeatures.VIRTIO_F_VERSION_1 | virtioFeatures.VIRTIO_F_ACCESS_PLATFORM;
    const found = refused((frontend) => frontend.tell('SET_FEATURES', u64Layout, features));
    expect(await found).toEqual(['features-refused']);
    const [finding] = (await examined('p0')).findings;
    expect(finding!.sentence).toContain('VIRTIO_F_ACCESS_PLATFORM was not offered');
  });

  test('session-ended', async () => {
    const size = { index: 0, num: 513 };
    const found = refused((frontend) => frontend.tell('SET_VRING_NUM', vringStateLayout, size));
    expect(await found).toEqual(['session-ended']);
  });

  test('memory-lost', async () => {
    const guest = await network.connect(0, { memory: 'file' });
    // Nothing here may touch the memory afterwards, as the guest does when it is called.
    for (const index of [0, 1]) {
      await guest.frontend.tell('SET_VRING_CALL', vringFdLayout, { index, hasFd: false });
    }
    ftruncateSync(guest.memory.fd, 0);
    guest.kick('transmitq');
    await network.event('frontend-left');
    guest.disconnect();
    expect(await ailments()).toEqual(['memory-lost']);
  });

  test('a frontend that gets further is not reminded of it', async () => {
    await refused((frontend) => frontend.tell('SET_FEATURES', u64Layout, 1n << 63n));
    await speak(await network.connect(0), 0);
    expect(await ailments()).toEqual([]);
  });
});

describe('with a frontend', () => {
  test('driver-not-up: nothing started, or a direction missing', async () => {
    const frontend = VhostUserFrontend.connect({ path: network.path(0) });
    await frontend.negotiate(virtioFeatures.VIRTIO_F_VERSION_1, 0n);
    expect(await ailments()).toEqual(['driver-not-up']);
    frontend.close();
    await network.event('frontend-left');
    const guest = await network.connect(0);
    await guest.frontend.stopRing(0);
    expect(await ailments()).toEqual(['driver-not-up']);
  });

  test('ring-broken', async () => {
    const guest = await network.connect(0);
    guest.transmitq.driver.ring.availIndex += 1000;
    guest.kick('transmitq');
    await network.event('ring-broken');
    expect(await ailments()).toEqual(['ring-broken']);
    const [finding] = (await examined('p0')).findings;
    expect(finding!.sentence).toContain('queue 1, a transmitq, is broken: ');
  });

  test.each([0, 1])('ring-disabled: queue %i', async (queue) => {
    const guest = await network.connect(0);
    await guest.frontend.enableRing(queue, false);
    expect(await ailments()).toEqual(['ring-disabled']);
    await guest.frontend.enableRing(queue, true);
    await speak(guest, 0);
    expect(await ailments()).toEqual([]);
  });

  test('no-receive-buffers', async () => {
    await speak(await network.connect(0, { receiveBuffers: 0 }), 0);
    expect(await ailments()).toEqual(['no-receive-buffers']);
  });

  test('silent', async () => {
    await network.connect(0);
    expect(await ailments()).toEqual(['silent']);
  });

  test('no-peer', async () => {
    await speak(await network.connect(0), 0);
    network.vswitch.removePort(network.port(1));
    expect(await ailments()).toEqual(['no-peer']);
  });

  test('frame-too-long', async () => {
    const features = virtioFeatures.VIRTIO_F_VERSION_1;
    const guest = await network.connect(0, { features, receiveBufferBytes: 64 });
    await speak(guest, 0);
    network.addPort();
    const other = await network.connect(2);
    await other.send(ethernetFrame({ from: macOf(2), to: macOf(0), lengthBytes: 200 }));
    await other.flush();
    const { findings } = await examined('p0');
    expect(findings[0]).toMatchObject({ code: 'frame-too-long' });
    expect(findings[0]!.sentence).toContain('1 frames were longer');
  });

  test('source-spoofed', async () => {
    network.vswitch.addPort({ path: network.path(2), source: { macs: [macOf(2)] } });
    await speak(await network.connect(2), 7);
    const [finding] = (await examined('p2')).findings;
    expect(finding).toMatchObject({ code: 'source-spoofed', effect: 'loses' });
    expect(finding!.sentence).toContain('1 for a MAC address and 0 for');
  });

  test('mac-elsewhere, at both ports, until one of them leaves', async () => {
    const guest = await network.connect(0);
    await speak(guest, 1);
    await network.event('mac-moved');
    for (const [port, other] of [
      ['p0', 'p1'],
      ['p1', 'p0'],
    ] as const) {
      const [finding] = (await examined(port)).findings;
      expect(finding).toMatchObject({ code: 'mac-elsewhere', effect: 'loses' });
      expect(finding!.sentence).toContain(`behind port ${other}`);
    }
    await guest.close();
    await network.event('frontend-left');
    expect(await examined('p1')).toMatchObject({ carries: true });
  });

  test('turned-away: a note about a second machine', async () => {
    await speak(await network.connect(0), 0);
    const second = VhostUserFrontend.connect({ path: network.path(0) });
    await network.event('frontend-refused');
    second.close();
    expect(await ailments()).toEqual(['turned-away']);
    expect(await examined('p0')).toMatchObject({ carries: true });
  });
});
