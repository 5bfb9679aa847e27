/**
 * The TypeScript tests (vitest): all of them, or those of a tag (vitest.config.ts says what tags
 * mean), and the second try of what fails.
 *
 * A file that fails before its first test, an error that nobody caught and a run without any test
 * count as failures: nothing passes by not being there.
 */

import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { runInForeground, say } from './processes.mjs';
import { resultsFile } from './test-results.mjs';

/** More files than a machine could be blamed for are not run again. */
const secondTriesMax = 5;
/** What a lab of Debian machines, or testpmd with 16 ports, takes. */
const hugePagesMin = 1024;

/** All but those of a tag, unless `args` for vitest say which. */
export async function runTypescriptTests(args, { without }) {
  if (args.length > 0) return resultOf(await vitest(args));
  return withSecondTry([`--tags-filter=!${without}`], []);
}

export async function runTaggedTests(tag) {
  say(`TypeScript tests with the tag ${tag} ...`);
  return withSecondTry([`--tags-filter=${tag}`], filesWith(tag));
}

/** Once more what goes another way with huge pages than without. */
export async function runWithHugePages() {
  const tag = 'huge-pages';
  const free = Number(/^HugePages_Free:\s+(\d+)/m.exec(textOf('/proc/meminfo'))?.[1] ?? 0);
  if (free >= hugePagesMin) return runTaggedTests(tag);
  const reason = `needs ${hugePagesMin} free huge pages, there are ${free}`;
  const name = 'once more with huge pages';
  return { passed: 0, failed: [], skipped: [{ name, reason, tests: filesWith(tag).length }] };
}

/** Test files that have the tag, or a test that has it. */
function filesWith(tag) {
  const mark = new RegExp(`@module-tag ${tag}\\b|\\btags:.*'${tag}'`);
  return readdirSync('test', { recursive: true })
    .map((name) => join('test', name))
    .filter((file) => file.endsWith('.test.ts') && mark.test(readFileSync(file, 'utf8')));
}

/** Like twice() of native-tests.mjs, but file by file, each of them alone. */
async function withSecondTry(options, files) {
  const first = await vitest([...options, ...files]);
  const suspects = first.filter(({ failed }) => failed.length > 0);
  const isHopeless = suspects.length > secondTriesMax || suspects.some(({ file }) => file === '');
  if (suspects.length === 0 || isHopeless) return resultOf(first);
  say(`running what failed once more: ${suspects.map(({ file }) => file).join(', ')} ...`);
  const second = await vitest([
    ...[...options, '--no-file-parallelism'],
    ...suspects.map(({ file }) => file),
  ]);
  const unsteady = suspects
    .filter(({ file }) => second.find((again) => again.file === file)?.failed.length === 0)
    .map(({ file, failed }) => `${file}: ${failed.join('; ')}`);
  const settled = first.filter((file) => !suspects.includes(file));
  return { ...resultOf([...settled, ...second]), unsteady };
}

function resultOf(files) {
  return {
    passed: files.reduce((total, { passed }) => total + passed, 0),
    failed: files.flatMap(({ file, failed }) => failed.map((name) => `${file}: ${name}`)),
    skipped: files.flatMap(skippedIn),
  };
}

/** One for each reason in a file. */
function skippedIn({ file, skipped }) {
  const byReason = new Map();
  for (const { name, reason } of skipped) {
    // Of another tag: nobody asked for it.
    if (reason === undefined) continue;
    byReason.set(reason, [...(byReason.get(reason) ?? []), name]);
  }
  return Array.from(byReason, ([reason, names]) => ({
    name: `${file}: ${names.length === 1 ? names[0] : `${names.length} tests`}`,
    reason,
    tests: names.length,
  }));
}

/** What became of each test file, as test-results.mjs has it; '' stands for vitest itself. */
async function vitest(args) {
  rmSync(resultsFile, { force: true });
  const status = await runInForeground(process.execPath, [
    ...['node_modules/vitest/vitest.mjs', 'run', ...args],
    ...['--reporter=default', '--reporter=./scripts/test-results.mjs'],
  ]);
  const { files, errors } = JSON.parse(textOf(resultsFile) || '{"files":[],"errors":[]}');
  const nobodys = { file: '', passed: 0, failed: [], skipped: [] };
  for (const error of errors) nobodys.failed.push(`vitest: ${error.split('\n')[0]}`);
  const everything = [...files, nobodys];
  if (status !== 0 && everything.every(({ failed }) => failed.length === 0)) {
    nobodys.failed.push('vitest');
  }
  return everything;
}

function textOf(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
