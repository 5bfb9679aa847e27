/**
 * Listening sockets that are older than this process, and those that are to outlive it: a service
 * manager holds them, so that whoever connects while no switch runs waits in place of being
 * refused.
 *
 * One that was given belongs to a socket unit: its file, with its permissions, stays when a port
 * goes, and the socket waits here for the next port of that path. One that was kept was opened by
 * an earlier run of this program and is as if this one had opened it.
 *
 * Of this process and no switch: the numbers of its first fds say nothing of switches.
 */

import { lstatSync, unlinkSync } from 'node:fs';
import { resolve } from 'node:path';
import { native } from './addon.ts';

export interface StoredListener {
  readonly fd: number;
  readonly origin: 'given' | 'kept';
}

/** Where listeners are put that are to outlive this process. */
export interface ListenerKeeper {
  keep(path: string, fd: number): void;
  forget(path: string): void;
}

/** By absolute path. */
const waiting = new Map<string, StoredListener>();
let keeper: ListenerKeeper | undefined;

export const storedListeners = {
  /** A socket that listens on `path`, until a port takes it. */
  add(path: string, listener: StoredListener): void {
    waiting.set(resolve(path), listener);
  },

  /** The one that listens on `path`, for the caller; one whose file is gone is of no use. */
  take(path: string): StoredListener | undefined {
    const key = resolve(path);
    const listener = waiting.get(key);
    waiting.delete(key);
    if (listener === undefined || isSocketFile(key)) return listener;
    native().closeFd(listener.fd);
    return undefined;
  },

  /** Ends one that an earlier run left, with its file. */
  remove(path: string): void {
    const listener = storedListeners.take(path);
    if (listener === undefined) return;
    keeper?.forget(resolve(path));
    native().closeFd(listener.fd);
    try {
      unlinkSync(path);
    } catch {
      // Its folder is another user's now; nobody listens there.
    }
  },

  /** Those that no port has taken. */
  get all(): readonly (StoredListener & { readonly path: string })[] {
    return [...waiting].map(([path, listener]) => ({ path, ...listener }));
  },

  /** Hears of all that this process opens from now on. */
  set keeper(wanted: ListenerKeeper | undefined) {
    keeper = wanted;
  },

  opened(path: string, fd: number): void {
    keeper?.keep(resolve(path), fd);
  },

  closed(path: string): void {
    keeper?.forget(resolve(path));
  },
};

/** Without one nobody finds the listener. */
function isSocketFile(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isSocket() ?? false;
}
