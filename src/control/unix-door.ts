/**
 * The unix socket on which requests are taken: who may open its file, and what whoever has done so
 * may do.
 *
 * The file is the owner's alone (mode 600), or a group's that was told. A group of readers may only
 * look, by what the kernel says of who has connected. A file has one group: where there are readers
 * as well, everybody may open it, and who is in neither group is refused.
 *
 * Sources: unix(7), SO_PEERCRED and SO_PEERGROUPS.
 */

import { Socket } from 'node:net';
import { failure } from '../model/errors.ts';
import type { PeerCredentials } from '../native/addon.ts';
import { FdListener, type FdSocket, type ListeningSocket } from '../native/fd-socket.ts';
import { groupNumber, type ListenOptions } from '../native/socket-file.ts';
import type { AccessOf } from './connections.ts';
import type { Access } from './operations.ts';

/** Who may open the file of a control socket. */
export interface UnixAccess {
  /** Permissions of the file: 600 unless given, 660 with a group, 666 with two. */
  readonly mode?: number;
  /** Who is in this group may do everything. */
  readonly group?: string | number;
  /** Who is in this group may look; nobody but root, our own user and `group` changes anything. */
  readonly readers?: string | number;
}

const ownMode = 0o600;
const groupMode = 0o660;
const groupsMode = 0o666;

export class UnixDoor {
  readonly #listener: FdListener;
  /** Undefined: all who can open the file. */
  readonly #changers: number | undefined;
  readonly #readers: number | undefined;

  /** Throws what FdListener.listen throws. */
  constructor(path: string, access: UnixAccess) {
    const { group, readers } = access;
    this.#changers =
      group === undefined || readers === undefined ? undefined : groupNumber(path, group);
    this.#readers = readers === undefined ? undefined : groupNumber(path, readers);
    this.#listener = FdListener.listen(path, permissionsOf(access));
  }

  /** `onError` learns why somebody who has connected cannot be served. */
  onConnection(
    take: (socket: Socket, accessOf: AccessOf) => void,
    onError: (error: unknown) => void,
  ): void {
    this.#listener.onConnection(
      (connection) => {
        try {
          take(...this.#enter(connection));
        } catch (error) {
          onError(error);
        }
      },
      // It tries again by itself; whoever waits for an answer sees that it takes long.
      () => {},
    );
  }

  #enter(connection: FdSocket): [Socket, AccessOf] {
    const { peer } = connection;
    const access = this.#accessOf(peer);
    const fd = connection.release();
    const socket = new Socket({ fd, readable: true, writable: true, allowHalfOpen: true });
    return [
      socket,
      () => {
        if (access !== undefined) return access;
        throw failure('control-stranger', { uid: peer.uid });
      },
    ];
  }

  copySocket(): ListeningSocket {
    return this.#listener.copy();
  }

  /** Removes the socket. Idempotent. */
  close(): void {
    this.#listener.close();
  }

  /** Undefined: none. */
  #accessOf({ uid, gid, groups }: PeerCredentials): Access | undefined {
    if (this.#readers === undefined || uid === 0 || uid === process.geteuid!()) return 'all';
    // The file lets in the readers alone.
    if (this.#changers === undefined) return 'read';
    const all = [gid, ...groups];
    if (all.includes(this.#changers)) return 'all';
    return all.includes(this.#readers) ? 'read' : undefined;
  }
}

function permissionsOf({ mode, group, readers }: UnixAccess): ListenOptions {
  if (group !== undefined && readers !== undefined) return { mode: mode ?? groupsMode };
  const whose = readers ?? group;
  if (whose === undefined) return { mode: mode ?? ownMode };
  return { mode: mode ?? groupMode, group: whose };
}
