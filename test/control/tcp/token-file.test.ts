/** The files of tokens: made, read, and refused. */

import { chmodSync, lstatSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { knownToken, tokenIn } from '../../../src/control/tcp/token-file.ts';

let folder: string;
let path: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'token-'));
  path = join(folder, 'state', 'token');
});

afterEach(() => rmSync(folder, { recursive: true }));

const written = (text: string, mode = 0o600) => {
  path = join(folder, 'token');
  writeFileSync(path, text);
  chmodSync(path, mode);
  return path;
};

test('one that is not there is made, for this user alone, and is the same the next time', () => {
  const token = tokenIn(path);
  expect(token).toMatch(/^[\w-]{43}$/);
  expect(readFileSync(path, 'utf8')).toBe(`${token}\n`);
  expect(lstatSync(path).mode & 0o777).toBe(0o600);
  expect(tokenIn(path)).toBe(token);
  expect(knownToken(path)).toBe(token);
});

test('who has to know it makes none', () => {
  expect(() => knownToken(path)).toThrow(/^token file .* cannot be read: there is no such file$/);
  expect(() => lstatSync(path)).toThrow();
});

test('one that cannot be made is said', () => {
  written('x');
  expect(() => tokenIn(join(path, 'token'))).toThrow(/cannot be read: ENOTDIR/);
});

test.each([0o640, 0o604, 0o660])('of mode %o it is refused', (mode) => {
  written('0123456789abcdef', mode);
  expect(() => tokenIn(path)).toThrow(
    `token file ${path} may be read by others (mode ${mode.toString(8)}); make that ` +
      `\`chmod 600 ${path}\``,
  );
});

test.each([
  ['short', '0123456789abcde'],
  ['of several words', '0123456789 abcdef'],
  ['empty', ''],
  ['of other characters', '0123456789abcdéf'],
  ['too long', 'x'.repeat(513)],
  ['endless', 'x'.repeat(100_000)],
])('one that is %s is none', (_, text) => {
  written(text);
  expect(() => tokenIn(path)).toThrow(/^what is in .* is not 16 to 512 visible ASCII characters/);
});

test('what is no file is refused, and not waited for', async () => {
  expect(() => tokenIn(folder)).toThrow(/is no regular file of this user or of root/);
  await execa('mkfifo', ['-m', '600', join(folder, 'pipe')]);
  expect(() => tokenIn(join(folder, 'pipe'))).toThrow(/is no regular file of this user/);
});
