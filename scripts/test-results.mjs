/**
 * A reporter of vitest that writes what became of every test into one file, which scripts/tests.mjs
 * adds up: by file, with the reason of each test that was skipped and the seconds that the file
 * took.
 *
 * A test says why it cannot run by `needs()` of test/support/needs.ts, or by `skip(reason)` while
 * it runs.
 */

import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

export const resultsFile = resolve('build/test-results.json');

export default class TestResults {
  onTestRunEnd(modules, unhandledErrors) {
    mkdirSync(dirname(resultsFile), { recursive: true });
    const files = modules.map(fileResult);
    writeFileSync(
      resultsFile,
      JSON.stringify({ files, errors: unhandledErrors.map(({ message }) => message) }),
    );
  }
}

function fileResult(module) {
  const tests = [...module.children.allTests()];
  const named = (state) => tests.filter((test) => test.result().state === state);
  const failed = named('failed').map(({ fullName }) => fullName);
  // A hook of a suite fails before its first test, or after its last one.
  for (const suite of module.children.allSuites()) {
    if (suite.errors().length > 0) failed.push(suite.fullName);
  }
  if (failed.length === 0 && !module.ok()) failed.push('the file itself');
  const { duration, collectDuration, setupDuration } = module.diagnostic();
  return {
    file: module.relativeModuleId,
    passed: named('passed').length,
    failed,
    skipped: named('skipped').map((test) => ({ name: test.fullName, reason: reasonOf(test) })),
    seconds: Math.round(duration + collectDuration + setupDuration) / 1000,
  };
}

/** Undefined for a test that nobody asked for, such as one of another tag. */
function reasonOf(test) {
  const { note } = test.result();
  for (let task = test; note === undefined && task.type !== 'module'; task = task.parent) {
    const { missing } = task.meta();
    if (missing !== undefined) return missing;
  }
  return note;
}
