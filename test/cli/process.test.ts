/** `tsvswitch stop` and `log-level`, of a switch that forwards. */

import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ControlServer } from '../../src/control/server.ts';
import { Switch } from '../../src/index.ts';
import { TestGuest } from '../../src/testing/index.ts';
import { Command } from '../support/command.ts';
import { frameBetween, numberOf } from '../support/ethernet.ts';

let folder: string;
let running: Command;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'process-'));
  running = await Command.start([socket('a'), socket('b')], ['--control', socket('control')]);
});

afterEach(async () => {
  await Command.killAll();
  rmSync(folder, { recursive: true });
});

const socket = (name: string) => join(folder, `${name}.sock`);
const ask = (...args: readonly string[]) =>
  Command.run(args, { env: { TSVSWITCH_CONTROL: socket('control') } });

test('stop returns once the switch has ended: in order, without its sockets', async () => {
  await using a = await TestGuest.connect({ path: socket('a') });
  await using b = await TestGuest.connect({ path: socket('b') });
  await a.send(frameBetween(0, 1, 7));
  expect(numberOf(await b.receive())).toBe(7);
  const asked = ask('stop', '--json');
  const exit = await asked;
  expect(exit).toMatchObject({ status: 0, stderr: '' });
  expect(JSON.parse(exit.stdout)).toEqual({ pid: running.pid });
  expect([socket('a'), socket('b'), socket('control')].filter(existsSync)).toEqual([]);
  expect(() => process.kill(running.pid, 0)).toThrow(/ESRCH/);
  const { status, stdout } = await running.exited;
  expect(status).toBe(0);
  expect(stdout).toMatch(/a client has asked this switch to end\n/);
  expect(stdout).toMatch(/port a: from guest 1 frames .*\n.*port b: .* to guest 1 frames/);
  expect(await ask('stop')).toMatchObject({ status: 3 });
});

test('log-level shows how much is logged, and changes it from the next line on', async () => {
  expect(await ask('log-level')).toMatchObject({ status: 0, stdout: 'info\n' });
  expect(await ask('log-level', 'debug')).toMatchObject({ status: 0, stdout: '', stderr: '' });
  await using _ = await TestGuest.connect({ path: socket('a') });
  await running.said(' debug port a: queue 0 started');
  expect(await ask('log-level', 'error', '--json')).toMatchObject({
    stdout: '{\n  "level": "error"\n}\n',
  });
  expect(await ask('port', 'add', socket('c'))).toMatchObject({ status: 0 });
  expect(await ask('log-level')).toMatchObject({ stdout: 'error\n' });
  expect(running.stdout).not.toContain(socket('c'));
  const wrong = await ask('log-level', 'all');
  expect(wrong).toMatchObject({ status: 2, stdout: '' });
  expect(wrong.stderr).toMatch(/Allowed choices are error, warn, info, debug/);
});

test('a switch within another program is not ended, and has no log', async () => {
  const vswitch = Switch.open();
  const path = socket('embedded');
  const server = ControlServer.listen(vswitch, { path });
  for (const words of [['stop'], ['log-level'], ['log-level', 'debug']]) {
    const exit = await Command.run([...words, '--control', path]);
    expect(exit).toMatchObject({ status: 1, stdout: '' });
    expect(exit.stderr).toMatch(/this switch is part of another program, which ends it/);
  }
  server.close();
  vswitch.close();
});
