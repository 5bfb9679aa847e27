/** cpio.ts against an independent reader, the cpio of busybox. */

import { execa } from 'execa';
import { expect, test } from 'vitest';
import { cpioArchive } from '../../src/tiny/cpio.ts';

const archive = cpioArchive([
  { type: 'file', path: 'etc/motd', content: Buffer.from('odd'), executable: false },
  { type: 'file', path: 'bin/empty', content: Buffer.alloc(0), executable: true },
  { type: 'link', path: 'bin/sh', target: 'busybox' },
  { type: 'character-device', path: 'dev/console', major: 5, minor: 1 },
]);

async function listing(): Promise<string[]> {
  const { stdout } = await execa('busybox', ['cpio', '-t', '-v'], { input: archive });
  return stdout.split('\n').map((line) => line.replaceAll(/\s+/g, ' '));
}

test('another reader finds every entry with its type, mode and owner', async () => {
  const lines = await listing();
  const find = (name: string) => lines.find((line) => line.includes(` ${name}`));
  expect(find('etc/motd')).toMatch(/^-rw-r--r-- 0\/0 3 /);
  expect(find('bin/empty')).toMatch(/^-rwxr-xr-x 0\/0 0 /);
  expect(find('bin/sh')).toMatch(/^lrwxrwxrwx .* bin\/sh -> busybox$/);
  expect(find('dev/console')).toMatch(/^crw------- 0\/0 /);
});

test('parent folders come before what is in them', async () => {
  const names = (await listing()).map((line) =>
    line.split(' ').find((word) => /^(etc|bin|dev)/.test(word)),
  );
  for (const folder of ['etc', 'bin', 'dev']) {
    const position = names.indexOf(folder);
    expect(position).toBeGreaterThanOrEqual(0);
    expect(names.slice(0, position).some((name) => name?.startsWith(`${folder}/`))).toBe(false);
  }
});

test('content survives, whatever its length', async () => {
  for (const length of [0, 1, 2, 3, 4, 5]) {
    const content = Buffer.alloc(length, 'x');
    const { stdout } = await execa('busybox', ['cpio', '-i', '--to-stdout', 'a'], {
      input: cpioArchive([
        { type: 'file', path: 'a', content, executable: false },
        { type: 'file', path: 'b', content: Buffer.from('next'), executable: false },
      ]),
    });
    expect(stdout).toBe(content.toString());
  }
});

test('the same entries give the same bytes', () => {
  const entry = { type: 'folder', path: 'proc' } as const;
  expect(cpioArchive([entry])).toEqual(cpioArchive([entry]));
});
