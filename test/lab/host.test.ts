/** host.ts: reading what the kernel says about huge pages, and the choice made from it. */

import { expect, test } from 'vitest';
import { chooseMemory, hugepages, hugetlbfsMounts, parseMeminfo } from '../../src/lab/host.ts';

const pageBytes = 2 * 2 ** 20;

test('pages that are promised to someone are not available', () => {
  const text = [
    'MemTotal:       24682496 kB',
    'HugePages_Total:     512',
    'HugePages_Free:      300',
    'HugePages_Rsvd:      100',
    'Hugepagesize:       2048 kB',
  ].join('\n');
  expect(parseMeminfo(text)).toEqual({ pageBytes, total: 512, available: 200 });
});

test('a kernel without huge pages has none', () => {
  expect(parseMeminfo('MemTotal: 24682496 kB\n')).toEqual({ pageBytes: 0, total: 0, available: 0 });
});

test('a hugetlbfs of another page size is not taken', () => {
  const mounts = [
    'tmpfs /dev/shm tmpfs rw 0 0',
    'hugetlbfs /dev/hugepages1G hugetlbfs rw,relatime,pagesize=1024M 0 0',
    'hugetlbfs /dev/hugepages hugetlbfs rw,relatime,pagesize=2M 0 0',
  ].join('\n');
  expect(hugetlbfsMounts(mounts, pageBytes)).toEqual(['/dev/hugepages']);
  expect(hugetlbfsMounts(mounts, 2 ** 30)).toEqual(['/dev/hugepages1G']);
});

test('a mount that does not say its page size has the default one', () => {
  expect(hugetlbfsMounts('none /mnt/huge hugetlbfs rw 0 0', pageBytes)).toEqual(['/mnt/huge']);
});

test('machines that need more than there is get memfd, and the reason counts pages', async () => {
  const { total, pageBytes: size } = await hugepages();
  // Twice what the pool has, whatever it has on this host.
  const memoryMiB = Math.ceil(((total + 1) * (size || pageBytes) * 2) / 2 ** 20);
  const { memory, reason } = await chooseMemory([memoryMiB]);
  expect(memory).toEqual({ type: 'memfd' });
  expect(reason).toMatch(/^memfd \(\d+ huge pages are free, \d+ would be needed\)$/);
});
