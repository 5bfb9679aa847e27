/** `tsvswitch reload` and `tsvswitch config`, beside a switch that a file declares. */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { ControlClient } from '../../src/control/client.ts';
import { Command } from '../support/command.ts';

let folder: string;
let file: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'reload-'));
  file = join(folder, 'switch.yaml');
});

afterEach(async () => {
  await Command.killAll();
  rmSync(folder, { recursive: true });
});

const at = (name: string) => join(folder, `${name}.sock`);
const control = () => at('control');
const port = (name: string, more = '') => `  ${name}: { path: ${at(name)}${more} }\n`;

function declare(ports: string, more = ''): void {
  writeFileSync(file, `# Ours.\ncontrol: ${control()}\n${more}ports:\n${ports}`);
}

async function start(path = file): Promise<Command> {
  const env = { STATE_DIRECTORY: join(folder, 'state') };
  const command = Command.begin(['run', '--config', path], { env });
  await command.said('taking requests on');
  return command;
}

const ask = (...args: readonly string[]) => Command.run([...args, '--control', control()]);
const done = (stdout: string) => ({ status: 0, signal: null, stdout, stderr: '' });

async function asked<T>(act: (client: ControlClient) => Promise<T>): Promise<T> {
  await using client = await ControlClient.connect(control());
  return act(client);
}

const portNames = () => asked(async (client) => Object.keys((await client.settings()).ports));

describe('reload', () => {
  test('tells what it would do, does it, and tells what it did', async () => {
    declare(port('a') + port('b') + port('moved'));
    await start();
    declare(
      port('a', ', mtu: 9000') + port('c') + port('moved', ', ringReset: on'),
      'workers: 2\n',
    );
    const plan = [
      '- port b (its machine is disconnected)',
      '~ port a: mtu',
      '~ port moved: ringReset (its machine is disconnected, and may connect again)',
      '+ port c',
      '~ workers: workers',
      '',
    ].join('\n');
    expect(await ask('reload', '--dry-run')).toEqual(done(plan));
    expect(await portNames()).toEqual(['a', 'b', 'moved']);
    expect(await ask('reload')).toEqual(done(plan));
    expect(await portNames()).toEqual(['a', 'moved', 'c']);
    expect(await ask('reload')).toEqual(done(''));
  });

  test('of a file with mistakes tells each in a line, and changes nothing', async () => {
    declare(port('a'));
    await start();
    declare('  a: { pth: /a }\n', 'workers: 99\n');
    const { status, stdout, stderr } = await ask('reload');
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toBe(
      `tsvswitch: ${file}:3:10: workers: must be at most 64, not 99\n` +
        `${file}:5:8: ports.a.pth: there is no such key; did you mean path?\n`,
    );
    expect(await portNames()).toEqual(['a']);
    // Others have a sentence.
    await expect(asked((client) => client.reload())).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: stderr
        .replace(/^tsvswitch: /, '')
        .trim()
        .replaceAll('\n', '; '),
    });
  });

  test('says what needs a restart', async () => {
    declare(port('a'));
    await start();
    declare(port('a'), 'sandbox: off\nmetrics: 127.0.0.1:0\n');
    const { status, stderr } = await ask('reload');
    expect(status).toBe(0);
    expect(stderr).toBe(
      'tsvswitch: metrics, sandbox are read at the start only; restart the switch to change that\n',
    );
  });

  test('is refused while one is being made, and leaves that alone', async () => {
    const pipe = join(folder, 'pipe');
    execFileSync('mkfifo', [pipe]);
    const say = (name: string) => writeFile(pipe, `control: ${control()}\nports:\n${port(name)}`);
    const [command] = await Promise.all([start(pipe), say('a')]);
    await using client = await ControlClient.connect(control());
    const first = client.reload();
    const refused = { code: 'RELOAD_BUSY', message: expect.stringContaining('ask again when') };
    await expect(asked((other) => other.reload())).rejects.toMatchObject(refused);
    await expect(asked((other) => other.reload({ dryRun: true }))).rejects.toMatchObject(refused);
    await say('b');
    expect((await first).changes.map(({ type }) => type)).toEqual(['port-removed', 'port-added']);
    expect((await command.stop()).status).toBe(0);
  });

  test('of a switch without a file says so', async () => {
    await Command.start([at('a')], ['--control', control()]);
    const { status, stderr } = await ask('reload');
    expect(status).toBe(1);
    expect(stderr).toMatch(/^tsvswitch: this switch was started from options and has no file; /);
  });
});

describe('what was changed at run time', () => {
  beforeEach(async () => {
    declare(port('a') + port('b'));
    await start();
    await asked(async (client) => {
      await client.removePort('b');
      await client.addPort({ path: at('c') });
    });
  });

  const difference = '- port b (its machine is disconnected)\n+ port c\n';

  test('is shown beside the file', async () => {
    expect(await ask('config', 'diff')).toEqual(done(difference));
    const shown = await Promise.all([ask('config', 'show'), ask('config', 'show', '--saved')]);
    const names = shown.map(({ stdout }) => Object.keys(parse(stdout).ports));
    expect(names).toEqual([
      ['a', 'c'],
      ['a', 'b'],
    ]);
    const { stdout } = await ask('config', 'show', '--json');
    expect(JSON.parse(stdout)).toEqual(await asked((client) => client.settings()));
  });

  test('is written into the file, and is no difference any more', async () => {
    const before = readFileSync(file, 'utf8');
    const printed = await ask('config', 'save', '--print');
    expect(readFileSync(file, 'utf8')).toBe(before);
    expect(await ask('config', 'save')).toEqual(done(''));
    const after = readFileSync(file, 'utf8');
    expect(after).toBe(before.replace(port('b'), `  c:\n    path: ${at('c')}\n`));
    expect(printed).toEqual(done(after));
    expect(await ask('config', 'diff')).toEqual(done(''));
  });

  test('is not written into a file that was changed since it was read', async () => {
    declare(port('a') + port('b') + port('d'));
    const { status, stderr } = await ask('config', 'save');
    expect(status).toBe(1);
    expect(stderr).toContain(`${file} was changed since the switch read it`);
    expect(await ask('reload')).toEqual(done('+ port d\n'));
    expect(await ask('config', 'diff')).toEqual(done(difference));
    expect((await ask('config', 'save')).status).toBe(0);
  });

  test('is undone when that is asked for', async () => {
    expect((await ask('reload', '--discard')).stdout).toBe(
      '- port c (its machine is disconnected)\n+ port b\n',
    );
    expect(await portNames()).toEqual(['a', 'b']);
  });
});
