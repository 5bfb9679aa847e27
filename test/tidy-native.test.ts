/**
 * The shape of native/, as tests: how C++ is laid out, how long its functions are, who may include
 * whom, and that sources do not run in circles.
 *
 * The tables below are the rules. A new folder has to be given its place here first.
 */

import { readFileSync } from 'node:fs';
import { dirname, join, normalize, sep } from 'node:path';
import { execa } from 'execa';
import { describe, expect, test } from 'vitest';
import { callsBetweenSources, circlesOf, codeOf, functionsOf } from './support/cpp-source.js';
import { sources, stem, textFiles } from './support/tree.js';

/** The folders of native/core from the top down, and which of those below each includes. */
const coreFolders: Record<string, string[]> = {
  control: ['worker', 'policy', 'port', 'frame', 'ring', 'platform'],
  worker: ['forward', 'port', 'platform'],
  forward: ['policy', 'port', 'frame', 'ring', 'bridge', 'platform'],
  policy: ['port', 'frame', 'platform'],
  port: ['frame', 'ring', 'bridge', 'memory', 'platform'],
  frame: ['ring'],
  ring: ['memory', 'platform'],
  bridge: ['platform'],
  memory: ['platform'],
  platform: [],
};

/** What each folder of native/ may include from the others. */
const includeTable: Record<string, string[]> = {
  core: [],
  addon: ['core'],
  driver: ['core'],
  test: ['core', 'driver'],
  fuzz: ['core', 'driver'],
  bench: [],
  uml: [],
};

/** Classes whose sources still call each other in circles: the files, and what will part them. */
const knownCircles: Record<string, string[]> = {};

/** What a line of C++ and a function of it may have; TypeScript's are Biome's and the reader's. */
const columnsMax = 100;
const functionLinesMax = 70;

