/** What is changed at run time outlives the process, and nothing that forwards depends on it. */

import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { ControlClient } from '../../src/control/client.ts';
import type { SwitchSettings } from '../../src/index.ts';
import { TestGuest } from '../../src/testing/index.ts';
import { Command } from '../support/command.ts';
import { frameBetween, numberOf } from '../support/ethernet.ts';

let folder: string;
let file: string;
let state: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'kept-'));
  file = join(folder, 'switch.yaml');
  state = join(folder, 'state');
});

afterEach(async () => {
  await Command.killAll();
  rmSync(folder, { recursive: true });
});

const at = (name: string) => join(folder, `${name}.sock`);
const control = () => at('control');
const keptFile = () => join(state, 'settings.json');
const kept = () => JSON.parse(readFileSync(keptFile(), 'utf8'));

function declare(...ports: readonly string[]): void {
  const lines = ports.map((name) => `  ${name}: { path: ${at(name)} }\n`);
  writeFileSync(file, `control: ${control()}\nports:\n${lines.join('')}`);
}

async function start(): Promise<Command> {
  const env = { STATE_DIRECTORY: state };
  const command = Command.begin(['run', '--config', file], { env });
  await command.said('taking requests on');
  return command;
}

async function asked<T>(ask: (client: ControlClient) => Promise<T>): Promise<T> {
  await using client = await ControlClient.connect(control());
  return ask(client);
}

const settings = () => asked((client) => client.settings());
const isKept = (pattern: object) =>
  vi.waitFor(() => expect(kept().value).toMatchObject(pattern), { timeout: 10_000 });

async function expectForwarding(): Promise<void> {
  await using a = await TestGuest.connect({ path: at('a') });
  await using b = await TestGuest.connect({ path: at('b') });
  await a.send(frameBetween(0, 1, 7));
  expect(numberOf(await b.receive())).toBe(7);
}

describe('what was changed', () => {
  test('is there after kill -9, whatever it was', async () => {
    declare('a', 'b', 'gone');
    const command = await start();
    expect(existsSync(join(state, 'settings.json'))).toBe(false);
    await asked(async (client) => {
      await client.addPort({ path: at('new'), bridge: 'blue' });
      await client.addPort({ connect: at('nobody'), name: 'far' });
      await client.removePort('gone');
      await client.addWorker();
      await client.change({ link: { port: 'a' }, impairment: { loss: 0.5 } });
      await client.change({ partition: [['a'], ['b']] });
    });
    const before = await settings();
    await isKept({ values: { partition: [['a'], ['b']] } });
    await command.stop('SIGKILL');
    const again = await start();
    expect(sorted(await settings())).toEqual(sorted(before));
    expect(again.stdout).not.toContain('settings were applied');
    await again.stop();
  });

  test('is kept at the end of a switch that ends at once', async () => {
    declare('a');
    const command = await start();
    await asked((client) => client.addPort({ path: at('new') }));
    await command.stop();
    expect(kept().value.ports).toMatchObject({ new: { is: 'added' } });
  });

  test('stays over a file that is read again, and is no change once the file says it', async () => {
    declare('a', 'b');
    const command = await start();
    await asked((client) => client.removePort('b'));
    await asked((client) => client.addPort({ path: at('c') }));
    await isKept({ ports: { b: { is: 'removed' }, c: { is: 'added' } } });
    declare('a', 'b', 'd');
    process.kill(command.pid, 'SIGHUP');
    await command.said('was read again');
    expect(Object.keys((await settings()).ports).toSorted()).toEqual(['a', 'c', 'd']);
    declare('a', 'c', 'd');
    process.kill(command.pid, 'SIGHUP');
    await command.said('was read again: 0 changes');
    await vi.waitFor(() => expect(kept().value.ports).toEqual({}), { timeout: 10_000 });
  });

  test('and does not fit a file that was changed has the reload refused', async () => {
    declare('a');
    const command = await start();
    await asked((client) => client.addPort({ path: at('x'), name: 'one' }));
    declare('a', 'x');
    process.kill(command.pid, 'SIGHUP');
    await command.said('nothing was reloaded');
    expect(command.stdout).toContain(`${file} does not fit what was changed at run time (ports.`);
    await asked((client) => client.removePort('one'));
  });
});

describe('a switch starts, forwards and says why in a sentence, when what was kept', () => {
  const troubles = (command: Command) =>
    command.stdout.split('\n').filter((line) => line.includes(' warn '));

  async function expectTrouble(sentence: RegExp): Promise<Command> {
    declare('a', 'b');
    const command = await start();
    await command.said(' warn ');
    expect(troubles(command)).toEqual([expect.stringMatching(sentence)]);
    await expectForwarding();
    return command;
  }

  test('was written by half', async () => {
    mkdirSync(state);
    writeFileSync(keptFile(), '{"document":"settings","version":1,"value":{"val');
    await expectTrouble(/settings\.json is damaged .* put aside as \S+; what was changed/);
    await asked((client) => client.addPort({ path: at('c') }));
    await isKept({ ports: { c: { is: 'added' } } });
  });

  test('was written by a later version, and leaves it', async () => {
    mkdirSync(state);
    const later = '{"document":"settings","version":99,"value":{"what":"ever"}}\n';
    writeFileSync(keptFile(), later);
    const command = await expectTrouble(/version 99, and this program reads up to 1/);
    await asked((client) => client.addPort({ path: at('c') }));
    await command.said('is not kept: ');
    await asked((client) => client.removePort('c'));
    await asked((client) => client.addPort({ path: at('d') }));
    await command.stop();
    expect(troubles(command)).toHaveLength(2);
    expect(readFileSync(keptFile(), 'utf8')).toBe(later);
  });

  test('does not fit the file any more', async () => {
    mkdirSync(state);
    const added = { kind: 'vhost-user', path: at('a'), bridge: 'default' };
    const value = { values: {}, ports: { z: { is: 'added', as: added } }, bridges: {}, links: {} };
    writeFileSync(keptFile(), JSON.stringify({ document: 'settings', version: 1, value }));
    await expectTrouble(/not in force: .*does not fit what was changed at run time/);
  });

  test('cannot be had any more', async () => {
    mkdirSync(state);
    const added = { kind: 'vhost-user', path: join(folder, 'no', 'z.sock') };
    const value = { values: {}, ports: { z: { is: 'added', as: added } }, bridges: {}, links: {} };
    writeFileSync(keptFile(), JSON.stringify({ document: 'settings', version: 1, value }));
    await expectTrouble(/not in force: .*no\/z\.sock/);
  });
});

test('a folder that cannot be had is told once, and the switch goes on', async () => {
  declare('a', 'b');
  writeFileSync(join(folder, 'in the way'), '');
  state = join(folder, 'in the way', 'state');
  const command = await start();
  for (const name of ['c', 'd']) {
    await asked((client) => client.addPort({ path: at(name) }));
    await command.said('is not kept: ');
  }
  await expectForwarding();
  expect((await command.stop()).status).toBe(0);
  expect(command.timesSaid('is not kept: ')).toBe(1);
});

/** The order of links says nothing. */
function sorted({ links, ...rest }: SwitchSettings): object {
  return { ...rest, links: new Set(links.map((link) => JSON.stringify(link))) };
}
