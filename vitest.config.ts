/**
 * How the TypeScript tests run: one file after the other, each in a process of its own.
 *
 * Many of them start virtual machines or busy programs, and a small machine has two cores; side by
 * side they would only measure each other. Limits are for what hangs: a machine that is ten times slower,
 * or busy with something else, does not come near them.
 */

import { defineConfig } from 'vitest/config';

export default defineConfig({
  // examples/ import this package by its name; test/tsconfig.json says where its sources are.
  resolve: { tsconfigPaths: true },
  test: {
    include: ['test/**/*.test.ts', 'examples/**/*.test.ts'],
    pool: 'forks',
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 60_000 } },
  },
});