describe('C++', () => {
  const native = sources.filter((file) => file.startsWith(`native${sep}`));
  const includes = native.flatMap((file) =>
    Array.from(readFileSync(file, 'utf8').matchAll(/^#include "([^"]+)"/gm), (match) => {
      const folder = dirname(file);
      const written = match[1]!;
      // As the compiler does: beside the file, then from native/.
      const beside = native.includes(join(folder, written));
      return { file, target: beside ? join(folder, written) : join('native', written) };
    }),
  );

  const cpp = native.filter((file) => /\.(?:cc|h)$/.test(file));
  const texts = cpp.map((file) => ({ file, text: readFileSync(file, 'utf8') }));
  const linesThat = (pattern: RegExp) =>
    texts.flatMap(({ file, text }) =>
      text
        .split('\n')
        .map((line, i) => ({ line, place: `${file}:${i + 1}` }))
        .filter(({ line }) => pattern.test(line))
        .map(({ place }) => place),
    );

  test('is formatted as .clang-format says', { timeout: 300_000 }, async () => {
    expect(cpp.length).toBeGreaterThan(100);
    const args = ['--dry-run', '-Werror', ...cpp];
    const check = await execa('clang-format', args, { preferLocal: true, reject: false });
    expect(check.exitCode, check.stderr).toBe(0);
  });

  test('has lines of at most 100 columns, without blanks at their ends', () => {
    expect(linesThat(new RegExp(`^.{${columnsMax + 1},}$`, 'u'))).toEqual([]);
    expect(linesThat(/[ \t]$/)).toEqual([]);
  });

  test('has no two empty lines in a row, and ends with a line', () => {
    const offenders = texts.filter(({ text }) => /\n\n\n|\n\n$|[^\n]$/.test(text));
    expect(offenders.map(({ file }) => file)).toEqual([]);
  });

  test('guards headers with #pragma once, and in no other way', () => {
    const offenders = texts.filter(
      ({ file, text }) =>
        file.endsWith('.h') !== /^#pragma once$/m.test(text) || /^#ifndef \w+_H_?$/m.test(text),
    );
    expect(offenders.map(({ file }) => file)).toEqual([]);
  });

  test('has functions of at most about 70 lines', () => {
    const functions = texts.flatMap(({ file, text }) =>
      functionsOf(text).map(({ name, line, lines }) => ({ name, place: `${file}:${line}`, lines })),
    );
    expect(functions.length).toBeGreaterThan(1000);
    expect(functions.filter(({ lines }) => lines > functionLinesMax)).toEqual([]);
  });

  test('the reader of functions knows literals, comments, constructors and nested blocks', () => {
    const text = [
      "namespace a { constexpr char kQuote = '\"'; constexpr int kMany = 1'000; }",
      'struct S { S() : a_{1}, b_(2) { /* } */ Call("}"); } int a_[2] = {1, 2}; };',
      '#define BRACE {',
      'template <typename T>',
      'bool Ring<T>::Take(T& to) const {',
      '  // {',
      '  auto each = [&](int i) { return R"({{)"[i]; };',
      '  if (to) { other.Call(); }',
      '}',
    ].join('\n');
    expect(codeOf(text)).toHaveLength(text.length);
    expect(functionsOf(text).map(({ name, line, lines }) => [name, line, lines])).toEqual([
      ['S', 2, 1],
      ['Ring<T>::Take', 4, 6],
    ]);
  });

  test('the reader of calls knows those of this object from those of another', () => {
    const a = 'void Gate::Open() { if (ready) Turn(1); other.Close(); peer->Close(); Rest(); }';
    const b = 'void Gate::Turn(int) { this->Lock(); }\nvoid Gate::Close() { Open(); }';
    const c = 'void Gate::Lock() { Free(); }\nvoid Fence::Rest() { Open(); }';
    const calls = callsBetweenSources([
      { file: 'a', text: a },
      { file: 'b', text: b },
      { file: 'c', text: c },
    ]);
    const wanted = [
      { from: 'a', to: 'b', member: 'Turn' },
      { from: 'b', to: 'c', member: 'Lock' },
      { from: 'b', to: 'a', member: 'Open' },
    ];
    expect([...calls]).toEqual([['Gate', wanted]]);
    expect(circlesOf(wanted)).toEqual([['a', 'b']]);
  });

  test('sources of one class do not call each other in circles', () => {
    const circles = Object.fromEntries(
      [...callsBetweenSources(texts)]
        .map(([owner, calls]) => [owner, circlesOf(calls).flat()] as const)
        .filter(([, files]) => files.length > 0),
    );
    expect(circles).toEqual(knownCircles);
  });

  test('every included file of the project exists', () => {
    expect(includes).not.toHaveLength(0);
    expect(includes.filter(({ target }) => !native.includes(target))).toEqual([]);
  });

  test('a test lies in the folder of native/test that is named like that of what it tests', () => {
    const folders = new Set(Object.keys(coreFolders).map((room) => join('native', 'test', room)));
    const tests = cpp.filter((file) => file.endsWith('_test.cc'));
    expect(tests.length).toBeGreaterThan(30);
    expect(tests.filter((file) => !folders.has(dirname(file)))).toEqual([]);
  });

  test('every file of native/ that a text names exists', () => {
    const named = textFiles
      .filter((file) => !file.endsWith('package-lock.json'))
      .flatMap((file) =>
        Array.from(
          readFileSync(file, 'utf8').matchAll(/\bnative\/(?:\w+\/)+\w+\.(?:h|cc|mjs)\b/g),
          ([target]) => ({ file, target: normalize(target) }),
        ),
      );
    expect(named.length).toBeGreaterThan(10);
    expect(named.filter(({ target }) => !native.includes(target))).toEqual([]);
  });

  test('includes between the folders of native/ are the ones in the table', () => {
    const folderOf = (file: string) => file.split(sep)[1]!;
    const forbidden = includes.filter(({ file, target }) => {
      const [from, to] = [folderOf(file), folderOf(target)];
      return from !== to && !includeTable[from]?.includes(to);
    });
    expect(forbidden).toEqual([]);
  });

  const core = includes.filter(({ file }) => file.startsWith(join('native', 'core', sep)));
  const roomOf = (file: string) => file.split(sep)[2]!;

  test('native/core has the folders of the table, and nothing beside them', () => {
    const rooms = native
      .filter((file) => file.startsWith(join('native', 'core', sep)))
      .map((file) => dirname(file).split(sep).slice(2).join(sep));
    expect([...new Set(rooms)].sort()).toEqual(Object.keys(coreFolders).sort());
  });

  test('includes between the folders of native/core are those of the table', () => {
    const arrows = core
      .map(({ file, target }) => [roomOf(file), roomOf(target)] as const)
      .filter(([from, to]) => from !== to);
    const found = Object.keys(coreFolders).map((folder) => [
      folder,
      [...new Set(arrows.filter(([from]) => from === folder).map(([, to]) => to))].sort(),
    ]);
    const allowed = Object.entries(coreFolders).map(([folder, below]) => [
      folder,
      [...below].sort(),
    ]);
    expect(found).toEqual(allowed);
  });

  test('the table of folders points downwards only', () => {
    const order = Object.keys(coreFolders);
    const upwards = Object.entries(coreFolders).flatMap(([folder, below]) =>
      below.filter((to) => order.indexOf(to) <= order.indexOf(folder)),
    );
    expect(upwards).toEqual([]);
  });

  test('files of a folder of native/core do not include each other in circles', () => {
    const arrows = core
      .map(({ file, target }) => ({ from: stem(file), to: stem(target) }))
      .filter(({ from, to }) => from !== to);
    expect(arrows.length).toBeGreaterThan(100);
    expect(circlesOf(arrows)).toEqual([]);
  });
});
