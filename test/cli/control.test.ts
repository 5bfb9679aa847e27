/** `tsvswitch --control`: a switch that can be talked to, from its start to its end. */

import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ControlClient } from '../../src/control/client.ts';
import { Command } from '../support/command.ts';

let folder: string;
let control: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'control-'));
  control = join(folder, 'control');
});

afterEach(async () => {
  await Command.killAll();
  rmSync(folder, { recursive: true });
});

const socket = (name: string) => join(folder, `${name}.sock`);

async function start(...args: string[]): Promise<Command> {
  const command = await Command.start([], ['--control', control, ...args]);
  await command.said(`taking requests on ${control}`);
  return command;
}

test('no port is needed at the start, and later ones get the permissions of the options', async () => {
  const command = await start('--socket-mode', '600');
  await using client = await ControlClient.connect(control);
  expect((await client.status()).pid).toBe(command.pid);
  await client.addPort({ path: socket('web1') });
  await command.said(`listening on ${socket('web1')}`);
  expect(readdirSync(folder).sort()).toEqual(['control', 'web1.sock']);
});

test('a signal ends it and removes all sockets, whoever is connected', async () => {
  const command = await start('--socket', socket('web1'));
  const idle = connect(control);
  idle.on('error', () => {});
  await using client = await ControlClient.connect(control);
  await client.addPort({ path: socket('web2') });
  const exit = await command.stop();
  idle.destroy();
  expect(exit).toMatchObject({ status: 0, stderr: '' });
  expect(exit.stdout).toContain('port web2: from guest 0 frames');
  expect(readdirSync(folder)).toEqual([]);
});

test('one that died leaves a file that the next one replaces', async () => {
  await (await start()).stop('SIGKILL');
  expect(existsSync(control)).toBe(true);
  const command = await start();
  await using client = await ControlClient.connect(control);
  expect((await client.status()).pid).toBe(command.pid);
});

test.each([
  ['that is in use', 'control', /process \d+ listens on it; stop that process/],
  ['that is a file', 'file', /a regular file is in the way/],
  ['in no folder', 'no/control', /`mkdir -p .*no`/],
])('a path %s is one sentence, and no port is left behind', async (_, name, sentence) => {
  await start();
  writeFileSync(join(folder, 'file'), 'mine');
  const args = ['--socket', socket('web1'), '--control', join(folder, name)];
  const exit = await Command.run(args);
  expect(exit.status).toBe(1);
  expect(exit.stderr).toMatch(sentence);
  expect(exit.stderr.trimEnd().split('\n')).toHaveLength(1);
  expect(readdirSync(folder).sort()).toEqual(['control', 'file']);
});

describe('add-worker', () => {
  const addWorker = (...args: string[]) =>
    Command.run(['add-worker', '--control', control, ...args]);
  const status = readFileSync('/proc/self/status', 'utf8');
  const cpu = Number(/^Cpus_allowed_list:\s*(\d+)/m.exec(status)![1]);

  test('gives a running switch one more worker, on a CPU if one is named', async () => {
    await start('--balance');
    expect(await addWorker()).toMatchObject({ status: 0, stdout: 'worker 1 runs\n', stderr: '' });
    expect(await addWorker('--cpu', `${cpu}`)).toMatchObject({
      status: 0,
      stdout: `worker 2 runs on CPU ${cpu}\n`,
      stderr: '',
    });
    await using client = await ControlClient.connect(control);
    expect((await client.status()).workers).toEqual([
      { number: 0, transmitqs: 0 },
      { number: 1, transmitqs: 0 },
      { number: 2, cpu, transmitqs: 0 },
    ]);
  });

  test('says in one sentence what is wrong', async () => {
    expect(await addWorker()).toMatchObject({
      status: 3,
      stdout: '',
      stderr: expect.stringContaining(`start one with \`tsvswitch --control ${control}\``),
    });
    await start('--cpus', `${cpu}`);
    const taken = `tsvswitch: cpu: worker 0 is pinned to CPU ${cpu} already; give each worker a CPU of its own\n`;
    expect(await addWorker('--cpu', `${cpu}`)).toMatchObject({
      status: 2,
      stdout: '',
      stderr: taken,
    });
    const missing =
      /^tsvswitch: the worker cannot run on CPU 1000 \(allowed are [\d,-]+\): Invalid argument\n$/;
    expect(await addWorker('--cpu', '1000')).toMatchObject({
      status: 1,
      stdout: '',
      stderr: expect.stringMatching(missing),
    });
  });

  test('with a wrong command line ends with 2', async () => {
    expect((await addWorker('--cpu', 'first')).status).toBe(2);
    expect((await addWorker('1')).status).toBe(2);
  });
});
