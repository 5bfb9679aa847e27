/**
 * The unix socket on which requests are taken: who may open its file, and what whoever has done so
 * may do.
 *
 * The file is the owner's alone (mode 600), or a group's that was told. A group of readers may only
 * look, by what the kernel says of who has connected.
 *
 * Source: unix(7), SO_PEERCRED.
 */

import { Socket } from 'node:net';
import { failure } from '../model/errors.ts';
import type { PeerCredentials } from '../native/addon.ts';
import { FdListener, type FdSocket } from '../native/fd-socket.ts';
import type { ListenOptions } from '../native/socket-file.ts';
import type { AccessOf } from './connections.ts';
import type { Access } from './operations.ts';

/** Who may open the file of a control socket. */
export interface UnixAccess {
  /** Permissions of the file: 600 unless given, 660 with a group. */
  readonly mode?: number;
  /** Group of the file, which may then do everything. */
  readonly group?: string | number;
  /** In place of it: group of the file, for whom only root and our own user may change anything. */
  readonly readers?: string | number;
}

const ownMode = 0o600;
const groupMode = 0o660;

export class UnixDoor {
  readonly #listener: FdListener;
  readonly #hasReaders: boolean;

  /** Throws CONTROL_TWO_GROUPS, and what FdListener.listen throws. */
  constructor(path: string, access: UnixAccess) {
    this.#listener = FdListener.listen(path, permissionsOf(access));
    this.#hasReaders = access.readers !== undefined;
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
    const access = this.#accessOf(connection.peer);
    const fd = connection.release();
    const socket = new Socket({ fd, readable: true, writable: true, allowHalfOpen: true });
    return [socket, () => access];
  }

  /** Removes the socket. Idempotent. */
  close(): void {
    this.#listener.close();
  }

  #accessOf({ uid }: PeerCredentials): Access {
    const mayAll = !this.#hasReaders || uid === 0 || uid === process.geteuid!();
    return mayAll ? 'all' : 'read';
  }
}

function permissionsOf({ mode, group, readers }: UnixAccess): ListenOptions {
  if (group !== undefined && readers !== undefined) throw failure('control-two-groups');
  const whose = readers ?? group;
  if (whose === undefined) return { mode: mode ?? ownMode };
  return { mode: mode ?? groupMode, group: whose };
}
