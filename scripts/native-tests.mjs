/**
 * The tests of the data plane (native/test), built and run by CTest with a preset of
 * native/CMakePresets.json, and the second try of what fails, which others use, too.
 *
 * A run that finds no test counts as a failure: nothing passes by not being there.
 */

import { readFileSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { runOrExplain, runQuietly, say } from './processes.mjs';

const cpus = String(availableParallelism());

export async function runNativeTests(preset) {
  say(`native tests, ${preset}: building ...`);
  // Of the benchmark, which one preset has in it, nothing is needed.
  await runOrExplain('cmake', ['-S', 'native', '--preset', preset, '-DTSVSWITCH_BENCH=OFF']);
  await runOrExplain('cmake', ['--build', resolve('build', preset), '--parallel', cpus]);
  return twice(() => runOnce(preset));
}

async function runOnce(preset) {
  const report = resolve('build', `ctest-${preset}.xml`);
  say(`native tests, ${preset}: running ...`);
  rmSync(report, { force: true });
  const { succeeded, output } = await runQuietly('ctest', [
    ...['--test-dir', resolve('build', preset), '--output-on-failure', '--output-junit', report],
  ]);
  if (!succeeded) console.log(output);
  const tests = textOf(report).matchAll(/<testcase name="([^"]+)"[^>]*\sstatus="(\w+)"/g);
  const outcomes = Array.from(tests, ([, name, status]) => ({
    name: `${preset}: ${name}`,
    status,
  }));
  const named = (wanted) => outcomes.filter(({ status }) => wanted(status)).map(({ name }) => name);
  const passed = named((status) => status === 'run').length;
  const failed = named((status) => status === 'fail');
  const others = named((status) => status !== 'run' && status !== 'fail');
  const skipped = others.map((name) => ({ name, reason: 'ctest did not run it', tests: 1 }));
  if (failed.length === 0 && (!succeeded || passed === 0)) failed.push(`${preset}: ctest`);
  return { passed, failed, skipped, output };
}

/**
 * A machine that is held up for seconds makes a test fail that is right. What failed is run once
 * more, and what then passes counts as passed and is named: what is wrong fails twice. What a
 * sanitizer has found is wrong even if it happens once.
 */
export async function twice(run) {
  const first = await run();
  if (first.failed.length === 0 || hasFinding(first.output)) return first;
  say(`running once more, since of it failed: ${first.failed.join('; ')} ...`);
  const second = await run();
  return { ...second, unsteady: first.failed.filter((name) => !second.failed.includes(name)) };
}

/** Whether a program that failed was ended by a sanitizer. */
function hasFinding(output) {
  return /(Address|Thread|UndefinedBehavior)Sanitizer|runtime error:/.test(output);
}

function textOf(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
