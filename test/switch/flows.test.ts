/** What is counted by pair of ports: deliveries and not attempts, and for whom. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import { type Flow, type ProcessPort, Switch } from '../../src/index.ts';
import { TestGuest } from '../../src/testing/index.ts';
import { openManual } from '../support/manual-switch.ts';

let vswitch: Switch;
afterEach(() => vswitch.close());

const mac = (number: number) => [2, 0, 0, 0, 0, number];
const all = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
const frame = (to: number[], from: number, bytes = 100) =>
  Buffer.from([...to, ...mac(from), ...Array(bytes - 12).fill(1)]);

/** By `from to`, with an absent `to` as nothing. */
const flows = () =>
  Object.fromEntries(
    vswitch
      .flows()
      .map(({ from, to, frames, bytes }: Flow) => [`${from} ${to ?? ''}`, [frames, bytes]]),
  );

describe('with a manual clock', () => {
  let ports: ProcessPort[];
  const open = (...names: string[]) => {
    ({ vswitch, ports } = openManual(...names));
  };
  const send = (from: number, to: number[], times = 1, bytes = 100) => {
    for (let i = 0; i < times; i++) ports[from]!.send(frame(to, from, bytes));
    vswitch.step(10);
  };
  /** Each is known to the bridge. */
  const introduce = () => {
    for (const from of ports.keys()) send(from, all);
  };

  test('what is flooded is no flow until something was meant for that port', () => {
    open('a', 'b', 'c');
    introduce();
    expect(flows()).toEqual({ 'a ': [2, 200], 'b ': [2, 200], 'c ': [2, 200] });
    send(0, mac(1), 3);
    send(0, mac(9));
    send(0, all);
    // A pair that has a place counts floods as well: they were delivered.
    expect(flows()).toEqual({
      'a b': [5, 500],
      'a ': [4, 400],
      'b ': [2, 200],
      'c ': [2, 200],
    });
  });

  test('a batch to several ports counts for each of them, with its bytes', () => {
    open('a', 'b', 'c');
    introduce();
    for (let i = 0; i < 20; i++) {
      ports[0]!.send(frame(mac(1 + (i % 2)), 0, i % 2 === 0 ? 60 : 1500));
      if (i % 5 === 0) ports[0]!.send(frame(all, 0, 60));
    }
    vswitch.step(10);
    const { 'a b': toB, 'a c': toC } = flows();
    expect(toB).toEqual([14, 14 * 60]);
    expect(toC).toEqual([14, 10 * 1500 + 4 * 60]);
    const [, b, c] = vswitch.ports;
    expect(b!.counters.toGuest.frames).toBe(14 + 2 + 0);
    expect(c!.counters.toGuest.frames).toBe(14 + 2 + 0);
  });

  test('what is dropped on the way is not counted, what was held is when it is delivered', () => {
    open('a', 'b');
    introduce();
    vswitch.impair({ from: vswitch.port('a')!, to: vswitch.port('b')! }, { loss: 1 });
    send(0, mac(1), 5);
    expect(flows()).toEqual({ 'a ': [1, 100], 'b ': [1, 100] });
    vswitch.impair({ from: vswitch.port('a')!, to: vswitch.port('b')! }, { delayMs: 10 });
    send(0, mac(1), 5);
    expect(flows()['a b']).toBeUndefined();
    vswitch.advance(20);
    vswitch.step(10);
    expect(flows()['a b']).toEqual([5, 500]);
  });

  test('a port that is removed takes its flows along, and its number has new ones', () => {
    open('a', 'b', 'c');
    introduce();
    send(0, mac(1));
    send(1, mac(0));
    send(2, mac(0));
    vswitch.removePort(vswitch.port('b')!);
    expect(Object.keys(flows()).sort()).toEqual(['a ', 'c ', 'c a']);
    ports[1] = vswitch.addPort({ process: 'd' });
    send(1, all);
    send(0, mac(1), 2);
    expect(flows()).toMatchObject({ 'a d': [2, 200], 'd ': [2, 200] });
  });
});

test('of workers that come and go, sums stay, and every byte of guests is in one', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'flows-'));
  vswitch = Switch.open({ workers: 2 });
  const paths = ['a', 'b', 'c', 'd'].map((name) => join(folder, `${name}.sock`));
  for (const path of paths) vswitch.addPort({ path });
  const guests = await Promise.all(paths.map((path) => TestGuest.connect({ path })));
  const rounds = 50;
  const talk = async () => {
    for (let i = 0; i < rounds; i++) {
      for (const [from, guest] of guests.entries()) {
        const to = from ^ 1;
        await guest.send(frame(mac(to + 1), from + 1));
        let received: Uint8Array;
        do received = await guests[to]!.receive();
        while (received[11] !== from + 1);
      }
    }
  };
  await talk();
  /** A worker counts what it has delivered behind the delivery, by the end of its round. */
  const settled = async () => {
    for (let before = ''; ; ) {
      const now = JSON.stringify(flows());
      if (now === before) return;
      before = now;
      await setTimeout(100);
    }
  };
  await settled();
  const sum = () => {
    const counted = vswitch.flows().reduce((total, { bytes }) => total + bytes, 0);
    const delivered = vswitch.ports.reduce(
      (total, { counters }) => total + counters.toGuest.bytes,
      0,
    );
    expect(counted).toBe(delivered);
    return flows();
  };
  const before = sum();
  await vswitch.apply({ ...vswitch.settings, workers: 1 });
  expect(sum()).toEqual(before);
  await talk();
  await vswitch.apply({ ...vswitch.settings, workers: 3 });
  await talk();
  await settled();
  expect(sum()['a b']![0]).toBeGreaterThanOrEqual(3 * rounds - 1);
  for (const guest of guests) await guest.close();
  rmSync(folder, { recursive: true });
});
