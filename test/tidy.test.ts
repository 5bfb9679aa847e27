/**
 * The shape of the tree, as tests: who may import or include whom, how long a file may be, what a
 * file may be called and how it begins, and that nothing of one machine is in it.
 *
 * The tables below are the rules; ARCHITECTURE.md explains them. A new folder or core file has to
 * be given its place here first.
 */

import { existsSync, readFileSync } from 'node:fs';
import { basename, dirname, extname, join, normalize, sep } from 'node:path';
import { execa, execaSync } from 'execa';
import ts from 'typescript';
import { describe, expect, test } from 'vitest';
import { callsBetweenSources, circlesOf, codeOf, functionsOf } from './support/cpp-source.js';

/**
 * What each part of src/ may import from other parts. A part is a folder or a file directly in
 * src/. Under `types` only with `import type`, which is gone when the program runs.
 */
const importTable: Record<string, { values: string[]; types?: string[] }> = {
  cli: {
    values: [
      'control',
      'lab',
      'host',
      'index',
      'node-version',
      'sandbox',
      'version',
      'wording',
      'errors',
    ],
  },
  control: {
    values: ['index', 'fd-socket', 'option-checks', 'dispose', 'version', 'wording', 'errors'],
  },
  lab: { values: ['control', 'host', 'index', 'dispose', 'version', 'wording', 'errors'] },
  host: { values: ['errors'] },
  index: {
    values: ['switch', 'bridge', 'capture', 'port', 'errors'],
    types: [
      'events',
      'impairment',
      'native',
      'fd-socket',
      'switch-options',
      'vhost-user',
      'workers',
    ],
  },
  switch: {
    values: [
      'bridge',
      'capture',
      'clock',
      'dispose',
      'events',
      'impairment',
      'option-checks',
      'port',
      'native',
      'workers',
      'errors',
    ],
    types: ['fd-socket', 'switch-options', 'vhost-user'],
  },
  'switch-options': { values: [], types: ['port'] },
  workers: { values: ['balance', 'option-checks', 'errors'], types: ['native', 'port'] },
  balance: { values: [] },
  clock: { values: [] },
  events: { values: [], types: ['impairment', 'port', 'workers'] },
  impairment: { values: ['clock', 'option-checks', 'errors'], types: ['native', 'port'] },
  bridge: { values: ['native', 'errors'] },
  capture: { values: ['clock', 'dispose', 'native', 'errors'], types: ['bridge', 'port'] },
  port: {
    values: ['vhost-user', 'fd-socket', 'native', 'option-checks', 'errors'],
    types: ['bridge'],
  },
  testing: {
    values: ['control', 'lab', 'index', 'vhost-user', 'fd-socket', 'dispose', 'native', 'errors'],
  },
  'fd-socket': { values: ['native', 'errors'], types: ['vhost-user'] },
  'vhost-user': { values: [], types: ['native'] },
  native: { values: ['addon-file', 'node-version', 'errors'] },
  'addon-file': { values: ['errors'] },
  'node-version': { values: ['version', 'errors'] },
  errors: { values: [] },
  dispose: { values: [] },
  'option-checks': { values: ['wording', 'errors'] },
  wording: { values: [] },
  sandbox: { values: ['native', 'errors'] },
  version: { values: [] },
};

/** Commands that ask a switch or the host and end. What they import, not counting import(), is for all runs. */
const clientCommands = ['main', 'switch-options', 'add-worker', 'capture', 'doctor', 'host', 'lab'];
/** What a switch is made of, and what speaks to one as a guest. */
const engineParts = [
  'index',
  'switch',
  'bridge',
  'capture',
  'fd-socket',
  'native',
  'port',
  'sandbox',
  'testing',
  'vhost-user',
  'workers',
];
/** Each of these takes as long to load as Node itself, or half. */
const slowPackages = ['ajv', 'execa', 'listr2', 'undici', 'yaml'];

/** native/core from the top down: a file includes files of lower rows, and its own header. */
const coreLayers = [
  ['dataplane_workers', 'dataplane_network', 'dataplane_capture', 'dataplane_control'],
  ['dataplane'],
  ['worker'],
  ['forward_links', 'forward_work'],
  ['forward'],
  ['deliver', 'wire', 'source_guard'],
  ['control_command'],
  ['notify', 'frame', 'held_frames'],
  ['port', 'segmenter', 'work'],
  ['fdb', 'link', 'split_queue', 'packed_queue', 'host_queue', 'capture', 'events', 'offload'],
  ['virtqueue', 'source_rule'],
  ['packet_headers'],
  ['checksum'],
  ['slice', 'frame_ring'],
  ['dirty_log', 'chain'],
  ['guest_memory', 'copy', 'counters', 'flow_hash'],
  [
    'virtio_spec',
    'clock',
    'cpus',
    'sigbus',
    'eventfd',
    'sandbox',
    'spinlock',
    'prefetch',
    'shared_word',
    'checks',
  ],
];

