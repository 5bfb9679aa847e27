/**
 * The form of the documents: links and anchors resolve, named files exist, lines and pages are
 * short, a page of docs/ says first who needs it, the index has all pages, and docs/cli.md has the
 * options of every command.
 *
 * What the snippets do is not here (snippets.test.ts).
 */

import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { execaSync } from 'execa';
import { describe, expect, test } from 'vitest';
import { Command } from '../support/command.ts';

const documents = execaSync(
  'git',
  ['ls-files', '--cached', '--others', '--exclude-standard', '*.md'],
  { lines: true },
).stdout.filter((file) => existsSync(file));
const pages = documents.filter((file) => file.startsWith('docs/'));

const columnsMax = 100;
const linesMax: Readonly<Record<string, number>> = { 'README.md': 120, 'ARCHITECTURE.md': 200 };
/** Those written for reading at length; the others list what has changed or been promised. */
const narrow = [...pages, 'README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md', 'bench/README.md'];

interface Line {
  readonly place: string;
  readonly text: string;
  /** Of the block that the line is in, if it is in one. */
  readonly language?: string;
}

function linesOf(document: string): Line[] {
  let language: string | undefined;
  return readFileSync(document, 'utf8')
    .split('\n')
    .map((text, i) => {
      const place = `${document}:${i + 1}`;
      const fence = /^```(\S*)$/.exec(text);
      if (fence === null) return { place, text, ...(language === undefined ? {} : { language }) };
      language = language === undefined ? fence[1]! : undefined;
      return { place, text, language: 'fence' };
    });
}

const proseOf = (document: string) =>
  linesOf(document).filter(({ language }) => language === undefined);

/** As GitHub and typedoc make them of headings. */
function anchorsOf(document: string): Set<string> {
  const anchors = new Set<string>();
  for (const { text } of proseOf(document)) {
    const heading = /^#+ (.*)$/.exec(text)?.[1];
    if (heading === undefined) continue;
    const shown = heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1');
    const slug = shown
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-');
    let anchor = slug;
    for (let n = 1; anchors.has(anchor); n++) anchor = `${slug}-${n}`;
    anchors.add(anchor);
  }
  return anchors;
}

/** Where the links of a document lead that lead to files; images too. */
function linksOf(document: string): { place: string; target: string }[] {
  const withoutCode = (text: string) => text.replaceAll(/`[^`]*`/g, '``');
  return proseOf(document).flatMap(({ place, text }) =>
    Array.from(withoutCode(text).matchAll(/\]\(([^)\s]+)\)/g), ([, target]) => ({
      place,
      target: target!,
    })).filter(({ target }) => !/^[a-z]+:/.test(target)),
  );
}

/** Why a link leads nowhere, or undefined. */
function fault(document: string, target: string): string | undefined {
  const [path = '', anchor] = target.split('#');
  const file = path === '' ? document : normalize(join(dirname(document), path));
  if (!existsSync(file)) return `there is no ${file}`;
  if (anchor === undefined) return undefined;
  return anchorsOf(file).has(anchor) ? undefined : `${file} has no heading #${anchor}`;
}

describe('a document', () => {
  test('has links that lead to files and headings', () => {
    const links = documents.flatMap((document) =>
      linksOf(document).map((link) => ({ ...link, document })),
    );
    expect(links.length).toBeGreaterThan(60);
    const broken = links.flatMap(({ document, place, target }) => {
      const why = fault(document, target);
      return why === undefined ? [] : [`${place}: ${target}: ${why}`];
    });
    expect(broken).toEqual([]);
  });

  test('names files of the tree that are there', () => {
    const named = /`((?:src|native|test|docs|bench|chaos|examples|scripts)\/[\w./-]*\w)`/g;
    const files = documents.flatMap((document) =>
      proseOf(document).flatMap(({ place, text }) =>
        Array.from(text.matchAll(named), ([, file]) => ({ place, file: file! })),
      ),
    );
    expect(files.length).toBeGreaterThan(20);
    // What commands make is not in the tree.
    const made = ['bench/results', 'docs/api'];
    const missing = files.filter(
      ({ file }) => !made.some((folder) => file.startsWith(folder)) && !isThere(file),
    );
    expect(missing).toEqual([]);
  });

  test.each(narrow)(
    '%s has lines of at most 100 columns, but for tables and output',
    (document) => {
      const wide = linesOf(document).filter(
        ({ text, language }) =>
          text.length > columnsMax && !text.startsWith('|') && language !== 'console',
      );
      expect(wide.map(({ place }) => place)).toEqual([]);
    },
  );

  test.each(Object.entries(linesMax))('%s has at most %i lines', (document, max) => {
    expect(linesOf(document).length - 1).toBeLessThanOrEqual(max);
  });

  test('ARCHITECTURE.md has narrow tables as well', () => {
    const wide = linesOf('ARCHITECTURE.md').filter(({ text }) => text.length > columnsMax);
    expect(wide.map(({ place }) => place)).toEqual([]);
  });
});

