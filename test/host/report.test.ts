/**
 * report.ts: what is said of hosts that lack something, and that the way to get it is said with it.
 */

import { expect, test } from 'vitest';
import type { HostFacts } from '../../src/host/facts.ts';
import { type Emulator, type Finding, findings, size } from '../../src/host/report.ts';
import { HostTree } from './host-tree.ts';

const emulator: Emulator = { qemu: { type: 'usable', version: '7.2' }, kvmWorks: true };

async function factsOf(change: Partial<HostFacts> = {}): Promise<HostFacts> {
  using tree = new HostTree({ pages: 64 });
  const facts = await tree.facts();
  const limits = { openFiles: 20_000, lockedBytes: 2 ** 23 };
  const devices = { kvm: 'usable', tun: 'usable' } as const;
  const sockets = { folder: '/tmp', isWritable: true, nameBytesMax: 102 };
  return { ...facts, limits, devices, sockets, ...change };
}

function finding(found: readonly Finding[], name: string): Finding {
  return found.find((each) => each.name === name)!;
}

test('a host that has everything is good in everything', async () => {
  const found = findings(await factsOf(), emulator);
  expect(found.filter(({ state }) => state !== 'good')).toEqual([]);
  expect(finding(found, 'huge pages').is).toBe('64 of 64 free, 2 MiB each');
});

test.each<[string, Partial<HostFacts>, string, RegExp, RegExp]>([
  [
    'no huge pages in the kernel',
    { pools: [] },
    'huge pages',
    /not in this kernel/,
    /shared memory/,
  ],
  [
    'no free huge page',
    { pools: [{ pageBytes: 2 ** 21, isDefault: true, total: 8, available: 0, nodes: [] }] },
    'huge pages',
    /^0 of 8 free/,
    /host prepare/,
  ],
  ['no hugetlbfs', { mounts: [] }, 'hugetlbfs', /not mounted/, /host prepare/],
  [
    'a hugetlbfs of root alone',
    {
      mounts: [
        { folder: '/dev/hugepages', pageBytes: 2 ** 21, isWritable: false, gid: 0, mode: 0o755 },
      ],
    },
    'hugetlbfs',
    /not writable/,
    /--group GROUP/,
  ],
  [
    'too few mappings for its pages',
    { settings: { 'vm.max_map_count': 100 } },
    'vm.max_map_count',
    /^100$/,
    /at least 128 .*host prepare/,
  ],
  [
    'no KVM',
    { devices: { kvm: 'absent', tun: 'absent' } },
    'KVM',
    /no \/dev\/kvm/,
    /firmware|hypervisor/,
  ],
  [
    'a KVM that is closed to this user',
    { devices: { kvm: 'forbidden', tun: 'absent' } },
    'KVM',
    /may not open/,
    /usermod -aG kvm/,
  ],
  [
    'few open files',
    { limits: { openFiles: 256, lockedBytes: 0 } },
    'open files',
    /256/,
    /about 25 ports: raise `ulimit -Hn`/,
  ],
  [
    'a long folder for sockets',
    { sockets: { folder: `/${'x'.repeat(120)}`, isWritable: true, nameBytesMax: -15 } },
    'sockets',
    /too long/,
    /XDG_RUNTIME_DIR/,
  ],
  [
    'no folder for sockets',
    { sockets: { folder: '/run/user/0', isWritable: false, nameBytesMax: 95 } },
    'sockets',
    /not writable/,
    /XDG_RUNTIME_DIR/,
  ],
])('%s is limited, and how to mend it is said', async (_, change, name, is, need) => {
  const found = finding(findings(await factsOf(change), emulator), name);
  expect(found.state).toBe('limited');
  expect(found.is).toMatch(is);
  expect(found.need).toMatch(need);
});

test('without QEMU no machine runs', async () => {
  const reason = 'qemu-system-x86_64 is not installed';
  const without: Emulator = { qemu: { type: 'unusable', reason }, kvmWorks: undefined };
  const qemu = finding(findings(await factsOf(), without), 'QEMU');
  expect(qemu).toMatchObject({ state: 'missing', need: reason });
});

test.each<[boolean | undefined, Finding['state'], RegExp]>([
  [true, 'good', /a guest runs under it/],
  [false, 'limited', /no guest runs under it/],
  [undefined, 'good', /opens/],
])('KVM that runs a guest: %s', async (kvmWorks, state, is) => {
  const kvm = finding(findings(await factsOf(), { ...emulator, kvmWorks }), 'KVM');
  expect(kvm.state).toBe(state);
  expect(kvm.is).toMatch(is);
});

test('pages are told for each node where there are several', async () => {
  const nodes = [
    { node: 0, total: 4, free: 1 },
    { node: 1, total: 4, free: 4 },
  ];
  const pools = [{ pageBytes: 2 ** 30, isDefault: true, total: 8, available: 5, nodes }];
  const pages = finding(findings(await factsOf({ pools }), emulator), 'huge pages');
  expect(pages.is).toBe('5 of 8 free, 1 GiB each; 1 of 4 on node 0, 4 of 4 on node 1');
});

test('sizes are short', () => {
  expect([0, 1023, 2 ** 21, 1.5 * 2 ** 30, Number.POSITIVE_INFINITY].map(size)).toEqual([
    '0 B',
    '1023 B',
    '2 MiB',
    '1.5 GiB',
    'any amount',
  ]);
});
