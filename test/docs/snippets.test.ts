/**
 * Every snippet of the documents runs as it stands there, or the document says, with a reason, why
 * not.
 *
 * TypeScript is compiled by the strictest settings on top of those of docs/embed.md, and run; shell
 * lines run in a namespace of their own (scratch.ts); YAML is read as the file it is, JSON as JSON,
 * XML by xmllint and libvirt's schema.
 */

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { execa, execaSync } from 'execa';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { planOfText } from '../../src/lab/file/lab-file.ts';
import { configOfText } from '../../src/operate/config-file.ts';
import { needs } from '../support/needs.ts';
import { mayHaveNamespaces, type Ran, Scratch } from './scratch.ts';
import { type Snippet, snippetsOf } from './snippets.ts';

const documents = execaSync(
  'git',
  ['ls-files', '--cached', '--others', '--exclude-standard', '*.md'],
  { lines: true },
).stdout.filter((file) => existsSync(file));
const snippets = documents.flatMap(snippetsOf);

/** What no machine can judge is never without a word. */
const languages = ['ts', 'js', 'sh', 'yaml', 'json', 'xml', 'console', 'text'];
const shownOnly = ['console', 'text'];

/** Stricter than any project that a snippet may be pasted into. */
const strict = {
  strict: true,
  noUncheckedIndexedAccess: true,
  exactOptionalPropertyTypes: true,
  verbatimModuleSyntax: true,
  noImplicitOverride: true,
  noUnusedLocals: true,
  skipLibCheck: true,
  outDir: 'js',
  rootDir: 'ts',
};

let scratch: Scratch;

beforeAll(() => {
  scratch = new Scratch();
});

afterAll(() => scratch.remove());

const of = (...wanted: string[]) => snippets.filter(({ language }) => wanted.includes(language));
const isRun = ({ running }: Snippet) => running.how !== 'no' && running.how !== 'compiled';
/** README.md:12 as the name of a file. */
const nameOf = ({ place }: Snippet) => place.replaceAll(/\W/g, '-');

test('every document is looked at, and every snippet says what language it is in', () => {
  for (const document of ['README.md', 'docs/cli.md', 'docs/lab.md', 'examples/README.md']) {
    expect(documents).toContain(document);
  }
  expect(snippets.length).toBeGreaterThan(30);
  expect(snippets.filter(({ language }) => !languages.includes(language))).toEqual([]);
});

test('what is only shown has a reason in the document', () => {
  const silent = of(...shownOnly).filter(({ running }) => running.how !== 'no');
  expect(silent.map(({ place }) => place)).toEqual([]);
});

function expectEnd({ running }: Snippet, { status, signal, output }: Ran): void {
  if (running.how === 'until') {
    expect(output).toContain(running.text);
    // A program may have its own end for an interrupt, or none.
    expect([0, null], output).toContain(status);
    if (status === null) expect(signal, output).toBe('SIGINT');
  } else {
    expect({ status, signal }, output).toEqual({ status: 0, signal: null });
  }
}

describe('TypeScript', () => {
  const typescript = of('ts').filter(({ running }) => running.how !== 'no');

  beforeAll(async () => {
    const settings = snippets.find(
      ({ language, text }) => language === 'json' && text.includes('"lib"'),
    );
    scratch.write('settings.json', settings!.text);
    scratch.write(
      'tsconfig.json',
      JSON.stringify({ extends: './settings.json', compilerOptions: strict, include: ['ts'] }),
    );
    scratch.subfolder('ts');
    for (const snippet of typescript) {
      // A module also where nothing is imported.
      const ending = snippet.text.includes('tsvswitch/testing/vitest') ? 'test.ts' : 'ts';
      scratch.write(`ts/${nameOf(snippet)}.${ending}`, snippet.text);
    }
  });

  test('of all documents compiles', { timeout: 240_000 }, async () => {
    expect(typescript.length).toBeGreaterThan(5);
    const check = await execa(resolve('node_modules/.bin/tsc'), ['-p', '.'], {
      cwd: scratch.folder,
      reject: false,
    });
    expect(check.stdout).toBe('');
    expect(check.exitCode).toBe(0);
  });

  describe('runs', () => {
    const running = typescript.filter(isRun);
    test.each(running.map((snippet) => [snippet.place, snippet] as const))(
      '%s',
      async (_, snippet) => {
        const name = nameOf(snippet);
        const until = snippet.running.how === 'until' ? snippet.running.text : undefined;
        const cwd = scratch.subfolder(`run-${name}`);
        if (existsSync(scratch.path(`js/${name}.test.js`))) {
          const vitest = resolve('node_modules/vitest/vitest.mjs');
          const args = [
            process.execPath,
            vitest,
            'run',
            '--root',
            scratch.folder,
            `js/${name}.test.js`,
          ];
          expectEnd(snippet, await scratch.run(args, scratch.folder));
        } else {
          const args = [process.execPath, scratch.path(`js/${name}.js`)];
          expectEnd(snippet, await scratch.run(args, cwd, until));
        }
      },
    );
  });
});

