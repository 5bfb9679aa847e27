/**
 * Runs the native tests (CTest) and hostile and chaotic networks, all of it once under AddressSanitizer
 * with UndefinedBehaviorSanitizer and once under ThreadSanitizer, every fuzzer for a moment and the
 * TypeScript tests (vitest), and ends with the name of each that failed and one line that adds them up:
 * `N passed, N failed`.
 *
 * A run that finds no native test, and a file that fails before its first test, count as failures:
 * nothing passes by not being there. What fails is run once more (see twice()).
 */

import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { relative, resolve } from 'node:path';
import { buildFuzzers, runFuzzers } from './fuzz.mjs';
import { runInForeground, runOrExplain, runQuietly, SetupError, say } from './processes.mjs';
import { hasFinding, runSanitizedPart } from './sanitized.mjs';

/** Of native/CMakePresets.json. Each test counts once for each of them. */
const presets = ['asan-ubsan', 'tsan'];
const secondsPerFuzzer = 2;
const secondTriesMax = 5;
const vitestReport = resolve('build/vitest.json');

/** `args` go to vitest. Returns the exit status. */
export async function runTests(args) {
  mkdirSync('build', { recursive: true });
  const results = [];
  for (const preset of presets) {
    results.push(await orFailure(() => twice(() => runNativeTests(preset))));
    results.push(await orFailure(() => twice(() => runPrograms(preset))));
  }
  results.push(await orFailure(fuzzALittle));
  results.push(await runVitest(args));
  const sum = (count) => results.reduce((total, result) => total + result[count], 0);
  const failed = results.flatMap((result) => result.failed);
  for (const name of failed) console.log(`failed: ${name}`);
  const skipped = sum('skipped') > 0 ? `, ${sum('skipped')} skipped` : '';
  console.log(`${sum('passed')} passed, ${failed.length} failed${skipped}`);
  return failed.length === 0 ? 0 : 1;
}

/** Tests that do not compile fail; the others are worth running nevertheless. */
async function orFailure(run) {
  try {
    return await run();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    console.log(error.message);
    return { passed: 0, failed: [error.message.split('\n').at(-1)], skipped: 0 };
  }
}

/**
 * A machine that is held up for seconds makes a test fail that is right. What failed is run once more, and
 * what then passes is named and counts as passed: what is wrong fails twice. What a sanitizer has found is
 * wrong even if it happens once.
 */
async function twice(run) {
  const first = await run();
  if (first.failed.length === 0 || hasFinding(first.output)) return first;
  say(`running once more, since of it failed: ${first.failed.join('; ')} ...`);
  const second = await run();
  nameUnsteady(first.failed.filter((name) => !second.failed.includes(name)));
  return second;
}

function nameUnsteady(names) {
  for (const name of names) console.log(`unsteady: ${name}`);
}

async function runNativeTests(preset) {
  const build = resolve('build', preset);
  const report = resolve('build', `ctest-${preset}.xml`);
  say(`native tests, ${preset}: building ...`);
  await runOrExplain('cmake', ['-S', 'native', '--preset', preset]);
  await runOrExplain('cmake', ['--build', build, '--parallel', String(availableParallelism())]);
  say(`native tests, ${preset}: running ...`);
  rmSync(report, { force: true });
  const { succeeded, output } = await runQuietly('ctest', [
    ...['--test-dir', build, '--output-on-failure', '--output-junit', report],
  ]);
  if (!succeeded) console.log(output);
  const tests = textOf(report).matchAll(/<testcase name="([^"]+)"[^>]*\sstatus="(\w+)"/g);
  const outcomes = Array.from(tests, ([, name, status]) => ({ name, status }));
  const failed = outcomes
    .filter(({ status }) => status === 'fail')
    .map(({ name }) => `${preset}: ${name}`);
  const passed = outcomes.filter(({ status }) => status === 'run').length;
  const skipped = outcomes.length - passed - failed.length;
  // Nothing passes by not being there.
  if (failed.length === 0 && (!succeeded || passed === 0)) failed.push(`${preset}: ctest`);
  return { passed, failed, skipped, output };
}

/** Hostile guests and chaos; each counts as one test. */
async function runPrograms(preset) {
  const programs = await runSanitizedPart(preset);
  const failed = programs.filter(({ succeeded }) => !succeeded);
  return {
    passed: programs.length - failed.length,
    failed: failed.map(({ name }) => name),
    skipped: 0,
    output: failed.map(({ output }) => output).join(''),
  };
}

/** Each target counts as one test. */
async function fuzzALittle() {
  await buildFuzzers();
  const results = await runFuzzers(secondsPerFuzzer);
  const failed = results.filter(({ succeeded }) => !succeeded).map(({ name }) => `fuzzer ${name}`);
  return { passed: results.length - failed.length, failed, skipped: 0 };
}

/**
 * Like twice(), but file by file, and not if somebody asked for certain tests or more failed than a machine
 * could be blamed for.
 */
async function runVitest(args) {
  const first = await vitest(args);
  const suspects = first.filter(({ failed }) => failed.length > 0);
  const someOfAll = args.length === 0 && suspects.length <= secondTriesMax;
  if (suspects.length === 0 || !someOfAll || suspects.some(({ file }) => file === '')) {
    return countsOf(first);
  }
  say(`running what failed once more: ${suspects.length} test files ...`);
  const second = await vitest(suspects.map(({ file }) => file));
  for (const { file, failed } of suspects) {
    const again = second.find((other) => other.file === file);
    if (again?.failed.length === 0) nameUnsteady([`${file}: ${failed.join('; ')}`]);
  }
  return countsOf([...first.filter((file) => !suspects.includes(file)), ...second]);
}

function countsOf(files) {
  const sum = (count) => files.reduce((total, file) => total + count(file), 0);
  return {
    passed: sum(({ passed }) => passed),
    failed: files.flatMap(({ file, failed }) => failed.map((name) => `${file}: ${name}`)),
    skipped: sum(({ skipped }) => skipped),
  };
}

/** What became of each test file; `failed` has the names of tests. '' stands for vitest itself. */
async function vitest(args) {
  rmSync(vitestReport, { force: true });
  const status = await runInForeground(process.execPath, [
    ...['node_modules/vitest/vitest.mjs', 'run', ...args],
    ...['--reporter=default', '--reporter=json', `--outputFile.json=${vitestReport}`],
  ]);
  const report = JSON.parse(textOf(vitestReport) || '{"testResults":[]}');
  const files = report.testResults.map(({ name, status: outcome, assertionResults: tests }) => {
    const named = (state) =>
      tests.filter((test) => test.status === state).map(({ fullName }) => fullName);
    const [passed, failed] = [named('passed').length, named('failed')];
    const skipped = tests.length - passed - failed.length;
    // A file can fail before its first test, or after its last one.
    if (outcome === 'failed' && failed.length === 0) failed.push('the file itself');
    return { file: relative('.', name), passed, failed, skipped };
  });
  // There is more to go wrong than tests: an error that nobody caught, no test at all.
  if (status !== 0 && files.every(({ failed }) => failed.length === 0)) {
    files.push({ file: '', passed: 0, failed: ['vitest'], skipped: 0 });
  }
  return files;
}

function textOf(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
