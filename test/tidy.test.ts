/**
 * The shape of the tree, as tests: who may import whom, how long a file may be, what a file may be
 * called and how it begins, and that nothing of one machine is in it. native/ has its own:
 * tidy-native.test.ts.
 *
 * The tables below are the rules; ARCHITECTURE.md explains them. A new folder has to be given its
 * place here first.
 */

import { readFileSync } from 'node:fs';
import { basename, dirname, join, normalize, sep } from 'node:path';
import { execa } from 'execa';
import ts from 'typescript';
import { describe, expect, test } from 'vitest';
import { sources, stem, textFiles } from './support/tree.js';

/**
 * What each room of src/ may import from other rooms, from the top of the house down: a room
 * imports only from rows below its own. A room is a folder of src/, or index.ts. Under `types` only
 * with `import type`, which is gone when the program runs.
 */
const importTable: Record<string, { values: string[]; types?: string[] }> = {
  cli: {
    values: [
      ...['lab', 'tiny', 'machine', 'host', 'control', 'index', 'switch', 'operate', 'native'],
      'runtime',
      'model',
    ],
  },
  testing: {
    values: ['lab', 'machine', 'control', 'index', 'vhost-user', 'native', 'runtime', 'model'],
  },
  lab: { values: ['tiny', 'machine', 'control', 'yaml', 'runtime', 'model'] },
  operate: { values: ['yaml', 'native', 'runtime', 'model'], types: ['control', 'index'] },
  tiny: { values: ['machine', 'runtime', 'model'] },
  machine: { values: ['host', 'model'] },
  host: { values: ['model'] },
  control: { values: ['index', 'switch', 'native', 'runtime', 'model'] },
  index: {
    values: ['switch', 'capture', 'model'],
    types: ['policy', 'port', 'vhost-user', 'native'],
  },
  switch: {
    values: ['capture', 'policy', 'port', 'native', 'runtime', 'model'],
    types: ['vhost-user'],
  },
  capture: { values: ['native', 'runtime', 'model'], types: ['port'] },
  policy: { values: ['runtime', 'model'], types: ['port', 'native'] },
  port: { values: ['vhost-user', 'native', 'model'] },
  'vhost-user': { values: ['model'], types: ['native'] },
  native: { values: ['runtime', 'model'] },
  yaml: { values: ['model'] },
  runtime: { values: ['model'] },
  model: { values: [] },
};

/**
 * Commands that ask a switch or the host and end. What they import, not counting import(), is for
 * all runs.
 */
const clientCommands = [
  'main',
  'switch-options',
  'add-worker',
  'capture',
  'check',
  'reload',
  'upgrade',
  'config',
  'doctor',
  'host',
  'lab',
];
/** What a switch is made of, and what speaks to one as a guest. */
const engineRooms = [
  'index',
  'switch',
  'capture',
  'policy',
  'port',
  'vhost-user',
  'native',
  'testing',
];
/** Each of these takes as long to load as Node itself, or half. */
const slowPackages = ['ajv', 'execa', 'listr2', 'undici', 'yaml'];

/** Loaded by steps of the build and by tests: what they need is not installed with us. */
const buildOnly = [
  ...['model', 'operate'].map((room) => join('src', room, 'settings-schema.ts')),
  ...['answers', 'bodies', 'events', 'openapi', 'settings'].map((name) =>
    join('src', 'control', 'schema', `${name}.ts`),
  ),
];

/** About 400: a file that passes it looks for the missing idea. */
const linesMax = 450;
/** Columns of a line of TypeScript. Biome keeps code to it, but breaks no comment and no string. */
const columnsMax = 100;
/** Names that say nothing of what is inside. */
const emptyNames = ['utils', 'util', 'helpers', 'helper', 'common', 'types', 'constants', 'misc'];
/** Folders of people's machines; in pieces, or this line would be found itself. */
const machinePath = new RegExp(`(^|[\\s"'\`(=:])/(${['work', 'root', 'home'].join('|')})/`, 'm');

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

