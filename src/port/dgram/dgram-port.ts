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

import { constants } from 'node:os';
import { setTimeout } from 'node:timers/promises';
import { type NativePort, native } from '../../native/addon.ts';
import type { PortPlace } from '../kind.ts';
import type { Port, PortCounters } from '../port.ts';
import { frameBytesMax, frameBytesMin, ProcessPort } from '../process/process-port.ts';
import type { DatagramFile } from './datagram-file.ts';

/** The two unix datagram sockets of a port. */
export interface DgramSocket {
  /** Where the port takes frames, at most 107 bytes; replaced if nobody has it open. */
  readonly dgram: string;
  /** Where the machine takes frames. It need not be there yet. */
  readonly peer: string;
  /** Permissions of the socket file; 0o660 unless given. */
  readonly mode?: number;
}

/** How long a frame waits before it is offered again to a peer whose queue is full. */
const retryMs = 1;
/** How many datagrams are read in one turn of the event loop, which others wait for. */
const turnDatagramsMax = 64;
const { EAGAIN, ENOBUFS } = constants.errno;

/** A port that speaks one Ethernet frame a datagram. */
export class DgramPort implements Port {
  readonly kind = 'dgram';
  readonly name: string;
  readonly number: number;
  /** @internal */
  readonly handle: NativePort;
  readonly path: string;
  readonly peer: string;
  readonly #process: ProcessPort;
  readonly #file: DatagramFile;
  readonly #drops = { noBuffer: 0, notReady: 0, tooShort: 0, tooLong: 0 };
  #closed = false;

  /** The file is the port's from now on. Throws TOO_MANY_PORTS. */
  constructor(place: PortPlace, file: DatagramFile, peer: string) {
    this.name = place.name;
    this.path = file.path;
    this.peer = peer;
    this.#file = file;
    try {
      this.#process = new ProcessPort(place);
    } catch (error) {
      file.close();
      throw error;
    }
    this.number = this.#process.number;
    this.handle = this.#process.handle;
    native().watchReadable(file.fd, () => this.#takeSome());
    void this.#deliver();
  }

  get bridge(): string {
    return this.#process.bridge;
  }

  get isDown(): boolean {
    return this.#process.isDown;
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

  /** What gives the socket's file these permissions. Throws SYSTEM if it is not there any more. */
  prepareMode(mode: number): () => void {
    return this.#file.prepareMode(mode);
  }

  /** Removes the socket, unless somebody else has put theirs there, and the port. Idempotent. */
  close(): void {
    this.release()?.close();
  }

  /** As close(), but for the socket. */
  release(): DatagramFile | undefined {
    if (this.#closed) return undefined;
    this.#closed = true;
    native().unwatchReadable(this.#file.fd);
    this.#process.close();
    if (this.#file.inPlace) return this.#file;
    this.#file.close();
    return undefined;
  }

  /** What is left calls again. */
  #takeSome(): void {
    for (let taken = 0; taken < turnDatagramsMax; taken++) {
      const bytes = native().datagramReceive(this.#file.fd, datagram);
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
    const error = native().datagramSend(this.#file.fd, this.peer, frame);
    if (error === EAGAIN || error === ENOBUFS) return false;
    if (error !== 0) this.#drops.notReady++;
    return true;
  }
}

/** Where every port reads into, one datagram at a time. */
const datagram = Buffer.allocUnsafeSlow(frameBytesMax);
