/**
 * Ports of this process, bridges, and a clock that stands still: what a test of a network is made of.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type EventsLost, Switch, type SwitchEvent } from '../../../src/index.ts';
import type { HostPort } from '../../../src/port/process/process-port.ts';
import { TestGuest } from '../../../src/testing/index.ts';
import { broadcast, ethernetFrame, frameBetween, macOf } from '../../support/ethernet.ts';

const codeOf = (code: string) => expect.objectContaining({ code });

function openManual(...names: string[]): { vswitch: Switch; ports: HostPort[] } {
  const vswitch = Switch.open({ clock: 'manual' });
  return { vswitch, ports: names.map((host) => vswitch.addPort({ host })) };
}

describe('a host port', () => {
  test('sends to and receives from a guest, in batches and in order', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'host-'));
    try {
      await using vswitch = Switch.open();
      const host = vswitch.addPort({ host: 'test' });
      vswitch.addPort({ path: join(folder, 'vm.sock') });
      const guest = await TestGuest.connect({ path: join(folder, 'vm.sock') });
      const frames = Array.from({ length: 50 }, (_, i) => frameBetween(0, 1, i));
      expect(host.send(frames)).toBe(50);
      for (const frame of frames)
        expect(Buffer.from(await guest.receive())).toEqual(Buffer.from(frame));
      await guest.send(frameBetween(1, 0, 7));
      expect(await host.receive()).toEqual([Buffer.from(frameBetween(1, 0, 7))]);
      await host.flush();
      expect(host.counters.fromGuest.frames).toBe(50);
      expect(host.counters.toGuest.frames).toBe(1);
      await guest.close();
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('carries a million frames whole while both ends work in turns', async () => {
    await using vswitch = Switch.open();
    const [a, b] = [vswitch.addPort({ host: 'a' }), vswitch.addPort({ host: 'b' })];
    b.send(frameBetween(1, 0));
    await b.flush();
    const frame = Buffer.from(frameBetween(0, 1));
    const batch = Array.from({ length: 256 }, () => frame);
    let [sent, received] = [0, 0];
    while (sent < 1_000_000) {
      const taken = a.send(batch);
      sent += taken;
      if (taken < batch.length) await a.flush();
      for (const got of b.take()) {
        received++;
        if (!got.equals(frame)) expect(got).toEqual(frame);
      }
    }
    await a.flush();
    for (let more = b.take(); more.length > 0; more = b.take()) received += more.length;
    expect(received + b.counters.drops.noBuffer!).toBe(sent);
  });

  test('takes no more than its ring holds, and the rest after a flush', async () => {
    const { vswitch, ports } = openManual('a', 'b');
    const jumbo = ethernetFrame({ from: macOf(0), to: broadcast, lengthBytes: 60_000 });
    const many = Array.from({ length: 30 }, () => jumbo);
    const sent = ports[0]!.send(many);
    expect(sent).toBeGreaterThan(10);
    expect(sent).toBeLessThan(30);
    vswitch.step();
    expect(ports[0]!.send(many.slice(sent))).toBe(30 - sent);
    vswitch.close();
  });

  test.each<[string, unknown]>([
    ['13 bytes', new Uint8Array(13)],
    ['65551 bytes', new Uint8Array(65551)],
    ['text', 'hello'],
    ['nothing', undefined],
    ['a good frame and a bad one', [new Uint8Array(60), new Uint8Array(1)]],
  ])('refuses %s and sends nothing', (_, frames) => {
    const { vswitch, ports } = openManual('a', 'b');
    expect(() => ports[0]!.send(frames as Uint8Array[])).toThrow(codeOf('BAD_FRAME'));
    expect(vswitch.step()).toBe(0);
    vswitch.close();
  });

  test('says TIMEOUT when nothing comes, and CLOSED to whoever waits when it is closed', async () => {
    const vswitch = Switch.open();
    const host = vswitch.addPort({ host: 'a' });
    await expect(host.receive({ timeoutMs: 1 })).rejects.toMatchObject({ code: 'TIMEOUT' });
    await expect(host.receive({ timeoutMs: -1 })).rejects.toMatchObject({ code: 'BAD_OPTION' });
    const waiting = expect(host.receive()).rejects.toMatchObject({ code: 'CLOSED' });
    vswitch.close();
    await waiting;
    await expect(host.flush()).rejects.toMatchObject({ code: 'CLOSED' });
    expect(() => host.send(new Uint8Array(60))).toThrow(codeOf('CLOSED'));
    expect(() => host.take()).toThrow(codeOf('CLOSED'));
    expect(() => host.counters).toThrow(codeOf('CLOSED'));
  });

  test('iterates over its batches until it is closed', async () => {
    const vswitch = Switch.open();
    const [a, b] = [vswitch.addPort({ host: 'a' }), vswitch.addPort({ host: 'b' })];
    let received = 0;
    const reading = (async () => {
      for await (const batch of b.batches()) {
        received += batch.length;
        if (received === 3) vswitch.close();
      }
    })();
    for (let i = 0; i < 3; i++) a.send(frameBetween(0, 1, i));
    await reading;
    expect(received).toBe(3);
  });
});

describe('bridges', () => {
  test('of one switch pass no frame to each other, and each knows its own addresses', () => {
    const vswitch = Switch.open({ clock: 'manual' });
    const [a, b] = [vswitch.addPort({ host: 'a' }), vswitch.addPort({ host: 'b' })];
    const [c, d] = ['c', 'd'].map((host) => vswitch.addPort({ host, bridge: 'blue' })) as [
      HostPort,
      HostPort,
    ];
    a!.send(frameBetween(0, 9));
    c.send(frameBetween(0, 9, 1));
    vswitch.step();
    expect([a, b, c, d].map((port) => port!.take().length)).toEqual([0, 1, 0, 1]);
    expect(vswitch.bridges.map(({ name, fdb }) => [name, fdb.map(({ port }) => port)])).toEqual([
      ['default', ['a']],
      ['blue', ['c']],
    ]);
    expect(d.bridge).toBe('blue');
    vswitch.close();
  });

  test('are named like ports: a name that is no name is BAD_OPTION', () => {
    const vswitch = Switch.open({ clock: 'manual' });
    for (const bridge of ['', 7 as unknown as string]) {
      expect(() => vswitch.addPort({ host: 'a', bridge })).toThrow(codeOf('BAD_OPTION'));
    }
    expect(() => vswitch.addPort({ host: '' })).toThrow(codeOf('BAD_OPTION'));
    vswitch.addPort({ host: 'a' });
    expect(() => vswitch.addPort({ host: 'a', bridge: 'blue' })).toThrow(codeOf('BAD_OPTION'));
    expect(vswitch.ports).toHaveLength(1);
    vswitch.close();
  });

  test('carry 1024 ports, and not one more', () => {
    const vswitch = Switch.open({ clock: 'manual' });
    const ports = Array.from({ length: 1024 }, (_, i) => vswitch.addPort({ host: `p${i}` }));
    expect(() => vswitch.addPort({ host: 'one more' })).toThrow(codeOf('TOO_MANY_PORTS'));
    ports[1023]!.send(ethernetFrame({ from: macOf(1), to: broadcast }));
    vswitch.step();
    expect(ports.filter((port) => port.take().length === 1)).toHaveLength(1023);
    vswitch.removePort(ports[5]!);
    expect(vswitch.addPort({ host: 'another' }).number).toBe(5);
    vswitch.close();
  });
});

describe('events', () => {
  test('stream from the moment they are asked for until the switch is closed', async () => {
    const { vswitch, ports } = openManual('a', 'b');
    const events = vswitch.events();
    ports[0]!.send([frameBetween(0, 1), frameBetween(2, 1)]);
    vswitch.step();
    ports[1]!.send(frameBetween(0, 1));
    vswitch.step();
    vswitch.close();
    const seen: (SwitchEvent | EventsLost)[] = [];
    for await (const event of events) seen.push(event);
    expect(seen).toEqual([
      { type: 'mac-learned', port: 'a', mac: macOf(0) },
      { type: 'mac-learned', port: 'a', mac: macOf(2) },
      { type: 'mac-moved', port: 'b', fromPort: 'a', mac: macOf(0) },
    ]);
    expect(() => vswitch.events()).toThrow(codeOf('CLOSED'));
  });

  test('streams end with their loop or their signal, and leave no listener', async () => {
    const { vswitch, ports } = openManual('a', 'b');
    const stop = new AbortController();
    const aborted = vswitch.events({ signal: stop.signal });
    const events = vswitch.events();
    expect(vswitch.listenerCount('event')).toBe(2);
    ports[0]!.send(frameBetween(0, 1));
    vswitch.step();
    for await (const { type } of events) {
      expect(type).toBe('mac-learned');
      break;
    }
    stop.abort();
    await expect(
      (async () => {
        for await (const _ of aborted);
      })(),
    ).rejects.toMatchObject({ name: 'AbortError' });
    expect(vswitch.listenerCount('event')).toBe(0);
    vswitch.close();
  });
});

test('a stream that nobody reads keeps 16384 events, and counts the others until it is read', async () => {
  const { vswitch, ports } = openManual('a', 'b');
  const events = vswitch.events();
  let told = 0;
  vswitch.on('event', () => told++);
  const macs = Array.from({ length: 4000 }, (_, i) => macOf(i & 0xff, i >> 8));
  const frames = macs.map((from) => ethernetFrame({ from, to: broadcast }));
  // Learned once, then moved to and fro.
  for (let i = 0; told < 16_484; i = (i + 1) % 2) {
    for (let at = 0; at < frames.length; at += 64) {
      ports[i]!.send(frames.slice(at, at + 64));
      vswitch.step();
      for (const port of ports) port.take();
    }
  }
  const read: (SwitchEvent | EventsLost)[] = [];
  while (read.at(-1)?.type !== 'events-lost') read.push((await events.next()).value);
  expect(read).toHaveLength(16_385);
  expect(read.at(-1)).toEqual({ type: 'events-lost', count: told - 16_384 });
  ports[0]!.send(ethernetFrame({ from: macOf(0, 0xffff), to: broadcast }));
  vswitch.step();
  expect((await events.next()).value).toMatchObject({ mac: macOf(0, 0xffff) });
  vswitch.close();
});

describe('a manual clock', () => {
  test('moves nothing but when told to, and tells everything before step() returns', () => {
    const { vswitch, ports } = openManual('a', 'b');
    const learned: string[] = [];
    vswitch.on('mac-learned', ({ mac }) => learned.push(mac));
    ports[0]!.send([frameBetween(0, 1), frameBetween(2, 1)]);
    expect(ports[1]!.take()).toEqual([]);
    expect(vswitch.step()).toBe(2);
    expect(learned).toEqual([macOf(0), macOf(2)]);
    expect(ports[1]!.take()).toHaveLength(2);
    expect(vswitch.step(100)).toBe(0);
    vswitch.close();
  });

  test('ages addresses by advance() alone', () => {
    const vswitch = Switch.open({ clock: 'manual', ageingSeconds: 2 });
    const [a] = ['a', 'b'].map((host) => vswitch.addPort({ host }));
    a!.send(frameBetween(0, 1));
    vswitch.step();
    vswitch.advance(2000);
    expect(vswitch.bridge.fdb).toEqual([{ mac: macOf(0), port: 'a', ageSeconds: 2 }]);
    vswitch.advance(1000);
    expect(vswitch.bridge.fdb).toEqual([]);
    vswitch.close();
  });

  test.each<[string, object]>([
    ['workers', { workers: 2 }],
    ['CPUs', { cpus: [0] }],
    ['another name', { clock: 'sundial' }],
  ])('with %s is BAD_OPTION', (_, options) => {
    expect(() => Switch.open({ clock: 'manual', ...options })).toThrow(codeOf('BAD_OPTION'));
  });

  test('is what step() and advance() need; their arguments are checked', () => {
    const { vswitch } = openManual();
    for (const rounds of [0, -1, 1.5, Number.NaN, '1' as unknown as number]) {
      expect(() => vswitch.step(rounds)).toThrow(codeOf('BAD_OPTION'));
    }
    for (const ms of [-1, Number.NaN, Number.POSITIVE_INFINITY, '1' as unknown as number]) {
      expect(() => vswitch.advance(ms)).toThrow(codeOf('BAD_OPTION'));
    }
    vswitch.close();
    expect(() => vswitch.step()).toThrow(codeOf('CLOSED'));
    expect(() => vswitch.advance(1)).toThrow(codeOf('CLOSED'));
    const running = Switch.open();
    expect(() => running.step()).toThrow(codeOf('BAD_OPTION'));
    expect(() => running.advance(1)).toThrow(codeOf('BAD_OPTION'));
    running.close();
  });
});
