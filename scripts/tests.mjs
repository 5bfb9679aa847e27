/**
 * Runs the native tests (CTest, under AddressSanitizer and UndefinedBehaviorSanitizer) and the
 * TypeScript tests (vitest), and ends with one line that adds them up: `N passed, N failed`.
 *
 * A run that finds no native test, and a file that fails before its first test, count as failures:
 * nothing passes by not being there.
 */

import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { runInForeground, runOrExplain, runQuietly, SetupError, say } from './processes.mjs';

const preset = 'asan-ubsan';
const nativeBuild = resolve('build', preset);
const nativeReport = resolve('build/ctest.xml');
const vitestReport = resolve('build/vitest.json');

/** `args` go to vitest. Returns the exit status. */
export async function runTests(args) {
  mkdirSync('build', { recursive: true });
  const native = await runNativeTests().catch((error) => {
    if (!(error instanceof SetupError)) throw error;
    // They do not compile; the other tests are worth running nevertheless.
    console.log(error.message);
    return { passed: 0, failed: 1, skipped: 0 };
  });
  const typescript = await runVitest(args);
  const total = {
    passed: native.passed + typescript.passed,
    failed: native.failed + typescript.failed,
    skipped: native.skipped + typescript.skipped,
  };
  const skipped = total.skipped > 0 ? `, ${total.skipped} skipped` : '';
  console.log(`${total.passed} passed, ${total.failed} failed${skipped}`);
  return total.failed === 0 ? 0 : 1;
}

async function runNativeTests() {
  say('native tests: building ...');
  await runOrExplain('cmake', ['-S', 'native', '--preset', preset]);
  await runOrExplain('cmake', [
    ...['--build', nativeBuild],
    ...['--parallel', String(availableParallelism())],
  ]);
  say('native tests: running ...');
  rmSync(nativeReport, { force: true });
  const { succeeded, output } = await runQuietly('ctest', [
    ...['--test-dir', nativeBuild, '--output-on-failure', '--output-junit', nativeReport],
  ]);
  if (!succeeded) console.log(output);
  const [tests = 0, failed = 0, skipped = 0] = ['tests', 'failures', 'skipped'].map((name) =>
    Number(new RegExp(`<testsuite[^>]*\\s${name}="(\\d+)"`).exec(textOf(nativeReport))?.[1] ?? 0),
  );
  if (tests === 0) console.log('no native test was run');
  return {
    passed: tests - failed - skipped,
    failed: succeeded && tests > 0 ? failed : Math.max(failed, 1),
    skipped,
  };
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
