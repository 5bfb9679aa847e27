/** Whom a port of a machine serves, with what there is only then. Types only. */

import type { FdSocket } from '../../native/fd-socket.ts';
import type { Session } from '../../vhost-user/session.ts';
import type { HugePages } from './huge-pages.ts';
import type { KeptSession } from './kept-session.ts';

export type State =
  | { readonly kind: 'free' }
  | {
      readonly kind: 'connected';
      readonly socket: FdSocket;
      readonly session: Session;
      readonly pid: number;
      readonly hugePages: HugePages;
      readonly kept: KeptSession | undefined;
    }
  /** Its session is the next process's. */
  | { readonly kind: 'left' }
  | { readonly kind: 'closed' };
