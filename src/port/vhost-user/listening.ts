/** A port as the server: frontends connect to its socket. See frontend-source.ts. */

import { told } from '../../model/faults/table.ts';
import {
  FdListener,
  type FdSocket,
  type ListeningSocket,
  type ListenOptions,
} from '../../native/fd-socket.ts';
import type { KeptSocket } from '../kind.ts';
import type { FrontendSource, SourceEvent } from './frontend-source.ts';

export class ListeningSource implements FrontendSource, KeptSocket {
  readonly kind = 'vhost-user';
  readonly path: string;
  readonly listens = true;
  readonly #listener: FdListener;

  private constructor(listener: FdListener) {
    this.path = listener.path;
    this.#listener = listener;
  }

  /** Listens at once, but delivers only after start(). Throws what FdListener.listen throws. */
  static listen(path: string, options: ListenOptions): ListeningSource {
    return new ListeningSource(FdListener.listen(path, options));
  }

  get lost(): boolean {
    return !this.#listener.inPlace;
  }

  start(onConnection: (socket: FdSocket) => void, onEvent: (event: SourceEvent) => void): void {
    this.#listener.onConnection(onConnection, (error) =>
      onEvent({ type: 'accept-failed', told: told('accept-failed', { cause: error.message }) }),
    );
    onEvent({ type: 'listening' });
  }

  occupied(): void {
    // Others may connect, and are told.
  }

  released(): void {
    // The listener has never stopped.
  }

  prepareAccess(options: ListenOptions): () => void {
    return this.#listener.prepareAccess(options);
  }

  copySocket(): ListeningSocket | undefined {
    return this.lost ? undefined : this.#listener.copy();
  }

  release(): KeptSocket | undefined {
    if (this.lost) {
      this.close();
      return undefined;
    }
    this.#listener.rest();
    return this;
  }

  /** For another port, which lets others connect. Throws as prepareAccess(), and is closed then. */
  takeOver(options: ListenOptions): void {
    try {
      this.prepareAccess(options)();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  close(): void {
    this.#listener.close();
  }
}
