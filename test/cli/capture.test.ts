/**
 * `tsvswitch capture`: what guests send to each other, in a file or behind a pipe, as tcpdump reads
 * it.
 */

import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { TestGuest } from '../../src/testing/index.ts';
import { Command } from '../support/command.ts';
import { frameBetween, macOf } from '../support/ethernet.ts';

let folder: string;
let control: string;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'capture-'));
  control = join(folder, 'control');
  const command = await Command.start([at('web1.sock'), at('web2.sock')], ['--control', control]);
  await command.said(`taking requests on ${control}`);
});

afterEach(async () => {
  await Command.killAll();
  rmSync(folder, { recursive: true });
});

const at = (name: string) => join(folder, name);

function tcpdump(...args: string[]): string {
  const { status, stdout, stderr } = spawnSync('tcpdump', args, { encoding: 'utf8' });
  expect(status, stderr).toBe(0);
  return stdout;
}

test('a port is recorded into a file of its own until the command is interrupted', async () => {
  const path = at('web1.pcapng');
  const capture = await Command.start([], ['capture', 'web1', '--control', control, '--to', path]);
  const bytes = () => (existsSync(path) ? readFileSync(path) : Buffer.alloc(0));
  await expect.poll(() => bytes().length, { timeout: 60_000 }).toBeGreaterThan(0);
  await using one = await TestGuest.connect({ path: at('web1.sock') });
  await using other = await TestGuest.connect({ path: at('web2.sock') });
  const frames = Array.from({ length: 50 }, (_, number) => frameBetween(0, 1, number));
  for (const frame of frames) {
    await one.send(frame);
    await other.receive();
  }
  await expect
    .poll(() => bytes().includes(Buffer.from(frames.at(-1)!)), { timeout: 60_000 })
    .toBe(true);
  expect(await capture.stop('SIGINT')).toMatchObject({ status: 0, stdout: '', stderr: '' });
  expect(statSync(path).mode & 0o777).toBe(0o600);
  const lines = tcpdump('-n', '-e', '-r', path).split('\n');
  const sent = lines.filter((line) => line.includes(`${macOf(0)} > ${macOf(1)}`));
  expect(sent).toHaveLength(frames.length);
});

test('a program behind a pipe that has seen enough ends it', async () => {
  await using one = await TestGuest.connect({ path: at('web1.sock') });
  await using other = await TestGuest.connect({ path: at('web2.sock') });
  const capture = await Command.start([], ['capture', '--control', control]);
  // A pcapng file begins with it.
  await capture.said('\n\r\r\n');
  capture.stopReading();
  let hasEnded = false;
  const exited = capture.exited.finally(() => {
    hasEnded = true;
  });
  for (let number = 0; !hasEnded; number++) {
    await one.send(frameBetween(0, 1, number));
    await other.receive();
  }
  expect(await exited).toMatchObject({ status: 0, stderr: '' });
});

test.each([
  ['a port that is not there', ['web3', '--to', 'none'], 1, /there is no port web3/],
  [
    'a file that cannot be made',
    ['--to', '/nowhere/it'],
    1,
    /is not complete: ENOENT.*\/nowhere\/it/,
  ],
])('%s is one sentence', async (_, args, status, sentence) => {
  const exit = await Command.run(['capture', '--control', control, ...args]);
  expect(exit).toMatchObject({ status, stdout: '' });
  expect(exit.stderr).toMatch(sentence);
  expect(exit.stderr).toMatch(/^tsvswitch: [^\n]+\n$/);
});
