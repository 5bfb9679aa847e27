/** guest.ts and kernel.ts: what is in the initramfs, made from this host's programs. */

import { readFile } from 'node:fs/promises';
import { beforeAll, expect, test } from 'vitest';
import type { CpioEntry } from '../../src/tiny/cpio.ts';
import {
  initramfsEntries,
  type TinyGuest,
  tinyGuest,
  tinyGuestBoot,
} from '../../src/tiny/guest.ts';

let guest: TinyGuest;
let entries: Map<string, CpioEntry>;

beforeAll(async () => {
  // The first time it downloads the kernel package.
  guest = await tinyGuest();
  const list = await initramfsEntries(guest.kernel.modules);
  entries = new Map(list.map((entry) => [entry.path, entry]));
}, 180_000);

function contentOf(path: string): Buffer {
  const entry = entries.get(path);
  if (entry?.type !== 'file') throw new Error(`${path} is not a file of the initramfs`);
  return Buffer.from(entry.content);
}

test('the kernel is a bzImage', async () => {
  // Linux Documentation/arch/x86/boot.rst: "HdrS" at 0x202.
  const image = await readFile(guest.kernel.image);
  expect(image.subarray(0x202, 0x206).toString()).toBe('HdrS');
});

test('init loads every module that is there, in the order of their dependencies', () => {
  const init = contentOf('init').toString();
  const names = /for module in (.*); do/
    .exec(init)![1]!
    .split(' ')
    .filter((name) => name !== '');
  expect(names).toEqual(guest.kernel.modules.map((path) => path.split('/').at(-1)));
  for (const name of names) {
    // "\x7fELF": not compressed.
    expect(contentOf(`modules/${name}`).subarray(0, 4).toString('latin1')).toBe('\x7fELF');
  }
});

test('a program comes with its loader and libraries, under their own paths', () => {
  expect(entries.has('bin/iperf3')).toBe(true);
  const files = [...entries.keys()];
  expect(files.some((path) => /^lib64\/ld-linux-x86-64\.so\.2$/.test(path))).toBe(true);
  expect(files.some((path) => /\/libc\.so\.6$/.test(path))).toBe(true);
});

test('the programs that init and the demo call are busybox', () => {
  const used = ['sh', 'mount', 'insmod', 'hostname', 'ip', 'setsid', 'cttyhack', 'stty', 'ping'];
  for (const applet of [...used, 'netstat', 'timeout', 'reboot']) {
    expect(entries.get(`bin/${applet}`)).toMatchObject({ type: 'link', target: 'busybox' });
  }
});

test('made again it is the same, from the cache', async () => {
  expect(await tinyGuest()).toEqual(guest);
});

test('name and address reach the guest on the kernel command line', () => {
  const { commandLine } = tinyGuestBoot(guest, 'vm7', '10.0.0.7/8');
  expect(commandLine.split(' ')).toEqual(
    expect.arrayContaining(['guest.hostname=vm7', 'guest.address=10.0.0.7/8', 'console=ttyS0']),
  );
});
