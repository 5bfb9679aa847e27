/**
 * needs.ts and apply.ts: what a wish changes on hosts of every kind. The changes are really made,
 * by the shell, in a folder that stands for the host.
 */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { applied, type MadeChange } from '../../src/host/apply.ts';
import { type HostFacts, settingNames } from '../../src/host/facts.ts';
import { type Change, neededChanges, obstacles, type Wish } from '../../src/host/needs.ts';
import { HostTree, type HostTreeOptions, pageBytes } from './host-tree.ts';

const gibibyte = 2 ** 30;
const oneGibibyte: Wish = { memoryBytes: gibibyte, persist: false };
const kept: Wish = { ...oneGibibyte, persist: true };
const kvmGroup = { name: 'kvm', gid: 107 };

async function make(tree: HostTree, wish: Wish): Promise<MadeChange[]> {
  const made: MadeChange[] = [];
  const changes = neededChanges(await tree.facts(), wish);
  for await (const change of applied(changes, tree.root)) made.push(change);
  return made;
}

const whats = (changes: readonly Change[]) => changes.map(({ what }) => what);

test('a host without huge pages gets them, and nothing it has enough of', async () => {
  using tree = new HostTree();
  await make(tree, oneGibibyte);
  const { settings } = await tree.facts();
  expect(settings).toMatchObject({ 'vm.nr_hugepages': 512, 'vm.max_map_count': 65_530 });
});

test('a wish of less than a page is a page', async () => {
  using tree = new HostTree();
  const changes = neededChanges(await tree.facts(), { memoryBytes: 1, persist: false });
  expect(whats(changes)).toEqual(['vm.nr_hugepages: 0 → 1']);
});

test('settings that many pages need more of are raised too', async () => {
  using tree = new HostTree({ maxMapCount: 1000, shmMax: '33554432' });
  expect(whats(neededChanges(await tree.facts(), oneGibibyte))).toEqual([
    'vm.nr_hugepages: 0 → 512',
    'vm.max_map_count: 1000 → 1024',
    'kernel.shmmax: 33554432 → 1073741824',
  ]);
});

test('a hugetlbfs is mounted where none is, also where there is one for other pages only', async () => {
  using tree = new HostTree({
    pages: 512,
    files: { '/proc/self/mounts': 'h /dev/hugepages1G hugetlbfs rw,pagesize=1024M 0 0\n' },
  });
  const facts = await tree.facts();
  expect(whats(neededChanges(facts, oneGibibyte))).toEqual(['/dev/hugepages: hugetlbfs mounted']);
});

test('a group is let in, once', async () => {
  using tree = new HostTree({ pages: 512 });
  const facts = await tree.facts();
  const mount = { ...facts.mounts[0]!, gid: 0, mode: 0o755 };
  const wish = { ...oneGibibyte, group: kvmGroup };
  expect(whats(neededChanges({ ...facts, mounts: [mount] }, wish))).toEqual([
    'vm.hugetlb_shm_group: 0 → 107',
    '/dev/hugepages: group 0 → 107, mode 755 → 775',
  ]);
  const open = {
    ...facts,
    mounts: [{ ...mount, gid: 107, mode: 0o775 }],
    settings: { ...facts.settings, 'vm.hugetlb_shm_group': 107 },
  };
  expect(neededChanges(open, wish)).toEqual([]);
});

test('a group that has the right to shared segments keeps it', async () => {
  using tree = new HostTree({ pages: 512, files: { '/proc/sys/vm/hugetlb_shm_group': '5\n' } });
  const facts = await tree.facts();
  const wish = { ...oneGibibyte, group: kvmGroup };
  expect(whats(neededChanges(facts, wish)).join()).not.toContain('shm_group');
  expect(obstacles(facts, wish)).toEqual([
    'vm.hugetlb_shm_group stays 5: another group has the right already',
  ]);
});

describe('at boot', () => {
  test('the pool is set, and the mount is made where nobody makes it', async () => {
    using tree = new HostTree({ files: { '/etc/fstab': 'no line end' } });
    await make(tree, kept);
    const text = (path: string) => readFileSync(join(tree.root, path), 'utf8');
    expect(text('/etc/sysctl.d/90-tsvswitch.conf')).toBe('vm.nr_hugepages = 512\n');
    expect(text('/etc/fstab')).toBe(
      'no line end\nhugetlbfs /dev/hugepages hugetlbfs defaults 0 0\n',
    );
  });

  test('what an earlier wish wrote is kept', async () => {
    const file = '/etc/sysctl.d/90-tsvswitch.conf';
    using tree = new HostTree({
      files: { [file]: 'vm.hugetlb_shm_group = 107\nvm.nr_hugepages = 8\n' },
    });
    await make(tree, kept);
    expect((await tree.facts()).ownBootSettings).toEqual({
      'vm.hugetlb_shm_group': 107,
      'vm.nr_hugepages': 512,
    });
  });

  test('a file that has the last word with less is named, and ours is not written twice', async () => {
    const files = { '/etc/sysctl.d/99-mine.conf': 'vm.nr_hugepages = 4\n' };
    using tree = new HostTree({ files });
    await make(tree, kept);
    const facts = await tree.facts();
    expect(neededChanges(facts, kept)).toEqual([]);
    expect(obstacles(facts, kept)).toEqual([
      '/etc/sysctl.d/99-mine.conf sets vm.nr_hugepages = 4 after ours at boot: change it there',
    ]);
  });
});

