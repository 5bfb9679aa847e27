/**
 * The API reference (`npm run docs`, typedoc.json) can be made from what is exported, and leaves no
 * class, method, function or type without a word on what it is.
 */

import { readFileSync } from 'node:fs';
import { execa } from 'execa';
import { expect, test } from 'vitest';

test('the reference is made of every entry point of the package', () => {
  const { exports } = JSON.parse(readFileSync('package.json', 'utf8'));
  const { entryPoints } = JSON.parse(readFileSync('typedoc.json', 'utf8'));
  const scripts = Object.values<{ default?: string }>(exports).flatMap((entry) =>
    entry.default === undefined ? [] : [entry.default],
  );
  const sources = scripts.map((script) => script.replace(/^\.\/dist(.*)\.js$/, 'src$1.ts'));
  expect(sources).not.toHaveLength(0);
  expect([...entryPoints].sort()).toEqual(sources.sort());
});

test('everything public says what it is', { timeout: 300_000 }, async () => {
  const check = await execa('typedoc', ['--emit', 'none'], {
    preferLocal: true,
    reject: false,
    all: true,
  });
  expect(check.exitCode, check.all).toBe(0);
});