/** What each folder of native/ may include from the others. */
const includeTable: Record<string, string[]> = {
  core: [],
  addon: ['core'],
  test: ['core'],
  fuzz: ['core', 'test'],
  bench: [],
  uml: [],
};

/** Classes whose sources still call each other in circles, with the files and what will part them. */
const knownCircles: Record<string, string[]> = {
  // Held frames go on in the middle of a round: gone when stages are a table that both can enter.
  Forwarder: [
    'native/core/forward.cc',
    'native/core/forward_links.cc',
    'native/core/forward_work.cc',
  ],
};

/** What a line of C++ and a function of it may have; TypeScript's are Biome's and the reader's. */
const columnsMax = 100;
const functionLinesMax = 70;

/** About 400: a file that passes it looks for the missing idea. */
const linesMax = 450;
/** Names that say nothing of what is inside. */
const emptyNames = ['utils', 'util', 'helpers', 'helper', 'common', 'types', 'constants', 'misc'];
const sourceExtensions = ['.ts', '.mjs', '.cc', '.h'];
/** Folders of people's machines; in pieces, or this line would be found itself. */
const machinePath = new RegExp(`(^|[\\s"'\`(=:])/(${['work', 'root', 'home'].join('|')})/`, 'm');

/** What is in the repository, or would be with the next commit. */
const textFiles = execaSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
  lines: true,
}).stdout.filter((file) => existsSync(file));
const sources = textFiles.filter((file) => sourceExtensions.includes(extname(file)));

interface Import {
  readonly file: string;
  readonly target: string;
  readonly isTypeOnly: boolean;
}

function importsOf(file: string): Import[] {
  const parsed = ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.Latest);
  return parsed.statements.flatMap((statement) => {
    const isImport = ts.isImportDeclaration(statement);
    if (!isImport && !ts.isExportDeclaration(statement)) return [];
    const specifier = statement.moduleSpecifier;
    if (specifier === undefined || !ts.isStringLiteral(specifier)) return [];
    const isTypeOnly = isImport ? statement.importClause?.isTypeOnly : statement.isTypeOnly;
    return [{ file, target: specifier.text, isTypeOnly: isTypeOnly ?? false }];
  });
}

/** src/lab/qemu.ts and src/native.ts belong to lab and native. */
function partOf(file: string): string {
  return basename(file.split(sep)[1]!, '.ts');
}

function stem(file: string): string {
  return basename(file, extname(file));
}

