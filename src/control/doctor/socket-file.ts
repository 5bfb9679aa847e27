/**
 * Who may connect to a unix socket, as the file system and the local accounts say: what
 * diagnosis.ts wants to know of a port that nobody connects to.
 *
 * Accounts that are not in /etc, such as those of a directory service, are shown by number.
 *
 * Sources: unix(7) "Pathname socket ownership and permissions", passwd(5), group(5).
 */

import { lstatSync, readFileSync, realpathSync, type Stats, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { SocketFile } from './diagnosis.ts';

/** What libvirt runs QEMU as: on Debian and Ubuntu, and on Fedora. */
const hypervisorUsers = ['libvirt-qemu', 'qemu'];

interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

interface Group {
  readonly name: string;
  readonly gid: number;
  readonly members: readonly string[];
}

/**
 * Undefined where there is no socket, or none that may be looked at. The accounts are those of the
 * files passwd and group in the folder `accountsFolder`.
 */
export function readSocketFile(path: string, accountsFolder = '/etc'): SocketFile | undefined {
  let stats: Stats;
  try {
    stats = lstatSync(path);
    if (!stats.isSocket()) return undefined;
  } catch {
    return undefined;
  }
  const accounts = table(join(accountsFolder, 'passwd')).map(
    ([name = '', , uid, gid]): Account => ({ name, uid: Number(uid), gid: Number(gid) }),
  );
  const groups = table(join(accountsFolder, 'group')).map(
    ([name = '', , gid, members = '']): Group => ({
      name,
      gid: Number(gid),
      members: members.split(','),
    }),
  );
  const owner = accounts.find(({ uid }) => uid === stats.uid);
  const group = groups.find(({ gid }) => gid === stats.gid);
  const mayConnect = ({ name, uid, gid }: Account) => {
    if (uid === stats.uid) return (stats.mode & 0o200) !== 0;
    const isMember = gid === stats.gid || group?.members.includes(name) === true;
    return (stats.mode & (isMember ? 0o020 : 0o002)) !== 0;
  };
  const closedFolder = findClosedFolder(path, stats, owner);
  return {
    mode: stats.mode & 0o777,
    user: owner?.name ?? String(stats.uid),
    group: group?.name ?? String(stats.gid),
    ...(closedFolder === undefined ? {} : { closedFolder }),
    keptOut: accounts
      .filter((account) => hypervisorUsers.includes(account.name) && !mayConnect(account))
      .map(({ name }) => name),
  };
}

/**
 * The first folder from the root on that others, or the group, may not pass though they are let in.
 */
function findClosedFolder(
  path: string,
  { mode, gid }: Stats,
  owner: Account | undefined,
): string | undefined {
  const forOthers = (mode & 0o002) !== 0;
  // A user's own group is that user again, whom folders of their own do not keep out.
  const forGroup = (mode & 0o020) !== 0 && gid !== owner?.gid;
  if (!forOthers && !forGroup) return undefined;
  const folders: string[] = [];
  for (let folder = realpathSync(dirname(path)); ; folder = dirname(folder)) {
    folders.unshift(folder);
    if (folder === dirname(folder)) break;
  }
  return folders.find((folder) => {
    const stats = statSync(folder);
    const passes = !forOthers && stats.gid === gid ? 0o010 : 0o001;
    return (stats.mode & passes) === 0;
  });
}

/** The fields of each line. */
function table(file: string): string[][] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line.includes(':'))
    .map((line) => line.split(':'));
}
