/**
 * Files of memory: one for a frontend, and what frontends share.
 *
 * Finds out whether guest memory comes from this host: from memory itself (memfd, tmpfs, huge
 * pages) or from one of its disks.
 *
 * A page that is not there yet is fetched while a worker waits for it, and no signal ends that
 * wait. A file system that is a program (FUSE) or lies behind a network answers when it likes. One
 * that is mounted where it cannot be seen from here, in a namespace of the frontend's, counts as
 * such. The file system itself is asked nothing, as it could take its time with that as well.
 *
 * Sources: fcntl(2) F_GET_SEALS; proc_pid_fdinfo(5), proc_pid_mountinfo(5).
 */

import { readFileSync, writeSync } from 'node:fs';
import { native } from '../../native/addon.ts';
import type { FilePiece } from '../../vhost-user/backend.ts';

const foreignTypes =
  /^(?:fuse|nfs|cifs|smb|9p|ceph|afs|coda|virtiofs|lustre|gfs2|ocfs2|glusterfs|beegfs|orangefs)/;

export function isOfThisHost(fd: number): boolean {
  if (native().isMemoryFile(fd)) return true;
  try {
    const info = readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8');
    const type = mountedType(readFileSync('/proc/self/mountinfo', 'utf8'), info);
    return type !== undefined && !foreignTypes.test(type);
  } catch {
    // Without /proc nothing is known, and nobody's session ends for that.
    return true;
  }
}

/**
 * The type of the file system that a file of this fdinfo lies on, in a text of /proc/PID/mountinfo.
 */
export function mountedType(mountinfo: string, fdinfo: string): string | undefined {
  const id = /^mnt_id:\s*(\d+)$/m.exec(fdinfo)?.[1];
  const line = mountinfo.split('\n').find((each) => each.startsWith(`${id} `));
  return line?.split(' - ')[1]?.split(' ')[0];
}

/** Zeroed but for `contents`; the fd is the caller's. */
export function createMemoryFile(sizeBytes: number, contents: readonly FilePiece[]): number {
  const fd = native().memfdCreate('tsvswitch', sizeBytes);
  try {
    for (const { offsetBytes, bytes } of contents) {
      writeSync(fd, bytes, 0, bytes.length, offsetBytes);
    }
  } catch (error) {
    native().closeFd(fd);
    throw error;
  }
  return fd;
}
