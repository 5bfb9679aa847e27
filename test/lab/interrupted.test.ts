/**
 * lab.ts with a process that is killed in the middle of `up`: the lab is as true and as movable as
 * ever.
 */

import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Lab } from '../../src/lab/lab.ts';
import { findMarked } from '../../src/machine/detached-process.ts';

const soon = { timeout: 60_000, interval: 20 };
const definition = { name: 'cut', machines: { vm1: {} } };

let folder: string;
let lab: Lab;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'lab-'));
  vi.stubEnv('XDG_STATE_HOME', join(folder, 'state'));
  vi.stubEnv('XDG_RUNTIME_DIR', join(folder, 'run'));
  lab = await Lab.open(definition, {
    command: resolve('dist/cli/main.js'),
    origin: join(folder, 'cut.yaml'),
  });
});

afterEach(async () => {
  await lab.down({ destroy: true });
  rmSync(folder, { recursive: true, force: true });
  vi.unstubAllEnvs();
}, 120_000);

/**
 * `up` in a process of its own, which stops itself when the machine boots; killed once `isFar` says
 * so.
 */
async function killedUp(isFar: () => void | Promise<void>): Promise<void> {
  const script = `
    const { Lab } = await import(${JSON.stringify(resolve('dist/lab/lab.js'))});
    const origin = ${JSON.stringify(join(folder, 'cut.yaml'))};
    const progress = ({ stage, state }) => {
      if (stage === 'boot' && state === 'running') process.kill(process.pid, 'SIGSTOP');
    };
    await (await Lab.open(${JSON.stringify(definition)}, { origin })).up({ progress });`;
  const up = execa(process.execPath, ['--input-type=module', '-e', script], { reject: false });
  await vi.waitFor(isFar, soon);
  up.kill('SIGKILL');
  expect((await up).signal).toBe('SIGKILL');
}

test('while one process brings the lab up another one may look but not touch', {
  timeout: 300_000,
}, async () => {
  await killedUp(async () => {
    const { machines } = await lab.status();
    expect(machines[0]!.state).toBe('starting');
    await expect(lab.down()).rejects.toMatchObject({ code: 'LAB_BUSY' });
  });
  // The machine boots on, and whoever comes next takes it from there.
  const [before] = (await lab.status()).machines;
  expect(before!.state).toBe('starting');
  await lab.up();
  const [after] = (await lab.status()).machines;
  expect(after).toMatchObject({ state: 'running', pid: (before as { pid: number }).pid });
});

test('a process that was started and not written down any more is ended by down, and nothing is left', {
  timeout: 300_000,
}, async () => {
  const { folder: own } = await lab.status();
  // The switch is the first: the moment it runs, its starter dies.
  await killedUp(() => expect(findMarked(own)).not.toEqual([]));
  await lab.down({ destroy: true });
  expect(findMarked(own)).toEqual([]);
  expect(existsSync(own)).toBe(false);
  expect(readdirSync(join(folder, 'run'))).toEqual([]);
  expect(readdirSync(join(folder, 'state', 'tsvswitch', 'labs'))).toEqual([]);
});

test('up that is given up leaves what it has started to the next one', {
  timeout: 300_000,
}, async () => {
  const givenUp = new AbortController();
  const up = lab.up({
    signal: givenUp.signal,
    progress: ({ stage, state }) => {
      if (stage === 'boot' && state === 'running') givenUp.abort(new Error('enough'));
    },
  });
  await expect(up).rejects.toThrow('enough');
  expect((await lab.status()).machines[0]!.state).toBe('starting');
});
