/**
 * The control socket of a switch: answers what operations.ts lists, over HTTP on a unix socket, so
 * that `curl --unix-socket` is enough to ask.
 *
 *     connections.ts (how many, whose turn) --request--> router.ts --> resources.ts --> Switch
 *                                                           bodies.ts     event-feed.ts
 *
 * Whoever may open the file may do everything, so it is the owner's alone (mode 600). What comes in
 * is checked to the last field all the same, since it is typed by hand: a request that makes no
 * sense gets one sentence. Nothing here waits for anything but the request's own body, which has a
 * bound, and the file that a reload reads.
 *
 * Runs on the event loop's thread; frames do not wait for it.
 */

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ListenOptions, Switch } from '../index.ts';
import { failure } from '../model/errors.ts';
import { FdListener } from '../native/fd-socket.ts';
import { bodyOf, isTaking } from './bodies.ts';
import { Connections, sendJson } from './connections.ts';
import { type DeclaredSwitch, Resources } from './resources.ts';
import { findOperation, flagsIn } from './router.ts';

/** Where a control socket is, and how ports are made that it adds. */
export interface ControlOptions {
  /** Where to listen; stale files are replaced as those of ports are. */
  readonly path: string;
  /** Permissions of the ports' sockets that are added without any. */
  readonly portSockets?: ListenOptions;
  /** The file of the switch, if one declares it. */
  readonly declared?: DeclaredSwitch;
  /** How long the body of a request may take to come; half a minute unless given. */
  readonly bodyLimitMs?: number;
  /**
   * Learns of an error that no request should bring about, and of which; else it is a warning of
   * the process.
   */
  readonly onUnexpected?: (error: unknown, what: string) => void;
}

const socketMode = 0o600;
const bodyLimitMsDefault = 30_000;

/** The control socket of a switch in this process. */
export class ControlServer {
  readonly path: string;
  readonly #resources: Resources;
  readonly #connections: Connections;
  readonly #bodyLimitMs: number;

  private constructor(vswitch: Switch, options: ControlOptions) {
    this.path = options.path;
    this.#bodyLimitMs = options.bodyLimitMs ?? bodyLimitMsDefault;
    const onUnexpected = options.onUnexpected ?? warn;
    const listener = FdListener.listen(options.path, { mode: socketMode });
    const { portSockets = {}, declared } = options;
    this.#resources = new Resources(vswitch, { portSockets, declared, onUnexpected });
    this.#connections = new Connections(listener, {
      serve: (request, response) => this.#serve(request, response),
      onUnexpected,
    });
  }

  /** Throws what FdListener.listen throws. Close it before the switch. */
  static listen(vswitch: Switch, options: ControlOptions): ControlServer {
    return new ControlServer(vswitch, options);
  }

  /** Breaks all connections off and removes the socket. Idempotent. */
  close(): void {
    this.#connections.close();
    this.#resources.close();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [path = '/', query = ''] = request.url!.split('?');
    const match = findOperation(request.method!, path);
    if (match === undefined) {
      throw failure('operation-unknown', { method: request.method!, path });
    }
    const { id, operation, name } = match;
    const flags = flagsIn(operation, query);
    const body = isTaking(id) ? await bodyOf(id, request, this.#bodyLimitMs) : undefined;
    const answer = await this.#resources.answer(id, { name, flags, body, request, response });
    if (answer !== 'goes on') sendJson(response, operation.status, answer);
  }
}

/** For want of somebody to tell. */
function warn(error: unknown): void {
  process.emitWarning(error instanceof Error ? error : String(error));
}
