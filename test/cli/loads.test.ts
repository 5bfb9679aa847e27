/**
 * What the commands load that only ask and end: not the switch, whose parts take as long to load as
 * Node itself.
 *
 * Node tells a hook of every module it loads, in the process of the command; files that CommonJS
 * packages load themselves are their own affair.
 */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { script } from '../support/command.ts';

/** The second module runs in the thread of Node's loader and is told of every module. */
const hook = `
  import { register } from 'node:module';
  register('data:text/javascript,' + encodeURIComponent(\`
    import { appendFileSync } from 'node:fs';
    export async function load(url, context, next) {
      appendFileSync(process.env.MODULES_LOADED, url + '\\\\n');
      return next(url, context);
    }\`));`;

/** Compiled code, the switch around it, and a guest in TypeScript. */
const engine = /dist\/(index|(switch|native|policy|vhost-user|port|capture|testing)\/.*)\.js$/;
const slow = /node_modules\/(ajv|execa|listr2|undici|yaml)\//;

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'loads-'));
  writeFileSync(join(folder, 'hook.mjs'), hook);
  writeFileSync(join(folder, 'lab.yaml'), 'machines: { vm1: {} }\n');
});

afterAll(() => rmSync(folder, { recursive: true }));

/** Those of the command when it is run once more: a plan is kept from then on. */
async function modulesOf(name: string, args: readonly string[]): Promise<string[]> {
  const list = join(folder, name.replaceAll(/\W/g, '-'));
  for (let times = 0; times < 2; times++) {
    rmSync(list, { force: true });
    await execa(process.execPath, ['--import', join(folder, 'hook.mjs'), script, ...args], {
      cwd: folder,
      reject: false,
      env: { MODULES_LOADED: list, XDG_STATE_HOME: folder, XDG_CACHE_HOME: join(folder, 'cache') },
    });
  }
  return readFileSync(list, 'utf8').trimEnd().split('\n');
}

test('a switch loads the engine: what is looked for below is there', async () => {
  const control = join(folder, 'missing', 'control.sock');
  const modules = await modulesOf('switch', ['--control', control]);
  expect(modules.filter((url) => engine.test(url)).length).toBeGreaterThan(10);
});

describe.each([
  ['--help'],
  ['--version'],
  ['captur'],
  ['doctor --control nothing.sock', 'control/client.js'],
  ['capture --control nothing.sock --to nothing.pcapng', 'control/client.js'],
  ['add-worker --control nothing.sock', 'control/client.js'],
  ['completion names ports --control nothing.sock', 'control/client.js'],
  ['host status', 'host/facts.js'],
  ['host prepare --memory 2M --dry-run', 'host/facts.js'],
  ['lab --help'],
  ['lab status', 'lab/lab.js'],
  ['lab schema'],
])('tsvswitch %s', (line, itself = 'cli/main.js') => {
  test('loads no engine, and no package that takes long', { timeout: 60_000 }, async () => {
    const modules = await modulesOf(line, line.split(' '));
    expect(modules.some((url) => url.endsWith(`/dist/${itself}`))).toBe(true);
    expect(modules.filter((url) => engine.test(url) || slow.test(url))).toEqual([]);
  });
});
