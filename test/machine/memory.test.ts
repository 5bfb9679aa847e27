/** memory.ts: which memory machines get on hosts of every kind. */

import { expect, test } from 'vitest';
import { chooseMemory } from '../../src/machine/memory.ts';
import { HostTree, type HostTreeOptions } from '../host/host-tree.ts';

const memfd = { type: 'memfd' };
const hugepages = { type: 'hugepages', folder: '/dev/hugepages' };
const gigabyteMount = 'h /dev/hugepages hugetlbfs rw,pagesize=1024M 0 0\n';

test.each<[string, HostTreeOptions, object, RegExp]>([
  ['enough free pages', { pages: 256 }, hugepages, /^huge pages \(192 of 256 free ones\)$/],
  [
    'pages others use',
    { pages: 256, freePages: 191 },
    memfd,
    /^memfd \(191 huge pages are free, 192 would be needed\)$/,
  ],
  ['no huge pages', { files: { '/proc/meminfo': '' } }, memfd, /this kernel has no huge pages/],
  ['no hugetlbfs', { pages: 256, files: { '/proc/self/mounts': '' } }, memfd, /no hugetlbfs/],
  [
    'a hugetlbfs of another page size',
    { pages: 256, files: { '/proc/self/mounts': gigabyteMount } },
    memfd,
    /no hugetlbfs/,
  ],
])('machines of 128 and 255 MiB on a host with %s', async (_, options, memory, reason) => {
  using tree = new HostTree(options);
  const choice = await chooseMemory([128, 255], await tree.facts());
  expect(choice.memory).toEqual(memory);
  expect(choice.reason).toMatch(reason);
});

test('machines that need more than this host has get memfd', async () => {
  const everything = 2 ** 30;
  expect((await chooseMemory([everything])).memory).toEqual(memfd);
});