/** What is for people: codes and faults are for programs. */
const proseNames = ['message', 'sentence'];
const searches = ['includes', 'indexOf', 'match', 'search', 'startsWith', 'endsWith'];

/** What the yaml package says of a tag has no code of its own. */
const foreignWords = [join('src', 'yaml', 'yaml-file.ts')];

/** Places where a sentence is searched, matched or compared. */
function proseReaders(file: string): string[] {
  const parsed = ts.createSourceFile(
    file,
    readFileSync(file, 'utf8'),
    ts.ScriptTarget.Latest,
    true,
  );
  const found: string[] = [];
  const isProse = (node: ts.Node | undefined): boolean => {
    if (node === undefined) return false;
    if (ts.isNonNullExpression(node)) return isProse(node.expression);
    const name = ts.isPropertyAccessExpression(node) ? node.name : node;
    return ts.isIdentifier(name) && proseNames.includes(name.text);
  };
  const isText = (node: ts.Node) => ts.isStringLiteralLike(node) || ts.isTemplateExpression(node);
  const visit = (node: ts.Node): void => {
    const isCompared =
      ts.isBinaryExpression(node) &&
      /^[!=]==?$/.test(node.operatorToken.getText(parsed)) &&
      ((isProse(node.left) && isText(node.right)) || (isText(node.left) && isProse(node.right)));
    const isSearched =
      ts.isCallExpression(node) &&
      ts.isPropertyAccessExpression(node.expression) &&
      ((searches.includes(node.expression.name.text) && isProse(node.expression.expression)) ||
        (['test', 'exec'].includes(node.expression.name.text) && isProse(node.arguments[0])));
    const isSwitched = ts.isSwitchStatement(node) && isProse(node.expression);
    if (isCompared || isSearched || isSwitched) found.push(`${file}: ${node.getText(parsed)}`);
    ts.forEachChild(node, visit);
  };
  visit(parsed);
  return found;
}

/** src/lab/image/debian.ts belongs to lab, src/index.ts to index. */
function roomOf(file: string): string {
  return basename(file.split(sep)[1]!, '.ts');
}

/** The files of one circle, each imported by the one before; empty if there is none. */
function circleIn(targets: ReadonlyMap<string, readonly string[]>): string[] {
  const done = new Set<string>();
  const search = (file: string, path: readonly string[]): string[] => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    if (done.has(file)) return [];
    for (const target of targets.get(file) ?? []) {
      const circle = search(target, [...path, file]);
      if (circle.length > 0) return circle;
    }
    done.add(file);
    return [];
  };
  for (const file of targets.keys()) {
    const circle = search(file, []);
    if (circle.length > 0) return circle;
  }
  return [];
}