describe('JavaScript runs on any Node', () => {
  test.each(of('js').map((snippet) => [snippet.place, snippet] as const))(
    '%s',
    async (_, snippet) => {
      const name = nameOf(snippet);
      scratch.write(`${name}.js`, snippet.text);
      const args = [process.execPath, scratch.path(`${name}.js`)];
      expectEnd(snippet, await scratch.run(args, scratch.subfolder(name)));
    },
  );
});

describe(
  'shell lines run',
  needs(mayHaveNamespaces ? undefined : 'needs root, for a /run of their own'),
  () => {
    const running = of('sh').filter(isRun);

    test.each(running.map((snippet) => [snippet.place, snippet] as const))(
      '%s',
      async (_, snippet) => {
        const cwd = scratch.subfolder(nameOf(snippet));
        const { running } = snippet;
        const lines =
          running.how === 'beside' ? besides(running.command, snippet.text) : snippet.text;
        const until = running.how === 'until' ? running.text : undefined;
        expectEnd(snippet, await scratch.runShell(lines, cwd, until));
      },
    );
  },
);

/** A switch that takes requests, the lines, and the end of the switch. */
function besides(command: string, lines: string): string {
  return `${command} > beside.log &
    switch=$!
    trap 'kill $switch' EXIT
    until grep 'taking requests' beside.log; do kill -0 $switch; sleep 0.1; done
    ${lines}
    trap - EXIT
    kill $switch
    wait $switch`;
}

describe('YAML is the file of a lab, of a switch or of Prometheus', () => {
  const about = of('yaml').map((snippet) => {
    const [key] = /^(machines|scrape_configs|groups)(?=:)/m.exec(snippet.text) ?? ['ports'];
    return { ...snippet, key };
  });
  const ofKey = (wanted: string) =>
    about.filter(({ key }) => key === wanted).map((snippet) => [snippet.place, snippet] as const);

  test.each(ofKey('machines'))('%s', (name, { text }) => {
    const plan = planOfText(text, { name, file: scratch.path('lab.yaml') });
    expect(plan.machines).not.toHaveLength(0);
  });

  test.each(ofKey('ports'))('%s', (name, { text }) => {
    expect(configOfText(text, name).settings.ports).not.toEqual({});
  });

  const hasPromtool = execaSync('promtool', ['--version'], { reject: false }).exitCode === 0;
  const needsPromtool = needs(hasPromtool ? undefined : 'needs the package prometheus');

  test.each(ofKey('scrape_configs'))('%s', needsPromtool, (place, { text }) => {
    const file = scratch.path(`${place.replaceAll(/\W/g, '-')}.yaml`);
    writeFileSync(file, text);
    expect(execaSync('promtool', ['check', 'config', file]).exitCode).toBe(0);
  });
});

describe('JSON can be read', () => {
  test.each(of('json').map((snippet) => [snippet.place, snippet] as const))('%s', (_, { text }) => {
    expect(JSON.parse(text)).toBeTypeOf('object');
  });
});

describe('XML', () => {
  const hasProgram = (name: string) =>
    execaSync('sh', ['-c', `command -v ${name}`], { reject: false }).exitCode === 0;

  const needsProgram = (name: string) => needs(hasProgram(name) ? undefined : `needs ${name}`);

  test.each(of('xml').map((snippet) => [snippet.place, snippet] as const))(
    '%s is well-formed',
    needsProgram('xmllint'),
    async (_, { text }) => {
      // Elements that go into a domain are several.
      const check = await execa('xmllint', ['--noout', '-'], {
        input: text.startsWith('<domain') ? text : `<domain>${text}</domain>`,
        reject: false,
        all: true,
      });
      expect(check.exitCode, check.all).toBe(0);
    },
  );

  const domains = of('xml').filter(({ text }) => text.startsWith('<domain'));

  test.each(domains.map((snippet) => [snippet.place, snippet] as const))(
    '%s is a domain of libvirt',
    // It calls xmllint.
    needsProgram(hasProgram('xmllint') ? 'virt-xml-validate' : 'xmllint'),
    async (_, snippet) => {
      const file = scratch.path(`${nameOf(snippet)}.xml`);
      scratch.write(`${nameOf(snippet)}.xml`, snippet.text);
      const check = await execa('virt-xml-validate', [file, 'domain'], {
        reject: false,
        all: true,
      });
      expect(check.exitCode, check.all).toBe(0);
    },
  );
});

test('the page of the examples names all of them', () => {
  const page = readFileSync('examples/README.md', 'utf8');
  const files = execaSync('git', ['ls-files', 'examples/*.ts', 'examples/*.mjs'], { lines: true });
  expect(files.stdout).not.toHaveLength(0);
  expect(files.stdout.filter((file) => !page.includes(file.split('/')[1]!))).toEqual([]);
});
