/** Memory that a frontend shares only in appearance: share=off in QEMU. */

import mmapIo from 'mmap-io';
import { expect, test } from 'vitest';
import { native } from '../../../src/native/addon.ts';
import { isMappedPrivately } from '../../../src/port/vhost-user/private-mapping.ts';

// The package's types describe it as one more module than it is.
const mmap = mmapIo as unknown as typeof mmapIo.default;
const sizeBytes = 1 << 16;
const readWrite = (mmap.PROT_READ | mmap.PROT_WRITE) as 3;

/** Whether a file this process has mapped with `flags`, one mapping each, counts as private. */
function judged(...flags: (1 | 2)[]): boolean {
  const fd = native().memfdCreate('judged', sizeBytes);
  // Held until the judgement, since a mapping ends with its Buffer.
  const mappings = flags.map((flag) => mmap.map(sizeBytes, readWrite, flag, fd));
  const verdict = isMappedPrivately(process.pid, fd);
  for (const mapping of mappings) mapping[0] = 1;
  native().closeFd(fd);
  return verdict;
}

test('a file mapped only privately is private', () => {
  expect(judged(mmap.MAP_PRIVATE)).toBe(true);
});

test('a file mapped shared, also beside a private mapping, is not', () => {
  expect(judged(mmap.MAP_SHARED)).toBe(false);
  expect(judged(mmap.MAP_SHARED, mmap.MAP_PRIVATE)).toBe(false);
});

test('a file that is not mapped, and a process that is not there, say nothing', () => {
  expect(judged()).toBe(false);
  const fd = native().memfdCreate('elsewhere', sizeBytes);
  expect(isMappedPrivately(2 ** 22 + 1, fd)).toBe(false);
  native().closeFd(fd);
});