/** A file, or with a stem alone a source and its header: native/core/sandbox. */
function isThere(file: string): boolean {
  return ['', '.ts', '.h', '.cc'].some((ending) => existsSync(`${file}${ending}`));
}

describe('a page of docs/', () => {
  test.each(pages)('%s says first who needs it', (page) => {
    const [title, blank, first] = readFileSync(page, 'utf8').split('\n');
    expect(title).toMatch(/^# \S/);
    expect(blank).toBe('');
    expect(first).toMatch(/^For (?:whoever|everybody) /);
  });

  test('is in the index', () => {
    const index = linksOf('docs/README.md').map(({ target }) => `docs/${target}`);
    expect(pages).toContain('docs/cli.md');
    expect(pages.filter((page) => page !== 'docs/README.md' && !index.includes(page))).toEqual([]);
  });
});

describe('docs/cli.md has the options of', () => {
  const sections = readFileSync('docs/cli.md', 'utf8').split(/^## /m).slice(1);
  const ownTable = sections
    .map((section) => section.split('\n', 1)[0]!)
    .filter((title) => title !== 'tsvswitch lab');

  test('a section for each command', () => {
    expect(ownTable.length).toBeGreaterThan(5);
  });

  test.each(ownTable)('%s, all of them and no others', async (title) => {
    const section = sections.find((text) => text.startsWith(`${title}\n`))!;
    const written = Array.from(section.matchAll(/^\| (`-.*?) \|/gm), ([, cell]) => cell!);
    const documented = written.flatMap((cell) => optionsIn(cell));
    const args = title.split(' ').slice(1);
    const help = await helpOf(args);
    // Every command has it.
    const generic = args.length === 0 ? [] : ['--help'];
    expect(documented.toSorted()).toEqual(
      help.filter((option) => !generic.includes(option)).toSorted(),
    );
  });

  test('tsvswitch lab, all commands with all of theirs', { timeout: 120_000 }, async () => {
    const section = sections.find((text) => text.startsWith('tsvswitch lab\n'))!;
    const rows = Array.from(section.matchAll(/^\| `lab (\w+)(.*?)` \|/gm), ([, name, rest]) => ({
      name: name!,
      options: optionsIn(rest!),
    }));
    const { stdout } = await Command.run(['lab', '--help']);
    const commands = Array.from(stdout.matchAll(/^ {2}(\w+)(?: .*)?$/gm), ([, name]) => name!);
    const listed = commands.slice(commands.indexOf('up')).filter((name) => name !== 'help');
    expect(rows.map(({ name }) => name).toSorted()).toEqual(listed.toSorted());
    for (const { name, options } of rows) {
      const help = await helpOf(['lab', name]);
      const generic = ['--help', '--file'];
      expect(options.toSorted(), name).toEqual(
        help.filter((option) => !generic.includes(option)).toSorted(),
      );
    }
  });

  test('a port, as the message about a wrong one lists them', async () => {
    const section = sections.find((text) => text.startsWith('tsvswitch\n'))!;
    const names = Array.from(section.matchAll(/^\| `([a-z-]+)=/gm), ([, name]) => name!);
    const { stderr } = await Command.run(['--socket', 'a.sock,nosuch=1']);
    const said = /it has ([\w, -]+)\./.exec(stderr)?.[1]?.split(', ');
    expect(names.toSorted()).toEqual(said?.toSorted());
  });
});

/** The long names of options in a cell of a table. */
function optionsIn(text: string): string[] {
  return Array.from(text.matchAll(/--[a-z][a-z-]*/g), ([option]) => option);
}

/** The long names of the options that a command's help lists. */
async function helpOf(args: readonly string[]): Promise<string[]> {
  const { status, stdout } = await Command.run([...args, '--help']);
  expect(status).toBe(0);
  return Array.from(stdout.matchAll(/^ {2}(?:-\w, )?(--[a-z-]+)/gm), ([, option]) => option!);
}
