/**
 * Finds out whether a frontend maps its guest's memory for itself alone.
 *
 * QEMU passes the file behind a memory backend even with share=off. Everything then looks right,
 * and nothing moves: the guest's writes go to pages that only QEMU has. The protocol cannot tell,
 * but the kernel's list of the frontend's mappings can, where we may read it.
 *
 * Source: proc_pid_maps(5).
 */

import { fstatSync, readFileSync } from 'node:fs';

/**
 * True if process `pid` has the file `fd` mapped, and only privately; false where it cannot be
 * seen.
 */
export function isMappedPrivately(pid: number, fd: number): boolean {
  let maps: string;
  try {
    maps = readFileSync(`/proc/${pid}/maps`, 'utf8');
  } catch {
    // Another user's process, or one that is gone: nothing is known, so nothing is claimed.
    return false;
  }
  const { dev, ino } = fstatSync(fd, { bigint: true });
  const sharing = sharingOf(maps, dev, ino);
  return sharing.length > 0 && sharing.every((flag) => flag === 'p');
}

/**
 * The fourth permission letter, `s` or `p`, of every mapping of a file in the text of a maps file.
 */
export function sharingOf(maps: string, device: bigint, inode: bigint): string[] {
  // Linux packs a device number as its C library does: makedev(3).
  const major = (device >> 8n) & 0xfffn;
  const minor = (device & 0xffn) | ((device >> 12n) & 0xfff00n);
  return maps.split('\n').flatMap((line) => {
    const mapping = /^\S+ ...([sp]) \S+ ([0-9a-f]+):([0-9a-f]+) (\d+)/.exec(line);
    if (mapping === null) return [];
    const [, flag, mapMajor, mapMinor, mapInode] = mapping;
    const isSame =
      BigInt(`0x${mapMajor}`) === major &&
      BigInt(`0x${mapMinor}`) === minor &&
      BigInt(mapInode!) === inode;
    return isSame ? [flag!] : [];
  });
}
