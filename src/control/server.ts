/**
 * The control socket of a switch: answers what operations.ts lists, over HTTP on a unix socket, so
 * that `curl --unix-socket` is enough to ask, and over TCP if that is asked for (tcp/).
 *
 *     unix-door.ts ─┐
 *     tcp/ ─────────┴► connections.ts (how many, whose turn) ──request──► router.ts
 *                                         Switch ◄── resources.ts, event-feed.ts ◄─┘ bodies.ts
 *
 * Whoever may open the file may do everything, or only look (unix-door.ts); over TCP a token says
 * which. What comes in is checked to the last field all the same, since it is typed by hand: a
 * request that makes no sense gets one sentence. Nothing here waits for anything but the request's
 * own body, which has a bound, and the file that a reload reads.
 *
 * Runs on the event loop's thread; frames do not wait for it.
 */

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ListenOptions, Switch } from '../index.ts';
import { failure } from '../model/errors.ts';
import type { ListeningSocket } from '../native/fd-socket.ts';
import { bodyOf, isTaking } from './bodies.ts';
import { Connections, sendJson } from './connections.ts';
import type { Access } from './operations.ts';
import {
  type DeclaredSwitch,
  Resources,
  type SwitchProcess,
  type Upgradable,
} from './resources.ts';
import { findOperation, flagsIn } from './router.ts';
import type { TcpListener } from './tcp/listener.ts';
import { type UnixAccess, UnixDoor } from './unix-door.ts';

/** Where requests are taken, and how ports are made that they add. */
export interface ControlOptions extends UnixAccess {
  /**
   * Where to listen; stale files are replaced as those of ports are. No unix socket unless given.
   */
  readonly path?: string;
  /** Takes requests there as well. It is the server's to close from then on. */
  readonly tcp?: TcpListener;
  /** Permissions of the ports' sockets that are added without any. */
  readonly portSockets?: ListenOptions;
  /** The file of the switch, if one declares it. */
  readonly declared?: DeclaredSwitch;
  /** How a new process takes over, if one can. */
  readonly upgrade?: Upgradable;
  /** The process of the switch, if it is one of its own. */
  readonly process?: SwitchProcess;
  /** How long the body of a request may take to come; half a minute unless given. */
  readonly bodyLimitMs?: number;
  /**
   * Learns of an error that no request should bring about, and of which; else it is a warning of
   * the process.
   */
  readonly onUnexpected?: OnUnexpected;
}

type OnUnexpected = (error: unknown, what: string) => void;

const bodyLimitMsDefault = 30_000;

/** The control socket of a switch in this process. */
export class ControlServer {
  readonly path: string | undefined;
  readonly #resources: Resources;
  readonly #bodyLimitMs: number;
  /** What takes connections, and the connections. */
  readonly #parts: { close(): void }[] = [];
  readonly #door: UnixDoor | undefined;
  readonly #served: Connections[] = [];

  private constructor(vswitch: Switch, options: ControlOptions) {
    const { path, tcp, portSockets = {}, declared, upgrade, process } = options;
    const onUnexpected = unable(options.onUnexpected ?? warn);
    this.path = path;
    this.#bodyLimitMs = options.bodyLimitMs ?? bodyLimitMsDefault;
    const door = path === undefined ? undefined : new UnixDoor(path, options);
    const parts = { portSockets, declared, upgrade, process, onUnexpected };
    this.#resources = new Resources(vswitch, parts);
    if (door !== undefined) {
      const connections = this.#connections(onUnexpected);
      door.onConnection(
        (socket, accessOf) => connections.add(socket, accessOf),
        (error) => onUnexpected(error, 'a connection'),
      );
      this.#parts.push(door, connections);
      this.#door = door;
      this.#served.push(connections);
    }
    if (tcp !== undefined) {
      // Of its own: whoever reaches the address takes no place of who opens the file.
      const connections = this.#connections(onUnexpected);
      tcp.onConnection((socket) => {
        connections.add(socket, (request) => tcp.gate.accessOf(request));
      });
      this.#parts.push(tcp, connections);
      this.#served.push(connections);
    }
  }

  /** Throws what FdListener.listen throws. Close it before the switch. */
  static listen(vswitch: Switch, options: ControlOptions): ControlServer {
    return new ControlServer(vswitch, options);
  }

  /** Requests that come from now on wait for resume(). */
  pause(): void {
    for (const connections of this.#served) connections.pause();
  }

  /** They are served. */
  resume(): void {
    for (const connections of this.#served) connections.resume();
  }

  /** A copy of its unix socket. */
  copySocket(): ListeningSocket | undefined {
    return this.#door?.copySocket();
  }

  /** Breaks all connections off and removes the socket. Idempotent. */
  close(): void {
    for (const part of this.#parts) part.close();
    this.#resources.close();
  }

  #connections(onUnexpected: OnUnexpected): Connections {
    return new Connections({
      serve: (request, response, access) => this.#serve(request, response, access),
      onUnexpected,
    });
  }

  async #serve(request: IncomingMessage, response: ServerResponse, access: Access): Promise<void> {
    const [path = '/', query = ''] = request.url!.split('?');
    const match = findOperation(request.method!, path);
    if (match === undefined) {
      throw failure('operation-unknown', { method: request.method!, path });
    }
    const { id, operation, name } = match;
    if (operation.access === 'all' && access === 'read') {
      throw failure('control-read-only', { method: request.method!, path });
    }
    const flags = flagsIn(operation, query);
    const body = isTaking(id) ? await bodyOf(id, request, this.#bodyLimitMs) : undefined;
    const answer = await this.#resources.answer(id, { name, flags, body, request, response });
    if (answer !== 'goes on') sendJson(response, operation.status, answer);
  }
}

/** To throw: whoever cannot be told has no say in whether the switch goes on. */
function unable(tell: OnUnexpected): OnUnexpected {
  return (error, what) => {
    try {
      tell(error, what);
    } catch {
      // Nobody is left to hear of this.
    }
  };
}

/** For want of somebody to tell. */
function warn(error: unknown): void {
  process.emitWarning(error instanceof Error ? error : String(error));
}
