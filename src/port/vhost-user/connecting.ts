/**
 * A port as the client: the frontend listens (QEMU's chardev with server=on, virtio-user with
 * server=1) and the port connects, again and again until somebody is there, and anew when a
 * connection has ended.
 *
 *     trying --connected--> connected --released--> trying
 *        |  ^
 *        +--+ every retryMs
 *
 * Two attempts are never closer than retryMs, however soon a connection ends, so a frontend that
 * drops every connection costs no more than one that is not there. Why nobody answers is told once,
 * and again only after a connection in between.
 */

import { told } from '../../model/faults/table.ts';
import { FdSocket } from '../../native/fd-socket.ts';
import { gate } from '../../native/gate.ts';
import type { FrontendSource, SourceEvent } from './frontend-source.ts';

/** Well under a second, so that a machine that has just started does not wait for its network. */
const retryMs = 200;

export class ConnectingSource implements FrontendSource {
  readonly path: string;
  readonly listens = false;
  readonly lost = false;
  #onConnection: (socket: FdSocket) => void = () => {};
  #onEvent: (event: SourceEvent) => void = () => {};
  #next: NodeJS.Timeout | undefined;
  #triedAtMs = Number.NEGATIVE_INFINITY;
  #hasComplained = false;
  /** A connection is there, or none is wanted any more. */
  #isDone = false;
  readonly #gated = { hold: () => clearTimeout(this.#next), goOn: () => this.#schedule() };

  /** Throws SOCKET_PATH_TOO_LONG or BAD_OPTION. */
  constructor(path: string) {
    FdSocket.checkPath(path);
    this.path = path;
  }

  /** The first attempt is made after the caller's turn, so that it can set itself up. */
  start(onConnection: (socket: FdSocket) => void, onEvent: (event: SourceEvent) => void): void {
    this.#onConnection = onConnection;
    this.#onEvent = onEvent;
    gate.join(this.#gated);
    this.#schedule();
  }

  occupied(): void {
    this.#isDone = true;
    clearTimeout(this.#next);
  }

  released(): void {
    this.#isDone = false;
    this.#schedule();
  }

  /** The file is the machine's. */
  prepareAccess(): () => void {
    return () => {};
  }

  copySocket(): undefined {}

  release(): undefined {
    this.close();
  }

  close(): void {
    this.occupied();
    gate.leave(this.#gated);
  }

  #schedule(): void {
    if (this.#isDone || !gate.isOpen) return;
    const waitMs = Math.max(0, this.#triedAtMs + retryMs - performance.now());
    this.#next = setTimeout(() => this.#try(), waitMs);
  }

  #try(): void {
    this.#triedAtMs = performance.now();
    let socket: FdSocket;
    try {
      socket = FdSocket.connect(this.path);
    } catch (error) {
      this.#schedule();
      if (this.#hasComplained) return;
      this.#hasComplained = true;
      const { message: cause } = error as Error;
      const awaited = told('frontend-awaited', { path: this.path, cause });
      this.#onEvent({ type: 'waiting', told: awaited });
      return;
    }
    this.#hasComplained = false;
    this.#isDone = true;
    this.#onConnection(socket);
  }
}
