/** Ports of this process: frames as bytes, in batches, both ways. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Switch } from '../../../src/index.ts';
import { TestGuest } from '../../../src/testing/index.ts';
import { broadcast, ethernetFrame, frameBetween, macOf } from '../../support/ethernet.ts';
import { openManual } from '../../support/manual-switch.ts';

const codeOf = (code: string) => expect.objectContaining({ code });

describe('a port of this process', () => {
  test('sends to and receives from a guest, in batches and in order', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'process-'));
    try {
      await using vswitch = Switch.open();
      const port = vswitch.addPort({ process: 'test' });
      vswitch.addPort({ path: join(folder, 'vm.sock') });
      const guest = await TestGuest.connect({ path: join(folder, 'vm.sock') });
      const frames = Array.from({ length: 50 }, (_, i) => frameBetween(0, 1, i));
      expect(port.send(frames)).toBe(50);
      for (const frame of frames)
        expect(Buffer.from(await guest.receive())).toEqual(Buffer.from(frame));
      await guest.send(frameBetween(1, 0, 7));
      expect(await port.receive()).toEqual([Buffer.from(frameBetween(1, 0, 7))]);
      await port.flush();
      expect(port.counters.fromGuest.frames).toBe(50);
      expect(port.counters.toGuest.frames).toBe(1);
      await guest.close();
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('carries a million frames whole while both ends work in turns', async () => {
    await using vswitch = Switch.open();
    const [a, b] = [vswitch.addPort({ process: 'a' }), vswitch.addPort({ process: 'b' })];
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
    const port = vswitch.addPort({ process: 'a' });
    await expect(port.receive({ timeoutMs: 1 })).rejects.toMatchObject({ code: 'TIMEOUT' });
    await expect(port.receive({ timeoutMs: -1 })).rejects.toMatchObject({ code: 'BAD_OPTION' });
    const waiting = expect(port.receive()).rejects.toMatchObject({ code: 'CLOSED' });
    vswitch.close();
    await waiting;
    await expect(port.flush()).rejects.toMatchObject({ code: 'CLOSED' });
    expect(() => port.send(new Uint8Array(60))).toThrow(codeOf('CLOSED'));
    expect(() => port.take()).toThrow(codeOf('CLOSED'));
    expect(() => port.counters).toThrow(codeOf('CLOSED'));
  });

  test('iterates over its batches until it is closed', async () => {
    const vswitch = Switch.open();
    const [a, b] = [vswitch.addPort({ process: 'a' }), vswitch.addPort({ process: 'b' })];
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

  test('has an older spelling, host, and says so as its kind', () => {
    const vswitch = Switch.open({ clock: 'manual' });
    const [a, b] = [vswitch.addPort({ host: 'a' }), vswitch.addPort({ process: 'b' })];
    a.send(frameBetween(0, 1));
    vswitch.step();
    expect(b.take()).toHaveLength(1);
    expect([a, b].map(({ name, kind }) => [name, kind])).toEqual([
      ['a', 'host'],
      ['b', 'host'],
    ]);
    expect(() => vswitch.addPort({ host: 'b' })).toThrow(codeOf('BAD_OPTION'));
    vswitch.close();
  });
});
