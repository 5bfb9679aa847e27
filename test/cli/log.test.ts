/**
 * The log of a switch that runs: what peers cause is bounded, what nobody reads is left out and
 * counted, and neither keeps the switch from its end.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { WriteStream } from 'node:tty';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { LogOutput } from '../../src/cli/log-output.ts';
import { ControlClient } from '../../src/control/client.ts';
import { TestGuest } from '../../src/testing/index.ts';
import { Command, script } from '../support/command.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'log-'));
});

afterEach(async () => {
  await Command.killAll();
  rmSync(folder, { recursive: true });
});

const socket = (name: string) => join(folder, `${name}.sock`);

/** Comes and is sent away, or leaves. */
async function knock(path: string, bytes?: string): Promise<void> {
  const visitor = connect(path);
  visitor.on('error', () => {});
  visitor.resume();
  if (bytes === undefined) visitor.once('connect', () => visitor.end());
  else visitor.write(bytes);
  await new Promise<void>((resolve) => visitor.once('close', () => resolve()));
}

test('however often somebody knocks, comes, errs and leaves, there are a few lines of each', async () => {
  const command = await Command.start([socket('a'), socket('b')]);
  await using guest = await TestGuest.connect({ path: socket('a') });
  for (let i = 0; i < 200; i++) {
    await knock(socket('a'), 'again');
    await knock(socket('b'));
    await knock(socket('b'), '\xff'.repeat(12));
  }
  guest.disconnect();
  const { stdout } = await command.stop();
  const linesOf = (pattern: RegExp) => stdout.split('\n').filter((line) => pattern.test(line));
  // Ten in each while, and the last of it; a slow machine takes more than one.
  const refused = linesOf(/warn port a: refused process/);
  expect(refused.length).toBeLessThan(100);
  expect(refused.length).toBeGreaterThan(10);
  expect(refused.at(-1)).toMatch(/; and \d+ more like it within 10 s$/);
  expect(linesOf(/info port b: process \d+ connected/).length).toBeLessThan(100);
  expect(linesOf(/warn port b: .*; session closed/).length).toBeLessThan(100);
  const counts = refused.map((line) => Number(/and (\d+) more/.exec(line)?.[1] ?? 0) + 1);
  expect(counts.reduce((sum, count) => sum + count)).toBe(200);
});

test('a switch that does not start says only why', async () => {
  const exit = await Command.run(['--socket', socket('a'), '--socket', `${folder}/./a.sock`]);
  expect(exit).toMatchObject({ status: 2, stdout: '' });
  expect(exit.stderr).toMatch(/is given twice/);
  const missing = await Command.run(['--socket', socket('a'), '--socket', join(folder, 'no/b')]);
  expect(missing).toMatchObject({ status: 1, stdout: '' });
  expect(readdirSync(folder)).toEqual([]);
});

test('what the operator changes is a line each', async () => {
  const control = join(folder, 'control');
  const command = await Command.start([socket('a'), socket('b')], ['--control', control]);
  await command.said('taking requests on');
  await using client = await ControlClient.connect(control);
  await client.addWorker();
  await client.change({ link: { between: ['a', 'b'] }, impairment: { loss: 0.5 } });
  await client.change({ partition: [['a'], ['b']] });
  await client.change({ heal: true });
  await client.removePort('b');
  const { stdout } = await command.stop();
  for (const line of [
    'info worker 1 was added',
    'info link between port a and port b is impaired: {"loss":0.5}',
    'info the network is parted: a | b',
    'info the network is whole: its partition has ended',
    'info port b: was removed',
  ]) {
    expect(stdout).toContain(`${line}\n`);
  }
});

test('a log that nobody reads keeps no switch from its end', async () => {
  const control = join(folder, 'control');
  const args = [script, '--control', control];
  const command = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'ignore'] });
  command.stdout.pause();
  const ended = once(command, 'exit');
  try {
    let client!: ControlClient;
    await vi.waitFor(async () => {
      client = await ControlClient.connect(control);
    }, 60_000);
    // More lines than any pipe holds.
    for (let i = 0; i < 8000; i++) await client.change({ heal: true });
    client.close();
    command.kill('SIGTERM');
    expect(await ended).toEqual([0, null]);
    expect(readdirSync(folder)).toEqual([]);
  } finally {
    command.kill('SIGKILL');
  }
});

test('lines that nobody reads are left out and counted', async () => {
  const server = createServer().listen(socket('pipe'));
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const reader = connect(socket('pipe'));
  const [writer] = await accepted;
  reader.pause();
  const told: string[] = [];
  const output = new LogOutput(writer as unknown as WriteStream, (count) => {
    told.push(`lost ${count}`);
    output.write(`lost ${count}`);
  });
  const line = 'x'.repeat(999);
  for (let i = 0; i < 10_000; i++) output.write(line);
  const keptBytesMax = (1 << 20) + 1000;
  expect(writer.writableLength).toBeLessThanOrEqual(keptBytesMax);
  let text = '';
  reader.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  reader.resume();
  await vi.waitFor(() => expect(text).toMatch(/lost \d+\n$/), 60_000);
  expect(told).toHaveLength(1);
  const whole = text.split('\n').filter((each) => each === line).length;
  expect(whole + Number(told[0]!.slice(5))).toBe(10_000);
  reader.destroy();
  writer.destroy();
  server.close();
});
