/** detached-process.ts with real processes: which of them is ours, and how it ends. */

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import {
  end,
  ended,
  findMarked,
  isAlive,
  type ProcessRecord,
  startDetached,
} from '../../src/machine/detached-process.ts';

/** At once, on a busy host too. */
const soon = { timeout: 60_000 };

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'detached-'));
});

afterEach(async () => {
  await Promise.all(findMarked(folder).map(end));
  rmSync(folder, { recursive: true, force: true });
});

function start(script: string): Promise<ProcessRecord> {
  return startDetached('sh', ['-c', script], { log: join(folder, 'log'), folder, mark: folder });
}

const log = () => readFileSync(join(folder, 'log'), 'utf8');

test('a process is known by its mark, runs in a session of its own, and what it says is kept', async () => {
  const process_ = await start('echo said; echo warned >&2; pwd; exec sleep 60');
  expect(findMarked(folder)).toEqual([process_]);
  expect(findMarked(folder.slice(0, -1))).toEqual([]);
  await expect.poll(log).toBe(`said\nwarned\n${folder}\n`);
  const session = Number(readFileSync(`/proc/${process_.pid}/stat`, 'utf8').split(' ')[5]);
  expect(session).toBe(process_.pid);
});

test('the same pid from another time is somebody else, and gets no signal', async () => {
  const process_ = await start('exec sleep 60');
  for (const other of [
    { ...process_, startTicks: process_.startTicks - 1 },
    { ...process_, bootId: 'an earlier boot' },
  ]) {
    expect(isAlive(other)).toBe(false);
    await end(other);
  }
  expect(isAlive(process_)).toBe(true);
});

test('one that does not listen to SIGTERM is killed', async () => {
  const stubborn = await start('trap "" TERM; echo ready; while :; do sleep 0.1; done');
  await expect.poll(log).toBe('ready\n');
  await end(stubborn);
  expect(isAlive(stubborn)).toBe(false);
});

test('one that has ended is not alive, whether or not its parent has heard of it', async () => {
  const short = await start('exit 3');
  expect(await ended(short, soon.timeout)).toBe(true);
  // A zombie, of a parent that never asks.
  const parent = await start('sleep 0 & exec sleep 60');
  const children = () => readFileSync(`/proc/${parent.pid}/task/${parent.pid}/children`, 'utf8');
  await vi.waitFor(() => {
    const pid = Number(children());
    expect(readFileSync(`/proc/${pid}/stat`, 'utf8').split(' ')[2]).toBe('Z');
    expect(findMarked(folder)).toEqual([parent]);
  }, soon);
});

test('a program that is not there is an error', async () => {
  const starting = startDetached('/nonexistent/program', [], {
    log: join(folder, 'log'),
    folder,
    mark: folder,
  });
  await expect(starting).rejects.toMatchObject({ code: 'ENOENT' });
});
