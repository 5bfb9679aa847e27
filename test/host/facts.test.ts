/** facts.ts: what is read of this host, and of others recorded as files. */

import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { hostFacts, parseMounts } from '../../src/host/facts.ts';
import { HostTree, pageBytes } from './host-tree.ts';

test('the facts of this host agree with what the kernel says elsewhere', async () => {
  const facts = await hostFacts();
  const meminfo = readFileSync('/proc/meminfo', 'utf8');
  const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(meminfo)?.[1]);
  expect(facts.memory.totalBytes).toBe(field('MemTotal') * 1024);
  const pool = facts.pools.find(({ isDefault }) => isDefault);
  expect(pool?.pageBytes ?? 0).toBe((field('Hugepagesize') || 0) * 1024);
  expect(facts.settings['vm.max_map_count']).toBeGreaterThan(0);
  expect(facts.limits.openFiles).toBeGreaterThan(0);
});

test('pages that are promised or surplus are not ours to count on', async () => {
  using tree = new HostTree({
    pages: 300,
    freePages: 120,
    files: {
      '/sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages': '100\n',
      '/sys/kernel/mm/hugepages/hugepages-2048kB/surplus_hugepages': '44\n',
    },
  });
  const { pools, settings } = await tree.facts();
  expect(pools).toEqual([{ pageBytes, isDefault: true, total: 256, available: 20, nodes: [] }]);
  expect(settings['vm.nr_hugepages']).toBe(256);
});

test('pools of every page size are there, the default one first, with their NUMA nodes', async () => {
  const node = (number: number, total: number, free: number) => ({
    [`/sys/devices/system/node/node${number}/hugepages/hugepages-2048kB/nr_hugepages`]: `${total}`,
    [`/sys/devices/system/node/node${number}/hugepages/hugepages-2048kB/free_hugepages`]: `${free}`,
  });
  using tree = new HostTree({
    pages: 30,
    files: {
      ...node(0, 10, 5),
      ...node(1, 20, 20),
      '/sys/kernel/mm/hugepages/hugepages-64kB/nr_hugepages': '7\n',
      '/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages': '2\n',
    },
  });
  const { pools } = await tree.facts();
  expect(pools.map((pool) => [pool.pageBytes, pool.total])).toEqual([
    [pageBytes, 30],
    [64 * 1024, 7],
    [2 ** 30, 2],
  ]);
  expect(pools[0]!.nodes).toEqual([
    { node: 0, total: 10, free: 5 },
    { node: 1, total: 20, free: 20 },
  ]);
});

test('a host of which nothing can be read has no huge pages, and is no error', async () => {
  const facts = await hostFacts('/nonexistent');
  expect(facts).toMatchObject({
    pools: [],
    mounts: [],
    settings: {},
    bootSettings: {},
    bootMount: 'none',
    devices: { kvm: 'absent', tun: 'absent' },
  });
});

test('mounts have the page size they say, or else the default one', () => {
  const mounts = [
    'tmpfs /dev/shm tmpfs rw 0 0',
    'hugetlbfs /dev/hugepages1G hugetlbfs rw,relatime,pagesize=1024M 0 0',
    'none /mnt/with\\040blank hugetlbfs rw 0 0',
    '# hugetlbfs /mnt/comment hugetlbfs defaults 0 0',
    'hugetlbfs\t/mnt/tab\thugetlbfs\tpagesize=2M\t0\t0',
  ].join('\n');
  expect(parseMounts(mounts, pageBytes)).toEqual([
    { folder: '/dev/hugepages1G', pageBytes: 2 ** 30 },
    { folder: '/mnt/with blank', pageBytes },
    { folder: '/mnt/tab', pageBytes },
  ]);
});

test('of the sysctl.d files the last name wins, and /etc replaces what has the same name', async () => {
  using tree = new HostTree({
    files: {
      '/usr/lib/sysctl.d/10-first.conf': 'vm.max_map_count = 1\nkernel.shmmax=7\n',
      '/usr/lib/sysctl.d/50-same.conf': 'vm.nr_hugepages = 1\n',
      '/etc/sysctl.d/50-same.conf': '# vm.nr_hugepages = 3\n vm/nr_hugepages = 2\n',
      '/run/sysctl.d/60-last.conf': '-vm.max_map_count=262144\n',
      '/etc/sysctl.d/90-tsvswitch.conf': 'vm.nr_hugepages = 512\n',
      '/etc/sysctl.d/99-other.conf': 'vm.nr_hugepages = 64\n',
      '/etc/sysctl.d/99-README': 'vm.nr_hugepages = 65\n',
    },
  });
  const { bootSettings, ownBootSettings } = await tree.facts();
  expect(bootSettings).toEqual({
    'kernel.shmmax': { value: 7, file: '/usr/lib/sysctl.d/10-first.conf' },
    'vm.max_map_count': { value: 262_144, file: '/run/sysctl.d/60-last.conf' },
    'vm.nr_hugepages': { value: 64, file: '/etc/sysctl.d/99-other.conf' },
  });
  expect(ownBootSettings).toEqual({ 'vm.nr_hugepages': 512 });
});

test('limits and settings without an end are unlimited', async () => {
  using tree = new HostTree({
    files: {
      '/proc/self/limits': [
        'Limit                     Soft Limit           Hard Limit           Units     ',
        'Max locked memory         8388608              unlimited            bytes     ',
        'Max open files            1024                 524288               files     ',
      ].join('\n'),
    },
  });
  const { limits, settings } = await tree.facts();
  expect(limits).toEqual({ openFiles: 524_288, lockedBytes: Number.POSITIVE_INFINITY });
  expect(settings['kernel.shmmax']).toBe(Number.POSITIVE_INFINITY);
});

test.each([
  ['a line of fstab', { '/etc/fstab': 'none /mnt/huge hugetlbfs defaults 0 0\n' }, 'fstab'],
  ['no line for pages of this size', { '/etc/fstab': 'a /b hugetlbfs pagesize=1G 0 0\n' }, 'none'],
  [
    'systemd',
    {
      '/usr/lib/systemd/system/dev-hugepages.mount': '[Mount]\n',
      '/run/systemd/system/.keep': '',
    },
    'systemd',
  ],
  [
    'nobody where systemd is installed and did not boot',
    { '/usr/lib/systemd/system/dev-hugepages.mount': '[Mount]\n' },
    'none',
  ],
])('a hugetlbfs is mounted at boot by %s', async (_, files, bootMount) => {
  using tree = new HostTree({ files });
  expect((await tree.facts()).bootMount).toBe(bootMount);
});
