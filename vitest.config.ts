/**
 * How the TypeScript tests run: each file in a process of its own, as many at once as there are
 * CPUs, and after them, one by one, those that want the machine for themselves.
 *
 * Limits are for what hangs: a machine that is ten times slower, or busy with something else, does
 * not come near them.
 */

import { configDefaults, defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/**
 * Programs that poll both CPUs, ordeals that judge a switch by what it does meanwhile, and changes
 * to what there is once: the huge pages of the machine, and dist/, which packing makes anew.
 */
const alone = [
  'test/hostile/**/*.test.ts',
  'test/guests/testpmd-*.test.ts',
  'test/testing/{guest,ovs}.test.ts',
  'test/guests/two-guests.test.ts',
  'test/host/command.test.ts',
  'test/switch/{balance,workers}.test.ts',
  'test/install/**/*.test.ts',
];

/** Those that wait for machines to boot begin first: what takes long must not be the last. */
const long = /\/test\/(lab|libvirt|tiny|machine|guests|cli)\//;

class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => (long.test(moduleId) ? 0 : 1);
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b));
  }
}

export default defineConfig({
  // examples/ import this package by its name; test/tsconfig.json says where its sources are.
  resolve: { tsconfigPaths: true },
  test: {
    pool: 'forks',
    testTimeout: 120_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 60_000 } },
    sequence: { sequencer: LongFirst },
    tags: [
      { name: 'long', description: 'takes minutes: left to `npm run test:all`' },
      {
        name: 'huge-pages',
        description: 'goes another way where huge pages are free: `npm run test:all` runs it again',
      },
    ],
    projects: [
      {
        extends: true,
        test: {
          name: 'side by side',
          include: ['test/**/*.test.ts', 'examples/**/*.test.ts'],
          exclude: [...configDefaults.exclude, ...alone],
          maxWorkers: '100%',
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'alone',
          include: alone,
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
