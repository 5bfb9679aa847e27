/** A port as the server: frontends connect to its socket. See frontend-source.ts. */

import { FdListener, type FdSocket, type ListenOptions } from '../../native/fd-socket.ts';
import type { FrontendSource, SourceEvent } from './frontend-source.ts';

export class ListeningSource implements FrontendSource {
  readonly path: string;
  readonly listens = true;
  readonly #listener: FdListener;

  /** Listens at once, but delivers only after start(). Throws what FdListener.listen throws. */
  constructor(path: string, options: ListenOptions) {
    this.path = path;
    this.#listener = FdListener.listen(path, options);
  }

  get lost(): boolean {
    return !this.#listener.inPlace;
  }

  start(onConnection: (socket: FdSocket) => void, onEvent: (event: SourceEvent) => void): void {
    this.#listener.onConnection(onConnection, (error) =>
      onEvent({ type: 'accept-failed', sentence: error.message }),
    );
    onEvent({ type: 'listening' });
  }

  released(): void {
    // The listener has never stopped.
  }

  close(): void {
    this.#listener.close();
  }
}