describe('TypeScript', () => {
  const typescript = sources.filter((file) => file.startsWith(`src${sep}`));
  const imports = typescript.flatMap(importsOf);

  test('nothing reads a sentence to decide something', () => {
    const readers = typescript
      .filter((file) => !foreignWords.includes(file))
      .flatMap((file) => proseReaders(file));
    expect(readers).toEqual([]);
  });

  test('every error is made of the table, but by those who hand one on', () => {
    const makers = typescript
      .filter((file) => readFileSync(file, 'utf8').includes('new TsvswitchError('))
      .map((file) => file.split(sep).join('/'));
    expect(makers).toEqual(['src/model/errors.ts']);
  });

  test('imports between the rooms of src/ are the ones in the table', () => {
    const crossing = imports
      .filter(({ target }) => target.startsWith('.'))
      .map((entry) => ({
        ...entry,
        to: roomOf(normalize(join(dirname(entry.file), entry.target))),
      }))
      .filter(({ file, to }) => roomOf(file) !== to);
    expect(crossing).not.toHaveLength(0);
    const forbidden = crossing.filter(({ file, to, isTypeOnly }) => {
      const { values = [], types = [] } = importTable[roomOf(file)] ?? {};
      return !values.includes(to) && !(isTypeOnly && types.includes(to));
    });
    expect(forbidden).toEqual([]);
  });

  test('every room of src/ has its row in the table, and imports only from rows below it', () => {
    const rows = Object.keys(importTable);
    expect([...new Set(typescript.map(roomOf))].sort()).toEqual([...rows].sort());
    const upwards = Object.entries(importTable).flatMap(([room, { values, types = [] }], row) =>
      [...values, ...types].filter((to) => rows.indexOf(to) <= row).map((to) => `${room} > ${to}`),
    );
    expect(upwards).toEqual([]);
  });

  test('the table has no arrow that nothing needs', () => {
    const made = new Set(
      imports
        .filter(({ target }) => target.startsWith('.'))
        .map(({ file, target }) => `${roomOf(file)} > ${roomOf(join(dirname(file), target))}`),
    );
    const allowed = Object.entries(importTable).flatMap(([room, { values, types = [] }]) =>
      [...values, ...types].map((to) => `${room} > ${to}`),
    );
    expect(allowed.filter((arrow) => !made.has(arrow))).toEqual([]);
  });

  test.each(['src', 'test', 'bench', 'chaos', 'examples', 'scripts'])(
    'no files of %s import each other in a circle, not even types',
    (folder) => {
      const files = sources.filter(
        (file) => file.startsWith(`${folder}${sep}`) && /\.(ts|mjs)$/.test(file),
      );
      expect(files).not.toHaveLength(0);
      const targetsOf = (file: string) =>
        importsOf(file)
          .filter(({ target }) => target.startsWith('.'))
          .map(({ target }) => normalize(join(dirname(file), target)));
      expect(circleIn(new Map(files.map((file) => [file, targetsOf(file)])))).toEqual([]);
    },
  );

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
      const rooms = [...reached].filter((file) => file.startsWith('src')).map(roomOf);
      expect(
        rooms.filter((room) => engineRooms.includes(room)),
        name,
      ).toEqual([]);
      expect(
        [...reached].filter((file) => slowPackages.includes(file)),
        name,
      ).toEqual([]);
    }
  });

  test('only native/addon-file.ts loads the addon', () => {
    const loading = typescript.filter((file) =>
      /createRequire|\bdlopen\b|\.node['"`]/.test(readFileSync(file, 'utf8')),
    );
    // schema.ts loads what ajv wrote.
    expect(loading.sort()).toEqual(['src/model/schema.ts', 'src/native/addon-file.ts']);
  });

  test('src/ imports only packages that are installed with it, or by who uses them', () => {
    const { dependencies, peerDependencies } = JSON.parse(readFileSync('package.json', 'utf8'));
    const installed = { ...dependencies, ...peerDependencies };
    const packages = imports
      .filter(({ file }) => !buildOnly.includes(file))
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

describe('every file', () => {
  test('has at most about 400 lines', () => {
    const long = sources
      .map((file) => ({ file, lines: readFileSync(file, 'utf8').split('\n').length - 1 }))
      .filter(({ lines }) => lines > linesMax);
    expect(long).toEqual([]);
  });

  test('of TypeScript keeps to 100 columns; in tests, what is expected need not', () => {
    const isComment = (line: string) => /^\s*(\/\*|\*|\/\/)/.test(line);
    const wide = sources
      .filter((file) => /\.(ts|mjs)$/.test(file))
      .flatMap((file) =>
        readFileSync(file, 'utf8')
          .split('\n')
          .map((line, index) => ({ place: `${file}:${index + 1}`, line }))
          .filter(({ line }) => Array.from(line).length > columnsMax)
          .filter(({ line }) => !file.startsWith(`test${sep}`) || isComment(line)),
      );
    expect(wide).toEqual([]);
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
