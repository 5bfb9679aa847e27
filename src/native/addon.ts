/**
 * The one door to compiled code: loads the addon once and declares what it exports.
 *
 * What it has of data planes are handles (handles.ts); everything else is a function over plain
 * values. A passed fd belongs to the addon from the call on, even if the call throws. The addon is
 * given what makes our errors when it is loaded, and throws nothing else.
 */

import { failure } from '../model/errors.ts';
import { checkNodeVersion } from '../runtime/node-version.ts';
import { loadAddon } from './addon-file.ts';
import type { Dataplane, DataplaneOptions, PolicyWords } from './handles.ts';

export type * from './handles.ts';

export interface FdMessage {
  /** Number of bytes read into the buffer; 0 is end of stream. */
  readonly bytes: number;
  readonly fds: number[];
  /** More fds were sent than could be taken over; the surplus was closed by the kernel. */
  readonly fdsTruncated: boolean;
}

export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
  /** The supplementary ones. */
  readonly groups: readonly number[];
}

export interface Native {
  openDataplane(options: DataplaneOptions): Dataplane;
  readonly counterNames: readonly string[];
  readonly countersPerQueue: number;
  readonly workerCounterNames: readonly string[];
  /** From `firstDrop` on they are reasons why a frame ended. */
  readonly fateNames: readonly string[];
  readonly firstDrop: number;
  readonly markNames: readonly string[];
  readonly marksAt: number;
  /** Why a queue is broken: the first is "none", the others are faults of model/faults/rings.ts. */
  readonly breakCodes: readonly string[];
  readonly queuePairsMax: number;
  readonly portsMax: number;
  readonly memorySlotsMax: number;
  readonly policyNames: readonly (keyof PolicyWords)[];

  /** What makes the errors that the addon throws from now on. */
  setFailure(make: typeof failure): void;

  /** A non-blocking SOCK_STREAM socket bound to `path`; nobody can connect before socketListen. */
  socketBind(path: string): number;
  socketListen(fd: number, backlog: number): void;
  socketConnect(path: string): number;
  /** The next connection, or undefined if none waits. */
  socketAccept(fd: number): number | undefined;
  /** Reads at most `into.length` bytes with the fds sent along; undefined if nothing waits. */
  socketReceive(fd: number, into: Uint8Array): FdMessage | undefined;
  /** Sends the bytes with the fds (which stay the caller's); returns how many bytes went out. */
  socketSend(fd: number, bytes: Uint8Array, fds: readonly number[]): number;
  socketPeer(fd: number): PeerCredentials;
  /** A non-blocking SOCK_DGRAM socket bound to `path`. */
  datagramBind(path: string): number;
  /** One connected to `path`, which sends nothing: it finds out whether somebody is there. */
  datagramConnect(path: string): number;
  /**
   * Reads one datagram and returns how long it is, which may be more than `into` has room for;
   * undefined if none waits.
   */
  datagramReceive(fd: number, into: Uint8Array): number | undefined;
  /**
   * Sends one datagram to the socket at `path`; returns 0, or the errno that says why it did not
   * go.
   */
  datagramSend(fd: number, path: string, bytes: Uint8Array): number;
  /** The number of the user called `name`, or undefined if there is none. */
  userId(name: string): number | undefined;
  /** The number of the group called `name`, or undefined if there is none. */
  groupId(name: string): number | undefined;
  /**
   * Memory of at most 1 GiB, zeros, that takes up none until it is used; then in large pages where
   * the kernel has them.
   */
  largeBuffer(bytes: number): ArrayBuffer;
  /** Calls back on the event loop whenever `fd` is readable or hung up, until unwatch. */
  watchReadable(fd: number, callback: () => void): void;
  unwatchReadable(fd: number): void;

  /**
   * A datagram socket connected to the one called `name`: a path, or @ and a name in no file
   * system. Throws BAD_OPTION, SYSTEM.
   */
  notifyConnect(name: string): number;
  /**
   * Takes over an fd that was there when the process began. Returns the path of a unix stream
   * socket that listens. Throws SYSTEM.
   */
  adoptFd(fd: number): string | undefined;
  /** Two ends of a connection of unix sockets that keeps the bounds of messages. Throws SYSTEM. */
  socketPair(): [number, number];
  /**
   * Locks an open file until all copies of the fd are closed (flock(2)). False if somebody else has
   * locked it. Throws SYSTEM.
   */
  lockFile(fd: number): boolean;

  /**
   * Confines all threads of this process for good (native/core/platform/sandbox.h). Throws SYSTEM.
   */
  confineProcess(): void;
  /** Moves all threads of this process off these CPUs (native/core/platform/cpus.h). */
  leaveCpus(cpus: readonly number[]): void;

  memfdCreate(name: string, sizeBytes: number): number;
  /**
   * Maps the file, shared, for reading and writing, until nobody refers to the buffer. Throws
   * SYSTEM.
   */
  mapFile(fd: number, sizeBytes: number): ArrayBuffer;
  /** Ends a mapping at once: its buffer and all views of it have no bytes any more. Idempotent. */
  unmapFile(buffer: ArrayBuffer): void;
  /** Whether a file is of memfd_create, tmpfs or hugetlbfs. */
  isMemoryFile(fd: number): boolean;
  /** Another fd of the same file. */
  dupFd(fd: number): number;
  /**
   * Gives the pages of a memory file back, whoever else has it: it keeps its size and reads as
   * zeros.
   */
  discardPages(fd: number): void;
  eventfdCreate(): number;
  /** Adds one; false if the counter is full. */
  eventfdSignal(fd: number): boolean;
  /** Reads and clears the counter; 0 if it was clear. */
  eventfdDrain(fd: number): number;
  closeFd(fd: number): void;
}

let loaded: Native | undefined;

/**
 * The addon, loaded at the first call. Throws NATIVE_UNAVAILABLE or NODE_TOO_OLD with the way to
 * mend it.
 */
export function native(): Native {
  if (loaded === undefined) {
    checkNodeVersion();
    const addon = loadAddon() as Native;
    addon.setFailure(failure);
    loaded = addon;
  }
  return loaded;
}
