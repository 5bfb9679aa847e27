/**
 * Sessions that are to outlive this process, and those that an earlier process left: a service
 * manager holds them meanwhile, so that their frontends notice nothing.
 *
 * What a session is says its port, as a bundle; who holds it is the keeper's. Between two bundles
 * a session may be in the midst of something, which nobody could go on with: its place has a word
 * for that, in memory that outlives this process as well.
 *
 * Of this process and no switch, as stored-listeners.ts.
 */

import { native } from './addon.ts';
import type { Bundle } from './bundle.ts';

/** Where one session is kept. */
export interface SessionPlace {
  /** From now on until keep() or settled(), what is kept says less than what is. */
  unsettled(): void;
  /** What is kept is what is, again. */
  settled(): void;
  /** In place of what is kept; the fds stay the caller's. False if there is no room. */
  keep(bundle: Bundle): boolean;
  /** The session is left to the next process: what is kept stays. */
  leave(): void;
  /** Whether it is still there when this process has ended. */
  readonly outlives: boolean;
  /** What another process goes on keeping it with: a name, and fds of the caller's. */
  readonly asStored: StoredAs | undefined;
  /** It has ended. Idempotent. */
  close(): void;
}

/** Where a service manager keeps a session. */
export interface StoredAs {
  readonly name: string;
  readonly fds: readonly number[];
}

/** A session that its port has left, with its rings stopped. The fds are the holder's. */
export interface LeftSession {
  /** What its port calls it. */
  readonly name: string;
  readonly bundle: Bundle;
  readonly stored: StoredAs | undefined;
}

/** A session that an earlier process left. */
export interface StoredSession {
  readonly place: SessionPlace;
  /** The receiver's. */
  readonly bundle: Bundle;
  /** Its process was in the midst of something. */
  readonly isUnsettled: boolean;
}

export interface SessionKeeper {
  /** Undefined if it cannot be kept. */
  place(): SessionPlace | undefined;
}

/** By what their ports call them. */
const waiting = new Map<string, StoredSession>();
let keeper: SessionKeeper | undefined;

export const storedSessions = {
  /** A session, until its port takes it. */
  add(name: string, session: StoredSession): void {
    drop(waiting.get(name));
    waiting.set(name, session);
  },

  /** The one called `name`, for the caller. */
  take(name: string): StoredSession | undefined {
    const session = waiting.get(name);
    waiting.delete(name);
    return session;
  },

  /** Ends those that no port has taken; returns how many. */
  dropAll(): number {
    const count = waiting.size;
    for (const session of waiting.values()) drop(session);
    waiting.clear();
    return count;
  },

  /** Keeps all sessions that begin from now on. */
  set keeper(wanted: SessionKeeper | undefined) {
    keeper = wanted;
  },

  get hasKeeper(): boolean {
    return keeper !== undefined;
  },

  place(): SessionPlace | undefined {
    return keeper?.place();
  },
};

/** Nobody keeps sessions but this process: for those that it hands over itself. */
export const unkept: SessionKeeper = {
  place: () => ({
    unsettled() {},
    settled() {},
    keep: () => true,
    leave() {},
    outlives: false,
    asStored: undefined,
    close() {},
  }),
};

function drop(session: StoredSession | undefined): void {
  if (session === undefined) return;
  session.place.close();
  for (const fd of session.bundle.fds) native().closeFd(fd);
}
