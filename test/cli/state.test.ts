/**
 * The state folder of the command: one switch has it, what bridges learned is there for the next
 * one, and a folder that is damaged or full keeps nobody from forwarding.
 */

import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execaSync } from 'execa';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ControlClient } from '../../src/control/client.ts';
import { TestGuest } from '../../src/testing/index.ts';
import { Command } from '../support/command.ts';
import { frameBetween, numberOf } from '../support/ethernet.ts';
import { needs } from '../support/needs.ts';

let folder: string;
const next: number[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'state-'));
});

afterEach(async () => {
  for (const pid of next.splice(0)) process.kill(pid, 'SIGKILL');
  await Command.killAll();
  rmSync(folder, { recursive: true });
});

const at = (name: string) => join(folder, name);
const socket = (name: string) => at(`${name}.sock`);
const state = (name = '') => join(folder, 'state', name);
const keeping = () => ['--state', state(), '--control', socket('control')];
const start = () => Command.start(['a', 'b', 'c'].map(socket), keeping());
const guest = (name: string) => TestGuest.connect({ path: socket(name), timeoutMs: 60_000 });

async function expectFrame(from: TestGuest, to: TestGuest, [source, target]: readonly number[]) {
  await from.send(frameBetween(source!, target!, 7));
  expect(numberOf(await to.receive())).toBe(7);
}

async function learn(a: TestGuest, b: TestGuest): Promise<void> {
  await expectFrame(a, b, [0, 1]);
  await expectFrame(b, a, [1, 0]);
}

async function ask<Answer>(question: (client: ControlClient) => Promise<Answer>): Promise<Answer> {
  await using client = await ControlClient.connect(socket('control'));
  return await question(client);
}

test('a switch that was restarted knows what it had learned, and floods nothing', async () => {
  const command = await start();
  await using a = await guest('a');
  await using b = await guest('b');
  await using c = await guest('c');
  await learn(a, b);
  await command.stop();
  await start();
  for (const each of [a, b, c]) await each.reconnect();
  const known = await ask((client) => client.fdb());
  expect(known.map(({ mac, port }) => [mac, port]).toSorted()).toEqual([
    ['52:54:00:00:00:00', 'a'],
    ['52:54:00:00:00:01', 'b'],
  ]);
  await learn(a, b);
  const ports = await ask((client) => client.ports());
  expect(ports.map(({ counters }) => counters.floodedFrames)).toEqual([0, 0, 0]);
});

test('an address that was fixed meanwhile stays where it was fixed', async () => {
  const command = await start();
  await using a = await guest('a');
  await using b = await guest('b');
  await learn(a, b);
  await command.stop();
  const running = await start();
  const fixed = { mac: '52:54:00:00:00:01', port: 'c' };
  await ask(async (client) => client.apply({ ...(await client.settings()), fdb: [fixed] }));
  for (const each of [a, b]) await each.reconnect();
  await running.said('connected', 2);
  await expect
    .poll(async () =>
      (await ask((client) => client.fdb())).map(({ mac, port }) => [mac, port]).sort(),
    )
    .toEqual([
      ['52:54:00:00:00:00', 'a'],
      ['52:54:00:00:00:01', 'c'],
    ]);
});

test('of a port whose machine does not come back nothing is known', async () => {
  const command = await start();
  await using a = await guest('a');
  await using b = await guest('b');
  await learn(a, b);
  await command.stop();
  await start();
  await a.reconnect();
  expect((await ask((client) => client.fdb())).map(({ port }) => port)).toEqual(['a']);
  await b.reconnect();
});

describe('a file of addresses', () => {
  const written = Math.floor(Date.now() / 1000);
  const value = { at: written, bridges: [{ bridge: 'default', learned: [[1, 0, 'a']] }] };
  const envelope = { document: 'addresses', version: 1, value };
  test.each<[string, string, RegExp]>([
    ['cut short', JSON.stringify(envelope).slice(0, 50), /is damaged .* put aside/],
    ['of a later version', JSON.stringify({ ...envelope, version: 2 }), /a later one wrote it/],
    [
      'with an address of a group',
      JSON.stringify({
        ...envelope,
        value: { at: written, bridges: [{ bridge: 'x', learned: [[2 ** 40, 0, 'a']] }] },
      }),
      /is damaged \(an address of bridge x is none\)/,
    ],
    ['of nobody', '[]', /is damaged/],
  ])('%s is told in one sentence, and the switch forwards', async (_, text, sentence) => {
    mkdirSync(state());
    writeFileSync(state('addresses.json'), text);
    const command = await start();
    await command.said('learned addresses are not kept: ');
    expect(command.stdout).toMatch(sentence);
    expect(command.timesSaid('learned addresses are not kept')).toBe(1);
    await using a = await guest('a');
    await using b = await guest('b');
    await learn(a, b);
  });

  test('that is older than addresses are kept counts no more', async () => {
    mkdirSync(state());
    const old = { ...envelope, value: { ...value, at: written - 301 } };
    writeFileSync(state('addresses.json'), JSON.stringify(old));
    await start();
    await using _ = await guest('a');
    expect(await ask((client) => client.fdb())).toEqual([]);
  });
});

test('a second switch on the folder says which process has it, and one after that one has it', async () => {
  const first = await start();
  const second = await Command.run(['--socket', socket('d'), '--state', state()]);
  expect(second.status).toBe(1);
  expect(second.stderr).toBe(
    `tsvswitch: ${state()}: process ${first.pid} keeps its state there; ` +
      'give this switch another folder\n',
  );
  expect(existsSync(socket('d'))).toBe(false);
  await first.stop('SIGKILL');
  const third = await start();
  expect(readFileSync(state('lock'), 'utf8')).toBe(`${third.pid}\n`);
  const { pid } = await ask((client) => client.upgrade());
  next.push(pid);
  await third.said('taking requests', 2);
  await expect.poll(() => readFileSync(state('lock'), 'utf8')).toBe(`${pid}\n`);
  const fourth = await Command.run(['--socket', socket('d'), '--state', state()]);
  expect(fourth.stderr).toContain(`process ${pid} keeps its state there`);
});

describe('a full disk', needs(process.getuid?.() === 0 ? undefined : 'needs root'), () => {
  beforeEach(() => {
    mkdirSync(state());
    execaSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'none', state()]);
  });

  afterEach(() => {
    execaSync('umount', ['--lazy', state()]);
  });

  const fill = () => {
    try {
      writeFileSync(state('filler'), Buffer.alloc(1 << 20));
    } catch {
      // Until there is no room.
    }
  };

  test('keeps nobody from forwarding, and the operator is told', async () => {
    writeFileSync(at('switch.yaml'), `ports: { a: { path: ${socket('a')} } }\n`);
    const command = Command.begin(['run', '--config', at('switch.yaml'), ...keeping()]);
    await command.said(`taking requests`);
    fill();
    await using a = await guest('a');
    await ask((client) => client.addPort({ path: socket('b') }));
    await command.said('what was changed at run time is not kept: ');
    expect(command.stdout).toContain('the disk is full');
    await using b = await guest('b');
    await learn(a, b);
    rmSync(state('filler'));
    await ask((client) => client.addPort({ path: socket('c') }));
    await expect.poll(() => existsSync(state('settings.json'))).toBe(true);
    fill();
    await command.stop();
    expect(command.stdout).toMatch(/learned addresses are not kept: .*the disk is full/);
  });
});
