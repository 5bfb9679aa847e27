/**
 * What `npm test` runs, what `npm run test:all` adds to it, and the last lines of both: whatever
 * could not run here, passed only the second time or failed, each by its name, and one line that
 * adds all up: `N passed, N failed`.
 *
 *   npm test                               the native tests and the TypeScript tests: minutes
 *   npm run test:all                       that, what takes long, what huge pages make different
 *   npm run test:all -- --only long        only one of the latter two
 *   npm run test:all -- --only huge-pages
 *
 * What is run, and how, is in native-tests.mjs, typescript-tests.mjs, sanitized.mjs and fuzz.mjs.
 */

import { mkdirSync } from 'node:fs';
import { fuzzALittle } from './fuzz.mjs';
import { runNativeTests } from './native-tests.mjs';
import { SetupError } from './processes.mjs';
import { runSanitizedTests } from './sanitized.mjs';
import { runTaggedTests, runTypescriptTests, runWithHugePages } from './typescript-tests.mjs';

/** Of native/CMakePresets.json. Each test counts once for each of them. */
const sanitizedPresets = ['asan-ubsan', 'tsan'];

const everyday = (args) => [
  () => runNativeTests('release'),
  () => runTypescriptTests(args, { without: 'long' }),
];

const additions = {
  long: [
    () => runTaggedTests('long'),
    ...sanitizedPresets.flatMap((preset) => [
      () => runNativeTests(preset),
      () => runSanitizedTests(preset),
    ]),
    () => fuzzALittle(),
  ],
  'huge-pages': [() => runWithHugePages()],
};

/** `args` go to vitest. Returns the exit status. */
export async function runTests(args) {
  return runAndSumUp(everyday(args));
}

export async function runAllTests(args) {
  if (args.length === 0) return runAndSumUp([...everyday([]), ...Object.values(additions).flat()]);
  const [option, name, ...rest] = args;
  if (option !== '--only' || !Object.hasOwn(additions, name ?? '') || rest.length > 0) {
    const names = Object.keys(additions).join(' or ');
    throw new SetupError(`test:all takes --only with ${names}, not ${args.join(' ')}`);
  }
  return runAndSumUp(additions[name]);
}

/**
 * Each part returns how many tests `passed`, the names of those that `failed` and of those that are
 * `unsteady`, and what was `skipped`: `{ name, reason, tests }`.
 */
async function runAndSumUp(parts) {
  mkdirSync('build', { recursive: true });
  const results = [];
  for (const part of parts) results.push(await orFailure(part));
  const all = (key) => results.flatMap((result) => result[key] ?? []);
  const sum = (counts) => counts.reduce((total, count) => total + count, 0);
  const [passed, skipped] = [sum(all('passed')), sum(all('skipped').map(({ tests }) => tests))];
  for (const { name, reason } of all('skipped')) console.log(`skipped: ${name}: ${reason}`);
  for (const name of all('unsteady')) console.log(`unsteady, passed the second time: ${name}`);
  const failed = all('failed');
  for (const name of failed) console.log(`failed: ${name}`);
  const skips = skipped > 0 ? `, ${skipped} skipped` : '';
  console.log(`${passed} passed, ${failed.length} failed${skips}`);
  return failed.length === 0 ? 0 : 1;
}

/** Tests that do not compile fail; the others are worth running nevertheless. */
async function orFailure(run) {
  try {
    return await run();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    console.log(error.message);
    return { passed: 0, failed: [error.message.split('\n').at(-1)] };
  }
}
