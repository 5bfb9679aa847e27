/**
 * The plan that is kept of a lab's file: the same as one made anew, and never that of another file.
 */

import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { planOfFile } from '#tsvswitch/lab/file/kept-plan.js';
import { readLabFile } from '../../../src/lab/file/lab-file.ts';

let folder: string;
let file: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'plans-'));
  file = join(folder, 'lab.yaml');
  vi.stubEnv('XDG_CACHE_HOME', join(folder, 'cache'));
});

afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

const kept = () => readdirSync(join(folder, 'cache/tsvswitch/plans'));
const keptFile = () => join(folder, 'cache/tsvswitch/plans', kept()[0]!);

const everything = `
machines:
  a: { cpus: 2, image: builtin:debian, userData: { nothing: null, list: [1, 2.5, x], on: 2024-01-01 } }
  b: { image: builtin:debian, userData: "#!/bin/sh" }
`;

test('is the same the first time, the second time and made anew', async () => {
  writeFileSync(file, everything);
  const anew = await readLabFile(file);
  expect(await planOfFile(file)).toStrictEqual(anew);
  expect(kept()).toHaveLength(1);
  expect(await planOfFile(file)).toStrictEqual(anew);
});

test('is taken in place of reading the file', async () => {
  writeFileSync(file, everything);
  await planOfFile(file);
  const made = statSync(keptFile()).ino;
  await planOfFile(file);
  // What is kept anew is another file.
  expect(statSync(keptFile()).ino).toBe(made);
});

test('is made anew once the file has other bytes, though of the same size and time', async () => {
  writeFileSync(file, 'machines: { a: {} }\n');
  const { mtime } = statSync(file);
  await planOfFile(file);
  writeFileSync(file, 'machines: { b: {} }\n');
  utimesSync(file, mtime, mtime);
  expect((await planOfFile(file)).machines.map(({ name }) => name)).toEqual(['b']);
  expect(kept()).toHaveLength(1);
});

test('is that of its own path: a copy elsewhere is another lab', async () => {
  const other = join(folder, 'other.yaml');
  for (const path of [file, other]) writeFileSync(path, 'machines: { a: {} }\n');
  expect((await planOfFile(file)).id).not.toBe((await planOfFile(other)).id);
});

test.each(['', 'nonsense', Buffer.from([0xff, 0x0f])])(
  'is made anew where what was kept is %j',
  async (bytes) => {
    writeFileSync(file, 'machines: { a: {} }\n');
    const plan = await planOfFile(file);
    writeFileSync(keptFile(), bytes);
    expect(await planOfFile(file)).toStrictEqual(plan);
  },
);

test('is nobody else’s to read, as the file may have passwords', async () => {
  writeFileSync(file, 'machines: { a: { password: secret } }\n');
  await planOfFile(file);
  expect(readFileSync(keptFile()).includes('secret')).toBe(true);
  expect(statSync(keptFile()).mode & 0o077).toBe(0);
});

test('is not needed: without a cache, and of a wrong file, all is as if there were none', async () => {
  writeFileSync(join(folder, 'cache'), 'a file, and no folder');
  writeFileSync(file, 'machines: { a: {} }\n');
  expect((await planOfFile(file)).machines).toHaveLength(1);
  writeFileSync(file, 'machines: { a: { cpu: 1 } }\n');
  await expect(planOfFile(file)).rejects.toMatchObject({ code: 'LAB_INVALID' });
  rmSync(file);
  await expect(planOfFile(file)).rejects.toMatchObject({ code: 'LAB_FILE_UNREADABLE' });
});
