/**
 * Who may be at the other end of a port's socket, besides what the permissions of its file say:
 * users and groups, as the kernel knows the process that opened that end.
 *
 * Names are looked up once, when the port is made. Of a process its user and all of its groups
 * count, as they were when it connected (for a port that connects: when the machine began to
 * listen).
 *
 * Sources: unix(7), SO_PEERCRED and SO_PEERGROUPS.
 */

import { failure } from '../../model/errors.ts';
import { native, type PeerCredentials } from '../../native/addon.ts';

/** A user by name or number, or a group as `:kvm` or `:36`. */
export type Peer = string | number;

const idMax = 2 ** 32 - 2;

export class AllowList {
  readonly #users = new Set<number>();
  readonly #groups = new Set<number>();

  /**
   * `subject` begins the sentences. Throws BAD_OPTION, SOCKET_USER_UNKNOWN, SOCKET_GROUP_UNKNOWN.
   */
  constructor(subject: string, peers: readonly Peer[]) {
    if (!Array.isArray(peers) || peers.length === 0) {
      throw failure('allow-nobody', { subject });
    }
    for (const peer of peers as readonly unknown[]) {
      const text = typeof peer === 'string' || typeof peer === 'number' ? String(peer) : '';
      const [, colon, name] = /^(:?)([^\p{C}:]+)$/u.exec(text) ?? [];
      if (name === undefined) {
        throw failure('allow-name', { subject, peer: JSON.stringify(peer) });
      }
      if (colon === '') this.#users.add(userNumber(subject, name));
      else this.#groups.add(groupNumber(subject, name));
    }
  }

  admits({ uid, gid, groups }: PeerCredentials): boolean {
    return this.#users.has(uid) || [gid, ...groups].some((one) => this.#groups.has(one));
  }

  /** The list in words. */
  toString(): string {
    const words = [
      ...Array.from(this.#users, (uid) => `uid ${uid}`),
      ...Array.from(this.#groups, (gid) => `gid ${gid}`),
    ];
    return words.join(', ');
  }
}

function userNumber(subject: string, name: string): number {
  const uid = numberOf(name) ?? native().userId(name);
  if (uid !== undefined) return uid;
  throw failure('user-unknown', { subject, name });
}

function groupNumber(subject: string, name: string): number {
  const gid = numberOf(name) ?? native().groupId(name);
  if (gid !== undefined) return gid;
  throw failure('allow-group-unknown', { subject, name });
}

function numberOf(name: string): number | undefined {
  if (!/^\d+$/.test(name)) return undefined;
  const number = Number(name);
  return number <= idMax ? number : undefined;
}