test('fewer pages than asked for are told with their number', async () => {
  using tree = new HostTree({ pages: 100, findsPages: false });
  const made = await make(tree, oneGibibyte);
  expect(made.map(({ pagesFound }) => pagesFound)).toEqual([100]);
});

test('a change that fails is named with its command', async () => {
  using tree = new HostTree();
  const changes = neededChanges(await tree.facts(), oneGibibyte);
  const unwritable = changes.map((change) => ({
    ...change,
    command: change.command.replace('/nr_hugepages', '/nr_hugepages/x'),
  }));
  await expect(applied(unwritable, tree.root).next()).rejects.toMatchObject({
    code: 'SYSTEM',
    message: expect.stringMatching(/^vm\.nr_hugepages: 0 → 512 cannot be done: `echo 512 > /),
  });
});

describe('a wish that cannot be met is refused', () => {
  const bad: [string, HostTreeOptions, RegExp][] = [
    ['more memory than there is', { memoryAvailableMiB: 1024 }, /ask for at most --memory 512M/],
    ['no huge pages at all', { files: { '/proc/meminfo': '' } }, /this kernel has no huge pages/],
  ];
  test.each(bad)('%s', async (_, options, pattern) => {
    using tree = new HostTree(options);
    const facts = await tree.facts();
    expect(() => neededChanges(facts, oneGibibyte)).toThrow(
      expect.objectContaining({
        code: 'HUGEPAGES_UNAVAILABLE',
        message: expect.stringMatching(pattern),
      }),
    );
  });

  test('pages that are there already need no memory', async () => {
    using tree = new HostTree({ pages: 512, memoryAvailableMiB: 100 });
    expect(neededChanges(await tree.facts(), oneGibibyte)).toEqual([]);
  });
});

test('pages in use are told, with the size that has enough beside them', async () => {
  using tree = new HostTree({ pages: 512, freePages: 112 });
  expect(obstacles(await tree.facts(), oneGibibyte)).toEqual([
    '400 of the huge pages are in use; to have 512 beside them, ask for --memory 1824M',
  ]);
});

const anyWish = fc.record({
  memoryBytes: fc.integer({ min: 1, max: 4 * gibibyte }),
  persist: fc.boolean(),
});
const anyHost: fc.Arbitrary<HostTreeOptions> = fc.record({
  pages: fc.nat(4096),
  memoryAvailableMiB: fc.constant(16_384),
  maxMapCount: fc.integer({ min: 1, max: 100_000 }),
  shmMax: fc.oneof(fc.constant('18446744073692774399'), fc.nat(2 ** 31 - 1).map(String)),
  files: fc.oneof(
    fc.constant({}),
    fc.record({ '/etc/sysctl.d/20-own.conf': fc.nat(4096).map((n) => `vm.nr_hugepages = ${n}\n`) }),
    fc.record({
      '/etc/sysctl.d/90-tsvswitch.conf': fc.nat(4096).map((n) => `vm.nr_hugepages = ${n}\n`),
    }),
  ),
});

test('on any host any wish is met, lowers nothing, is met only once, and can be undone', {
  timeout: 60_000,
}, async () => {
  await fc.assert(
    fc.asyncProperty(anyHost, anyWish, async (options, wish) => {
      using tree = new HostTree(options);
      const before = await tree.facts();
      const changes = neededChanges(before, wish);
      for await (const { pagesFound } of applied(changes, tree.root)) {
        expect(pagesFound).toBeUndefined();
      }
      const after = await tree.facts();
      expect(after.pools[0]!.total * pageBytes).toBeGreaterThanOrEqual(wish.memoryBytes);
      expectNothingLower(before, after);
      expect(neededChanges(after, wish)).toEqual([]);
      for (const { undo } of changes.toReversed()) await execa('sh', ['-c', undo]);
      expect(await tree.facts()).toEqual(before);
    }),
    { numRuns: 25 },
  );
});

function expectNothingLower(before: HostFacts, after: HostFacts): void {
  for (const name of settingNames) {
    expect(after.settings[name]!).toBeGreaterThanOrEqual(before.settings[name]!);
    const boot = before.bootSettings[name];
    if (boot !== undefined) {
      expect(after.bootSettings[name]!.value).toBeGreaterThanOrEqual(boot.value);
    }
  }
}
