/** `tsvswitch run`: a file becomes a switch, and follows it while frames go on. */

import { execFileSync } from 'node:child_process';
import { constants, existsSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ControlClient } from '../../src/control/client.ts';
import { TestGuest } from '../../src/testing/index.ts';
import { Command } from '../support/command.ts';
import { frameBetween, numberOf } from '../support/ethernet.ts';
import { ServiceManager } from '../support/service-manager.ts';

let folder: string;
let file: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'run-'));
  file = join(folder, 'switch.yaml');
});

afterEach(async () => {
  await Command.killAll();
  rmSync(folder, { recursive: true });
});

const at = (name: string) => join(folder, `${name}.sock`);
const port = (name: string, more = '') => `  ${name}: { path: ${at(name)}${more} }\n`;
const control = () => at('control');

/** Writes the file: its ports, and what stands before them. */
function declare(ports: readonly string[], before = `control: ${control()}\n`): void {
  writeFileSync(file, `${before}ports:\n${ports.join('')}`);
}

async function start(options: Parameters<typeof Command.begin>[1] = {}): Promise<Command> {
  const command = Command.begin(['run', '--config', file], options);
  await command.said('taking requests on');
  return command;
}

const settings = async () => {
  await using client = await ControlClient.connect(control());
  return client.settings();
};

/** Once it has said `text` again. */
async function reloaded(command: Command, text = 'was read again'): Promise<void> {
  const before = command.timesSaid(text);
  process.kill(command.pid, 'SIGHUP');
  await command.said(text, before + 1);
}

describe('a file', () => {
  test('becomes a switch', async () => {
    declare([port('a', ', mtu: 9000'), port('b')], `control: ${control()}\nworkers: 2\n`);
    const command = await start();
    expect(await settings()).toMatchObject({ workers: 2, ports: { a: { mtu: 9000 }, b: {} } });
    expect((await command.stop()).status).toBe(0);
    expect(existsSync(at('a'))).toBe(false);
  });

  test('that says no control socket is given one on the command line, and keeps it', async () => {
    declare([port('a')], '');
    const command = Command.begin(['run', '--config', file, '--control', control()]);
    await command.said('taking requests on');
    await reloaded(command, '0 changes');
    expect(command.stdout).not.toContain('read at the start only');
  });

  test('with a mistake ends the start with status 2 and its place', async () => {
    declare([port('a', ', mtu: 5')]);
    const { status, stdout, stderr } = await Command.run(['run', '--config', file]);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toMatch(/^tsvswitch: \S+switch\.yaml:3:\d+: ports\.a\.mtu: must be at least 68/);
  });

  test('that names a socket which somebody has ends the start with status 1', async () => {
    declare([port('a')]);
    await Command.start([at('a')]);
    const { status, stderr } = await Command.run(['run', '--config', file]);
    expect(status).toBe(1);
    expect(stderr).toContain(at('a'));
  });
});

