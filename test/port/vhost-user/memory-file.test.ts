/** Which files may hold up whoever touches memory that lies in them. */

import { closeSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { native } from '../../../src/native/addon.ts';
import { isOfThisHost, mountedType } from '../../../src/port/vhost-user/memory-file.ts';

const mountinfo = `22 28 0:20 / /sys rw,nosuid shared:7 - sysfs sysfs rw
28 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro
281 28 0:55 / /mnt/remote rw,nosuid,nodev shared:9 master:2 - fuse.sshfs u@h:/ rw,user_id=1000
`;
const fdinfo = (id: number) => `pos:\t0\nflags:\t0100002\nmnt_id:\t${id}\nino:\t12\n`;

test('the mount of a file is found by its number, whatever optional fields it has', () => {
  expect(mountedType(mountinfo, fdinfo(28))).toBe('ext4');
  expect(mountedType(mountinfo, fdinfo(281))).toBe('fuse.sshfs');
  expect(mountedType(mountinfo, fdinfo(8))).toBeUndefined();
  expect(mountedType(mountinfo, 'pos:\t0\n')).toBeUndefined();
});

test('memory and files of mounts that are seen here are of this host, what has no mount is not', () => {
  const path = join(tmpdir(), `memory-file-${process.pid}`);
  const [memory, eventfd] = [native().memfdCreate('memory-file', 4096), native().eventfdCreate()];
  const file = openSync(path, 'wx+');
  try {
    expect(native().isMemoryFile(memory)).toBe(true);
    expect([memory, file, eventfd].map(isOfThisHost)).toEqual([true, true, false]);
  } finally {
    for (const fd of [memory, file, eventfd]) closeSync(fd);
    rmSync(path);
  }
});
