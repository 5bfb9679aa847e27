/**
 * A dgram port: a machine or program that exchanges frames as datagrams over unix sockets, one
 * frame each, as QEMU's `-netdev dgram` does. No memory is shared, and the kernel copies every
 * frame.
 *
 *     bridge ──► process port ──► socket ──► `peer`     frames to it
 *     bridge ◄── process port ◄── socket ◄── anybody    frames to `path`, which is ours
 *
 * It is a process port (process-port.ts) whose frames are carried here. A peer that reads too
 * slowly makes them wait, in its socket's queue and then in the port's ring, and loses what has no
 * room there; one that is not there loses them all. Both are counted, as is what comes in and is no
 * frame.
 */

import { chmodSync, lstatSync, unlinkSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { TsvswitchError } from '../../model/errors.ts';
import { type Dataplane, native } from '../../native/addon.ts';
import { FdSocket } from '../../native/fd-socket.ts';
import type { BridgeId, Port, PortCounters } from '../port.ts';
import { frameBytesMax, frameBytesMin, ProcessPort } from '../process/process-port.ts';

/** The two unix datagram sockets of a port. */
export interface DgramSocket {
  /** Where the port takes frames, at most 107 bytes; replaced if nobody has it open. */
  readonly dgram: string;
  /** Where the machine takes frames. It need not be there yet. */
  readonly peer: string;
  /** Permissions of the socket file; 0o660 unless given. */
  readonly mode?: number;
}

export type DgramPortOptions = DgramSocket & { readonly name: string; readonly bridge: BridgeId };

const modeDefault = 0o660;
/** How long a frame waits before it is offered again to a peer whose queue is full. */
const retryMs = 1;
/** How many datagrams are read in one turn of the event loop, which others wait for. */
const turnDatagramsMax = 64;
const { EACCES, EAGAIN, ECONNREFUSED, ENOBUFS, ENOENT, EPROTOTYPE } = constants.errno;

/** A port that speaks one Ethernet frame a datagram. */
export class DgramPort implements Port {
  readonly kind = 'dgram';
  readonly name: string;
  readonly bridge: string;
  readonly number: number;
  readonly path: string;
  readonly peer: string;
  readonly #process: ProcessPort;
  readonly #fd: number;
  readonly #inode: number;
  readonly #drops = { noBuffer: 0, notReady: 0, tooShort: 0, tooLong: 0 };
  #closed = false;

  /** Throws SOCKET_PATH_TOO_LONG, SOCKET_FOLDER_MISSING, SOCKET_NO_PERMISSION, SOCKET_NOT_A_SOCKET,
   * SOCKET_IN_USE, TOO_MANY_PORTS or SYSTEM. */
  constructor(dataplane: Dataplane, options: DgramPortOptions) {
    const { name, bridge, dgram: path, peer, mode = modeDefault } = options;
    if ('allow' in options) {
      const why = 'it hears all who may write to its file, so that a mode says who they are';
      throw new TsvswitchError('BAD_OPTION', `socket ${path}: a dgram port has no allow: ${why}`);
    }
    for (const socket of [path, peer]) FdSocket.checkPath(socket);
    if (!Number.isInteger(mode) || mode < 0 || mode > 0o777) {
      throw new TsvswitchError('BAD_OPTION', `socket ${path}: mode ${mode} is not 0 to 0o777`);
    }
    this.name = name;
    this.bridge = bridge.name;
    this.path = path;
    this.peer = peer;
    removeStale(path);
    this.#fd = bindTo(path);
    try {
      chmodSync(path, mode);
      this.#inode = lstatSync(path).ino;
      this.#process = new ProcessPort(dataplane, { name, bridge });
      native().watchReadable(this.#fd, () => this.#takeSome());
    } catch (error) {
      native().closeFd(this.#fd);
      unlinkSync(path);
      throw error;
    }
    this.number = this.#process.number;
    void this.#deliver();
  }

  get counters(): PortCounters {
    const counters = this.#process.counters;
    const drops = { ...counters.drops };
    for (const [reason, count] of Object.entries(this.#drops)) drops[reason]! += count;
    return { ...counters, drops };
  }

  get transmitqs(): { readonly queue: number; readonly frames: number }[] {
    return this.#process.transmitqs;
  }

  /** Removes the socket, unless somebody else has put theirs there, and the port. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (lstatSync(this.path, { throwIfNoEntry: false })?.ino === this.#inode) unlinkSync(this.path);
    native().closeFd(this.#fd);
    this.#process.close();
  }

  /** What is left calls again. */
  #takeSome(): void {
    for (let taken = 0; taken < turnDatagramsMax; taken++) {
      const bytes = native().datagramReceive(this.#fd, datagram);
      if (bytes === undefined) return;
      if (bytes < frameBytesMin) this.#drops.tooShort++;
      else if (bytes > frameBytesMax) this.#drops.tooLong++;
      else if (this.#process.send(datagram.subarray(0, bytes)) === 0) this.#drops.noBuffer++;
    }
  }

  async #deliver(): Promise<void> {
    for await (const frames of this.#process.batches()) {
      for (const frame of frames) {
        while (!this.#closed && !this.#give(frame)) await setTimeout(retryMs);
      }
    }
  }

  /** False if the peer's queue is full. */
  #give(frame: Buffer): boolean {
    const error = native().datagramSend(this.#fd, this.peer, frame);
    if (error === EAGAIN || error === ENOBUFS) return false;
    if (error !== 0) this.#drops.notReady++;
    return true;
  }
}

/** Where every port reads into, one datagram at a time. */
const datagram = Buffer.allocUnsafeSlow(frameBytesMax);

function bindTo(path: string): number {
  let cause: unknown;
  try {
    return native().datagramBind(path);
  } catch (failure) {
    cause = failure;
  }
  const error = errnoOf(cause);
  if (error === ENOENT) {
    throw new TsvswitchError(
      'SOCKET_FOLDER_MISSING',
      `socket ${path}: folder ${dirname(path)} does not exist; make it or choose another path`,
    );
  }
  if (error === EACCES) {
    throw new TsvswitchError(
      'SOCKET_NO_PERMISSION',
      `socket ${path}: no permission to make a file in ${dirname(path)}`,
    );
  }
  throw cause;
}

/** Clears `path` of a socket file that nobody has open; throws if anything else is there. */
function removeStale(path: string): void {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return;
  if (!stats.isSocket()) {
    throw new TsvswitchError(
      'SOCKET_NOT_A_SOCKET',
      `socket ${path}: a file is in the way; remove it or choose another path`,
    );
  }
  // Connecting a datagram socket sends nothing: it only finds out whether the other one is there.
  let error: number | undefined;
  try {
    native().closeFd(native().datagramConnect(path));
  } catch (cause) {
    error = errnoOf(cause);
  }
  if (error === undefined || error === EPROTOTYPE) {
    throw new TsvswitchError(
      'SOCKET_IN_USE',
      `socket ${path} is in use by another program; stop it or choose another path`,
    );
  }
  if (error === ECONNREFUSED) unlinkSync(path);
}

/** The number of the errno behind an error of the addon. */
function errnoOf(error: unknown): number | undefined {
  const { errno } = ((error as Error).cause ?? {}) as { errno?: number };
  return errno === undefined ? undefined : -errno;
}