describe('TypeScript', () => {
  const typescript = sources.filter((file) => file.startsWith(`src${sep}`));
  const imports = typescript.flatMap(importsOf);

  test('imports between the parts of src/ are the ones in the table', () => {
    const crossing = imports
      .filter(({ target }) => target.startsWith('.'))
      .map((entry) => ({
        ...entry,
        to: partOf(normalize(join(dirname(entry.file), entry.target))),
      }))
      .filter(({ file, to }) => partOf(file) !== to);
    expect(crossing).not.toHaveLength(0);
    const forbidden = crossing.filter(({ file, to, isTypeOnly }) => {
      const { values = [], types = [] } = importTable[partOf(file)] ?? {};
      return !values.includes(to) && !(isTypeOnly && types.includes(to));
    });
    expect(forbidden).toEqual([]);
  });

  test('every part of src/ has its row in the table', () => {
    const parts = new Set(typescript.map(partOf));
    expect([...parts].filter((part) => !(part in importTable))).toEqual([]);
  });

  test('a command that is no switch loads none: no engine, and no package that takes long', () => {
    const targetsOf = (file: string) =>
      imports
        .filter((entry) => entry.file === file && !entry.isTypeOnly)
        .map(({ target }) =>
          target.startsWith('.') ? normalize(join(dirname(file), target)) : target,
        );
    for (const name of clientCommands) {
      const reached = new Set([join('src', 'cli', `${name}.ts`)]);
      for (const file of reached) for (const target of targetsOf(file)) reached.add(target);
      expect(reached.size, name).toBeGreaterThan(3);
      const parts = [...reached].filter((file) => file.startsWith('src')).map(partOf);
      expect(
        parts.filter((part) => engineParts.includes(part)),
        name,
      ).toEqual([]);
      expect(
        [...reached].filter((file) => slowPackages.includes(file)),
        name,
      ).toEqual([]);
    }
  });

  test('only addon-file.ts loads the addon', () => {
    const loading = typescript.filter((file) =>
      /createRequire|\bdlopen\b|\.node['"`]/.test(readFileSync(file, 'utf8')),
    );
    // schema.ts loads what ajv wrote.
    expect(loading.sort()).toEqual(['src/addon-file.ts', 'src/lab/file/schema.ts']);
  });

  test('src/ imports only packages that are installed with it, or by who uses them', () => {
    const { dependencies, peerDependencies } = JSON.parse(readFileSync('package.json', 'utf8'));
    const installed = { ...dependencies, ...peerDependencies };
    const packages = imports
      .map(({ target }) => target)
      .filter((target) => !target.startsWith('.') && !target.startsWith('node:'));
    expect(packages).not.toHaveLength(0);
    const ofFile = (target: string) => /^(?:@[^/]+\/)?[^/]+/.exec(target)![0];
    expect(packages.filter((target) => !(ofFile(target) in installed))).toEqual([]);
  });

  test('scripts/ run before there are npm packages', () => {
    const targets = sources
      .filter((file) => file.startsWith(`scripts${sep}`))
      .flatMap(importsOf)
      .map(({ target }) => target);
    expect(targets).not.toHaveLength(0);
    expect(targets.filter((target) => !/^(node:|\.\/)/.test(target))).toEqual([]);
  });

  test('a test that cannot run somewhere says why, with needs() or skip(reason)', () => {
    const silent = /\.(?:skipIf|runIf|todo|only)\(|\.skip\(|\bskip\(\)|\bskip: true\b/;
    const tests = sources.filter((file) => /^(?:test|examples)\/.*\.test\.ts$/.test(file));
    expect(tests.length).toBeGreaterThan(50);
    const offenders = tests
      .filter((file) => file !== join('test', 'tidy.test.ts'))
      .filter((file) => silent.test(readFileSync(file, 'utf8')));
    expect(offenders).toEqual([]);
  });

  // The latter two against dist/, which is what they are built with.
  test.each(['test', 'bench', 'chaos'])(
    '%s and sources agree with the type checker',
    {
      timeout: 600_000,
    },
    async (project) => {
      const args = ['-p', project, '--noEmit'];
      const check = await execa('tsc', args, { preferLocal: true, reject: false });
      expect(check.stdout).toBe('');
      expect(check.exitCode).toBe(0);
    },
  );
});

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

  test('includes between the folders of native/ are the ones in the table', () => {
    const folderOf = (file: string) => file.split(sep)[1]!;
    const forbidden = includes.filter(({ file, target }) => {
      const [from, to] = [folderOf(file), folderOf(target)];
      return from !== to && !includeTable[from]?.includes(to);
    });
    expect(forbidden).toEqual([]);
  });

  test('native/core includes only downwards', () => {
    const inCore = (file: string) => file.startsWith(join('native', 'core', sep));
    const layerOf = (file: string) => coreLayers.findIndex((names) => names.includes(stem(file)));
    const unplaced = native.filter((file) => inCore(file) && layerOf(file) === -1);
    expect(unplaced).toEqual([]);
    const upwards = includes.filter(
      ({ file, target }) =>
        inCore(file) && stem(file) !== stem(target) && layerOf(target) <= layerOf(file),
    );
    expect(upwards).toEqual([]);
  });
});

describe('every file', () => {
  test('has at most about 400 lines', () => {
    const long = sources
      .map((file) => ({ file, lines: readFileSync(file, 'utf8').split('\n').length - 1 }))
      .filter(({ lines }) => lines > linesMax);
    expect(long).toEqual([]);
  });

  test('is named after what it holds', () => {
    expect(sources.filter((file) => emptyNames.includes(stem(file)))).toEqual([]);
  });

  test('begins with a comment that says what it is', () => {
    const silent = sources.filter(
      (file) => !/^(#!.*\n)?(\/\*\*\s|\/\/ )/.test(readFileSync(file, 'utf8')),
    );
    expect(silent).toEqual([]);
  });

  test('names no path of one machine', () => {
    expect(textFiles).toContain('package.json');
    expect(textFiles.filter((file) => machinePath.test(readFileSync(file, 'utf8')))).toEqual([]);
  });

  test('of npm says what is installed, not where it is downloaded from', () => {
    expect(readFileSync('package-lock.json', 'utf8')).not.toMatch(
      /"resolved"|https?:\/\/[^"]*\.tgz/,
    );
  });

  test('of npm has an entry for every optional package, or npm ci refuses it', () => {
    const { packages } = JSON.parse(readFileSync('package-lock.json', 'utf8'));
    const wanted = Object.values<{ optionalDependencies?: Record<string, string> }>(packages)
      .flatMap((entry) => Object.keys(entry.optionalDependencies ?? {}))
      .map((name) => `node_modules/${name}`);
    expect(wanted).not.toHaveLength(0);
    expect(
      wanted.filter((path) => !Object.keys(packages).some((key) => key.endsWith(path))),
    ).toEqual([]);
  });

  test('is formatted and without a finding of the linter', { timeout: 300_000 }, async () => {
    const check = await execa('biome', ['check', '--error-on-warnings', '.'], {
      preferLocal: true,
      reject: false,
      all: true,
    });
    expect(check.exitCode, check.all).toBe(0);
  });
});
