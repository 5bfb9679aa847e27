/**
 * Where a vhost-user port gets the connection to its frontend: by listening for one (listening.ts)
 * or by connecting to one that listens (connecting.ts). The port serves what it is given and says
 * when it is free again; everything about sockets, files and retries is behind this interface.
 */

import type { Told } from '../../model/faults/table.ts';
import type { FdSocket, ListeningSocket, ListenOptions } from '../../native/fd-socket.ts';
import type { KeptSocket } from '../kind.ts';

/** What a source tells besides connections; sentences are without the port's name. */
export type SourceEvent =
  | { readonly type: 'listening' }
  /** Nobody listens at the path; it is tried again until somebody does. */
  | { readonly type: 'waiting'; readonly told: Told<'frontend-awaited'> }
  | { readonly type: 'accept-failed'; readonly told: Told<'accept-failed'> };

export interface FrontendSource {
  readonly path: string;
  readonly listens: boolean;
  /** Frontends cannot find this source any more: it listens, but `path` does not lead to it. */
  readonly lost: boolean;
  /** Begins to deliver. A connection belongs to the receiver, who may refuse it by closing it. */
  start(onConnection: (socket: FdSocket) => void, onEvent: (event: SourceEvent) => void): void;
  /** A connection was there before: none is wanted until it is released. */
  occupied(): void;
  /** The connection delivered last has ended, or was refused. */
  released(): void;
  /** What lets others connect from then on; as FdListener.prepareAccess. */
  prepareAccess(options: ListenOptions): () => void;
  /** Of the socket that it listens on, for another process. */
  copySocket(): ListeningSocket | undefined;
  /** As close(), but for what can be started again for another port. */
  release(): KeptSocket | undefined;
  /** Nothing is delivered afterwards. Idempotent. */
  close(): void;
}
