/**
 * The switch with an addon that has a sanitizer built in, under the hostile suite and under chaos.
 *
 *   npm run sanitized        all of both, with each sanitizer in turn: some ten minutes
 *   npm run memcheck         the addon's life under valgrind
 *
 * A sanitizer's runtime has to be in a process before anything else, so it is preloaded into a Node
 * that knows nothing of it: into that of the switch only under the hostile suite, since vitest does
 * not bear ThreadSanitizer; into chaos and its switch. A finding ends the process, which either
 * takes for a failure; what they said is shown then.
 *
 * Sanitizers do not look for leaks here, since of all that Node still holds at its end they would
 * report each; memcheck reports what nothing points to any more. It needs no suppressions: without
 * compiled JavaScript, Node does nothing that it minds.
 */

import { resolve } from 'node:path';
import { buildChaos } from './build.mjs';
import { twice } from './native-tests.mjs';
import {
  outputOf,
  runInForeground,
  runOrExplain,
  runQuietly,
  SetupError,
  say,
} from './processes.mjs';

/** By preset of native/CMakePresets.json. */
const sanitizers = {
  'asan-ubsan': {
    library: 'libasan.so',
    // The addon has a handler of its own for SIGBUS, and Node one for SIGSEGV.
    options: { ASAN_OPTIONS: 'detect_leaks=0:handle_sigbus=0:handle_segv=0' },
  },
  tsan: {
    library: 'libtsan.so',
    options: {
      TSAN_OPTIONS: `halt_on_error=1:suppressions=${resolve('native/sanitizers/node.tsan')}`,
    },
  },
};
const chaosSeed = 2;
/** Sanitizers keep what was freed, for hundreds of MiB. */
const growthMiB = 1024;

/** The whole; returns the exit status. */
export async function sanitized() {
  let failed = 0;
  for (const preset of Object.keys(sanitizers)) {
    say(`building the addon, ${preset} ...`);
    await runOrExplain('cmake', ['-S', 'native', '--preset', preset]);
    await runOrExplain('cmake', ['--build', resolve('build', preset), '--target', 'tsvswitch']);
    // Sanitizers keep what was freed: memory does not stay flat.
    const hostile = ['test/hostile', '--exclude', 'test/hostile/cycles.test.ts'];
    const outcomes = await runSanitized(preset, hostile, ['--seconds', '60']);
    failed += outcomes.filter(({ succeeded }) => !succeeded).length;
  }
  return failed === 0 ? 0 : 1;
}

/** Returns valgrind's exit status: 1 for what it has found. */
export async function memcheck() {
  return runInForeground('valgrind', [
    ...['--quiet', '--error-exitcode=1', '--leak-check=full', '--num-callers=25'],
    ...['--show-leak-kinds=definite', '--errors-for-leak-kinds=definite'],
    ...[process.execPath, '--jitless', 'native/sanitizers/lifecycle.mjs'],
  ]);
}

/** A part for `npm run test:all`, with an addon that is built; each program counts as one test. */
export async function runSanitizedTests(preset) {
  return twice(async () => {
    const tests = ['test/hostile/broken-rings.test.ts'];
    const programs = await runSanitized(preset, tests, ['--events', '0-29']);
    const failed = programs.filter(({ succeeded }) => !succeeded);
    return {
      passed: programs.length - failed.length,
      failed: failed.map(({ name }) => name),
      output: failed.map(({ output }) => output).join(''),
    };
  });
}

async function runSanitized(preset, hostileTests, chaosArguments) {
  await buildChaos();
  const environment = environmentOf(preset);
  const hostile = await runShown(
    `${preset}: hostile guests`,
    ['node_modules/vitest/vitest.mjs', 'run', ...hostileTests],
    { SWITCH_ENVIRONMENT: JSON.stringify(environment) },
  );
  const seed = ['--seed', String(chaosSeed), '--without-machine', '--growth', String(growthMiB)];
  const chaos = await runShown(
    `${preset}: chaos`,
    ['build/chaos/main.js', ...seed, ...chaosArguments],
    environment,
  );
  return [hostile, chaos];
}

async function runShown(name, args, environment) {
  say(`${name} ...`);
  const { succeeded, output } = await runQuietly(process.execPath, args, environment);
  if (!succeeded) console.log(output);
  return { name, succeeded, output };
}

/**
 * What puts the sanitizer into a process of Node. Throws SetupError if its runtime is not there.
 */
function environmentOf(preset) {
  const { library, options } = sanitizers[preset];
  const path = outputOf('g++', [`-print-file-name=${library}`])?.trim();
  if (!path?.startsWith('/')) {
    throw new SetupError(`g++ has no ${library}; it comes with the compiler's development files`);
  }
  return {
    ...options,
    LD_PRELOAD: path,
    TSVSWITCH_ADDON: resolve('build', preset, 'Release', 'tsvswitch.node'),
  };
}
