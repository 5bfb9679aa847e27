/** lock.ts: one at a time, and nobody who is gone keeps anybody out. */

import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { withLock } from '../../src/lab/lock.ts';
import { thisProcess } from '../../src/machine/detached-process.ts';

let root: string;
let folder: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'lock-'));
  folder = join(root, 'pair-01234567');
});

afterEach(() => rmSync(root, { recursive: true, force: true }));

test('a second change fails while the first goes on, and says whose it is', async () => {
  await withLock('pair', folder, async () => {
    await expect(withLock('pair', folder, async () => {})).rejects.toMatchObject({
      code: 'LAB_BUSY',
      message: expect.stringContaining(`process ${process.pid};`),
    });
    // Another lab is not concerned.
    await withLock('other', join(root, 'pair'), async () => {});
  });
  expect(readdirSync(root)).toEqual([]);
});

test('a change that fails gives the lock back', async () => {
  const failing = withLock('pair', folder, async () => {
    throw new Error('no');
  });
  await expect(failing).rejects.toThrow('no');
  expect(await withLock('pair', folder, async () => 'next')).toBe('next');
});

test('locks of processes that are gone, of a pid used again and of an earlier boot do not count', async () => {
  const { pid, startTicks, bootId } = thisProcess();
  for (const stale of [
    `${2 ** 22}.${startTicks}.${bootId}`,
    `${pid}.${startTicks - 1}.${bootId}`,
    `${pid}.${startTicks}.an-earlier-boot`,
    'not what a lock looks like',
  ]) {
    writeFileSync(`${folder}.lock.${stale}`, '');
  }
  expect(await withLock('pair', folder, async () => readdirSync(root))).toHaveLength(1);
  expect(readdirSync(root)).toEqual([]);
});

test('of many processes that come at once no two are in it together', async () => {
  const script = `
    const { withLock } = await import(${JSON.stringify(resolve('dist/lab/lock.js'))});
    const { mkdirSync, rmdirSync } = await import('node:fs');
    await withLock('pair', ${JSON.stringify(folder)}, async () => {
      mkdirSync(${JSON.stringify(join(root, 'inside'))});
      await new Promise((resolve) => setTimeout(resolve, 20));
      rmdirSync(${JSON.stringify(join(root, 'inside'))});
    }).catch((error) => { if (error.code !== 'LAB_BUSY') throw error; });`;
  const runs = Array.from({ length: 6 }, () =>
    execa(process.execPath, ['--input-type=module', '-e', script]),
  );
  await Promise.all(runs);
  expect(readdirSync(root)).toEqual([]);
});
