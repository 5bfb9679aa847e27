/**
 * Runs the native tests (CTest, once under AddressSanitizer and UndefinedBehaviorSanitizer and once
 * under ThreadSanitizer), every fuzzer for a moment and the TypeScript tests (vitest), and ends with one
 * line that adds them up: `N passed, N failed`.
 *
 * A run that finds no native test, and a file that fails before its first test, count as failures:
 * nothing passes by not being there.
 */

import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { buildFuzzers, runFuzzers } from './fuzz.mjs';
import { runInForeground, runOrExplain, runQuietly, SetupError, say } from './processes.mjs';

/** Of native/CMakePresets.json. Each test counts once for each of them. */
const presets = ['asan-ubsan', 'tsan'];
const secondsPerFuzzer = 2;
const vitestReport = resolve('build/vitest.json');

/** `args` go to vitest. Returns the exit status. */
export async function runTests(args) {
  mkdirSync('build', { recursive: true });
  const results = [];
  for (const preset of presets) results.push(await orFailure(() => runNativeTests(preset)));
  results.push(await orFailure(fuzzALittle));
  results.push(await runVitest(args));
  const sum = (count) => results.reduce((total, result) => total + result[count], 0);
  const total = { passed: sum('passed'), failed: sum('failed'), skipped: sum('skipped') };
  const skipped = total.skipped > 0 ? `, ${total.skipped} skipped` : '';
  console.log(`${total.passed} passed, ${total.failed} failed${skipped}`);
  return total.failed === 0 ? 0 : 1;
}

/** Tests that do not compile fail; the others are worth running nevertheless. */
async function orFailure(run) {
  try {
    return await run();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    console.log(error.message);
    return { passed: 0, failed: 1, skipped: 0 };
  }
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
  const [tests = 0, failed = 0, skipped = 0] = ['tests', 'failures', 'skipped'].map((name) =>
    Number(new RegExp(`<testsuite[^>]*\\s${name}="(\\d+)"`).exec(textOf(report))?.[1] ?? 0),
  );
  if (tests === 0) console.log(`no native test was run under ${preset}`);
  return {
    passed: tests - failed - skipped,
    failed: succeeded && tests > 0 ? failed : Math.max(failed, 1),
    skipped,
  };
}

/** Each target counts as one test. */
async function fuzzALittle() {
  await buildFuzzers();
  const results = await runFuzzers(secondsPerFuzzer);
  const passed = results.filter(({ succeeded }) => succeeded).length;
  return { passed, failed: results.length - passed, skipped: 0 };
}

async function runVitest(args) {
  rmSync(vitestReport, { force: true });
  const status = await runInForeground(process.execPath, [
    ...['node_modules/vitest/vitest.mjs', 'run', ...args],
    ...['--reporter=default', '--reporter=json', `--outputFile.json=${vitestReport}`],
  ]);
  const report = JSON.parse(textOf(vitestReport) || '{"testResults":[]}');
  const results = report.testResults.flatMap((file) => file.assertionResults);
  const count = (state) => results.filter(({ status }) => status === state).length;
  const brokenFiles = report.testResults.filter(
    (file) =>
      file.status === 'failed' && !file.assertionResults.some(({ status }) => status === 'failed'),
  );
  const passed = count('passed');
  const failed = count('failed') + brokenFiles.length;
  return {
    passed,
    failed: status === 0 ? failed : Math.max(failed, 1),
    skipped: results.length - passed - count('failed'),
  };
}

function textOf(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
