/**
 * What a session asks of the device behind it, as an interface: this folder knows no addon.
 *
 * The port (port/vhost-user/vhost-user-port.ts) implements it on the data plane; tests implement it
 * as a recorder. Every fd handed over belongs to the backend from the call on, even if the call
 * throws.
 */

import type {
  DirtyLog,
  MappedRegion,
  MemoryRegion,
  QueueStart,
  RingAddresses,
} from '../native/addon.ts';

export interface Backend {
  setMemory(regions: readonly MappedRegion[]): void;
  addMemoryRegion(region: MappedRegion): void;
  removeMemoryRegion(region: MemoryRegion): void;
  /** Without VHOST_F_LOG_ALL, which setLogging carries because it may change while queues run. */
  setFeatures(features: bigint): void;
  /** At any time after setFeatures, which forgets it. */
  setMtu(bytes: number): void;
  startQueue(queue: number, start: QueueStart): void;
  moveQueue(queue: number, rings: RingAddresses): void;
  stopQueue(queue: number): number;
  enableQueue(queue: number, enabled: boolean): void;
  setCall(queue: number, fd: number): void;
  setErr(queue: number, fd: number): void;

  setLog(log: DirtyLog | undefined): void;
  setLogging(enabled: boolean): void;
  announce(mac: number): void;

  /** An eventfd that belongs to the caller until it is handed over in startQueue. */
  createEventfd(): number;
  /** Signals the eventfd a running queue was started with. */
  kick(queue: number): void;
  /** Reports the calls of a queue to Session.queueCalled, until setCall says otherwise. */
  setCallInBand(queue: number): void;
  /** Takes over the socket of the backend channel and feeds what comes in on it to `reader`. */
  openChannel(fd: number, reader: ChannelReader): BackendChannel;

  /** A zeroed memory file with some bytes set; the fd belongs to the caller. */
  createMemoryFile(sizeBytes: number, contents: readonly FilePiece[]): number;
}

export interface FilePiece {
  readonly offsetBytes: number;
  readonly bytes: Uint8Array;
}

/** The byte stream to the frontend, with fd passing; implemented by native/fd-socket.ts. */
export interface Channel {
  /** Sends the whole message or throws; the fds stay the caller's. */
  send(bytes: Uint8Array, fds?: readonly number[]): void;
  closeFd(fd: number): void;
}

/** The stream for the backend's own requests. */
export interface BackendChannel extends Channel {
  /** Idempotent; no method of the reader is called afterwards. */
  close(): void;
}

/** What takes in a stream: reads of at most `wants` bytes, until that is 0. */
export interface ChannelReader {
  readonly wants: number;
  receive(bytes: Uint8Array, fds: readonly number[], fdsTruncated?: boolean): void;
  /** The stream has ended. */
  end(): void;
}