describe('a reload', () => {
  test('changes what differs, and says what does', async () => {
    declare([port('a'), port('b')]);
    const command = await start();
    declare([port('a', ', mtu: 9000'), port('c')]);
    await reloaded(command);
    expect(Object.keys((await settings()).ports)).toEqual(['a', 'c']);
    expect(command.stdout).toContain(`${file} was read again: 3 changes`);
    expect([existsSync(at('b')), existsSync(at('c'))]).toEqual([false, true]);
  });

  test('of a file with mistakes changes nothing, and says where each is', async () => {
    declare([port('a'), port('b')]);
    const command = await start();
    await using a = await TestGuest.connect({ path: at('a') });
    await using b = await TestGuest.connect({ path: at('b') });
    const before = await settings();
    declare([port('c', ', mtu: 5'), '  a: { pth: /a }\n']);
    await reloaded(command, 'nothing was reloaded');
    await command.said(`${file}:4:8: ports.a.pth: there is no such key; did you mean path?`);
    expect(command.stdout).toMatch(/switch\.yaml:3:\d+: ports\.c\.mtu: must be at least 68, not 5/);
    expect(await settings()).toEqual(before);
    await a.send(frameBetween(0, 1, 7));
    expect(numberOf(await b.receive())).toBe(7);
  });

  test('that the machine refuses changes nothing', async () => {
    declare([port('a')]);
    const command = await start();
    await Command.start([at('taken')]);
    const before = await settings();
    declare([port('a', ', mtu: 9000'), port('taken')]);
    await reloaded(command, 'nothing was reloaded');
    expect(await settings()).toEqual(before);
  });

  test('leaves the process as it is, and says what it needs a restart for', async () => {
    declare([port('a')]);
    const command = await start();
    declare([port('a')], `control: ${at('other')}\nsandbox: off\nlog: { level: warn }\n`);
    await reloaded(command, 'control, sandbox are read at the start only');
    // How much is logged is another thing from now on.
    await using _ = await TestGuest.connect({ path: at('a') });
    declare([], `workers: 99\n`);
    await reloaded(command, 'nothing was reloaded');
    expect(command.stdout).not.toContain(' connected');
  });

  test('is told to the service manager from its beginning to its end', async () => {
    const manager = ServiceManager.listen(folder);
    declare([port('a')]);
    const command = await start({ env: { NOTIFY_SOCKET: manager.path } });
    await manager.told('READY=1');
    declare([port('a'), port('b')]);
    await reloaded(command);
    await manager.told('READY=1', 2);
    const told = manager.lines.slice(manager.lines.indexOf('RELOADING=1'));
    expect(told).toEqual([
      'RELOADING=1',
      expect.stringMatching(/^MONOTONIC_USEC=\d+$/),
      ...['FDSTORE=1', `FDNAME=listening ${at('b')}`],
      'READY=1',
      'STATUS=2 ports, 0 connected',
    ]);
    await command.stop();
    manager.close();
  });

  test('that comes while one is being made is made once more, however many came', async () => {
    const pipe = join(folder, 'pipe');
    execFileSync('mkfifo', [pipe]);
    const manager = ServiceManager.listen(folder);
    const env = { NOTIFY_SOCKET: manager.path };
    const command = Command.begin(['run', '--config', pipe], { env });
    const say = (name: string) => writeFile(pipe, `control: ${control()}\nports:\n${port(name)}`);
    await say('a');
    await command.said('taking requests on');
    process.kill(command.pid, 'SIGHUP');
    await manager.told('RELOADING=1');
    for (let i = 0; i < 4; i++) process.kill(command.pid, 'SIGHUP');
    // Nothing comes of the pipe until it is written to; requests are served meanwhile.
    expect(Object.keys((await settings()).ports)).toEqual(['a']);
    await say('b');
    await command.said('port b: listening');
    await say('c');
    await command.said('was read again', 2);
    expect(Object.keys((await settings()).ports)).toEqual(['c']);
    // Nobody reads any more.
    expect(() => openSync(pipe, constants.O_WRONLY | constants.O_NONBLOCK)).toThrow('ENXIO');
    manager.close();
  });

  test('of a hundred ports loses no frame of those that stay', async () => {
    const names = Array.from({ length: 100 }, (_, i) => `p${i}`);
    declare(names.map((name) => port(name)));
    const command = await start();
    await using a = await TestGuest.connect({ path: at('p0') });
    await using b = await TestGuest.connect({ path: at('p1') });
    // Half of the others go, half are changed, and as many come.
    declare([
      ...names.slice(0, 2).map((name) => port(name)),
      ...names.slice(2, 51).map((name) => port(name, ', mtu: 9000, bridge: blue')),
      ...names.slice(51).map((name) => port(`new${name}`)),
    ]);
    let isDone = false;
    const done = reloaded(command).then(() => {
      isDone = true;
    });
    let sent = 0;
    for (; !isDone || sent < 500; sent++) {
      await a.send(frameBetween(0, 1, sent));
      expect(numberOf(await b.receive())).toBe(sent);
    }
    await done;
    const { ports } = await settings();
    expect(Object.keys(ports)).toHaveLength(100);
    expect(ports.p2).toMatchObject({ mtu: 9000, bridge: 'blue' });
    await using client = await ControlClient.connect(control());
    const status = await client.status();
    for (const name of ['p0', 'p1']) {
      const found = status.ports.find((candidate) => candidate.name === name)!;
      expect(Object.values(found.counters.drops)).toEqual(
        Object.values(found.counters.drops).map(() => 0),
      );
    }
  });
});
