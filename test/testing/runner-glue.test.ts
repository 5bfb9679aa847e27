/**
 * What the glue for test runners promises: a network for who asks, nothing left of it afterwards,
 * and entry points under the names that package.json gives them.
 *
 * The tests with fixtures build on each other in the order they stand: what one has been given is
 * looked at by the next one.
 */

import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { Worker } from 'node:worker_threads';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import type { Switch } from '../../src/index.ts';
import type { TestGuest } from '../../src/testing/index.ts';
import { TestNetwork } from '../../src/testing/test-network.ts';
import { test } from '../../src/testing/vitest.ts';
import { frameBetween } from '../support/ethernet.ts';

let before: { vswitch: Switch; guest: TestGuest; path: string } | undefined;

test('two guests talk as soon as they are there', async ({ vswitch, guest }) => {
  const [a, b] = [await guest({ name: 'a' }), await guest()];
  expect(vswitch.ports.map(({ name }) => name)).toEqual(['a', 'guest2']);
  await a.send(frameBetween(0, 1));
  await b.expect(frameBetween(0, 1));
  const port = vswitch.port('a');
  if (port?.kind !== 'vhost-user') throw new Error('a guest is on a vhost-user port');
  before = { vswitch, guest: a, path: port.path };
});

test('the next test finds all of it closed, and has a switch of its own', async ({ vswitch }) => {
  expect(vswitch.ports).toEqual([]);
  expect(() => before!.vswitch.addPort({ process: 'late' })).toThrow('the switch is closed');
  await expect(before!.guest.send(frameBetween(0, 1))).rejects.toMatchObject({ code: 'CLOSED' });
  expect(existsSync(dirname(before!.path))).toBe(false);
});

test('guests on different bridges do not hear each other', async ({ guest }) => {
  const a = await guest({ bridge: 'left' });
  const b = await guest({ bridge: 'left' });
  const c = await guest({ bridge: 'right' });
  await a.send(frameBetween(0, 1));
  await b.receive();
  await a.flush();
  expect(c.pendingFrames).toBe(0);
});

describe('with options', () => {
  test.override({ switchOptions: { clock: 'manual', seed: 7 } });

  test('the switch of a test is opened with those of its file or block', ({ vswitch }) => {
    expect(vswitch.seed).toBe(7);
    expect(vswitch.step()).toBe(0);
  });
});

test('closing a network again, or one whose port failed to open, does no harm', async () => {
  const network = TestNetwork.open();
  await network.guest({ name: 'a' });
  await expect(network.guest({ name: 'a' })).rejects.toMatchObject({ code: 'BAD_OPTION' });
  await network.close();
  await network.close();
  await expect(network.guest()).rejects.toMatchObject({ code: 'CLOSED' });
});

test('node:test runs with it, by the names of the package, and its process ends', async () => {
  const { stdout } = await execa(process.execPath, ['--test', 'test/testing/node-test.mjs']);
  expect(stdout).toMatch(/^# pass 2$/m);
});

describe('a project of its own', () => {
  let project: string;

  beforeAll(() => {
    project = mkdtempSync(join(tmpdir(), 'project-'));
    const modules = join(project, 'node_modules');
    mkdirSync(modules);
    symlinkSync(resolve('.'), join(modules, 'tsvswitch'));
    symlinkSync(resolve('node_modules/vitest'), join(modules, 'vitest'));
    writeFileSync(join(project, 'package.json'), '{ "type": "module" }');
    writeFileSync(
      join(project, 'two-guests.test.js'),
      `import { arp } from 'tsvswitch/testing';
      import { test } from 'tsvswitch/testing/vitest';
      test('two guests', async ({ guest }) => {
        const frame = arp({ senderMac: '52:54:00:00:00:01', senderIp: '10.0.0.1', targetIp: '10.0.0.2' });
        const [a, b] = [await guest(), await guest()];
        await a.send(frame);
        await b.expect(frame);
      });`,
    );
  });

  afterAll(() => rmSync(project, { recursive: true }));

  test.for(['threads', 'vmThreads'])('runs its tests with vitest --pool=%s', async (pool) => {
    const args = ['node_modules/vitest/vitest.mjs', 'run', `--pool=${pool}`];
    const { stdout, stderr } = await execa(process.execPath, args, { cwd: project });
    expect(stdout).toContain('1 passed');
    expect(stderr).toBe('');
  });

  test('has guests in worker threads that close without a warning', async () => {
    const script = `
      import { join } from 'node:path';
      import { parentPort, workerData } from 'node:worker_threads';
      import { Switch } from 'tsvswitch';
      import { TestGuest } from 'tsvswitch/testing';
      const warnings = [];
      process.on('warning', ({ message }) => warnings.push(message));
      const vswitch = Switch.open();
      for (const kind of ['memfd', 'file']) {
        const path = join(workerData, kind);
        vswitch.addPort({ path });
        const guest = await TestGuest.connect({ path, memory: kind });
        await guest.close();
      }
      vswitch.close();
      setImmediate(() => parentPort.postMessage(warnings));`;
    const file = join(project, 'worker.mjs');
    writeFileSync(file, script);
    const worker = new Worker(file, { workerData: project });
    const exited = once(worker, 'exit');
    const [warnings] = await once(worker, 'message');
    expect(warnings).toEqual([]);
    await exited;
  });
});
