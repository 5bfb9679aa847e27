/**
 * The control socket of a switch: answers what operations.ts lists, over HTTP on a unix socket, so
 * that `curl --unix-socket` is enough to ask.
 *
 *     connections.ts (how many, whose turn) --request--> router.ts --> resources.ts --> Switch
 *                                                           bodies.ts     event-feed.ts
 *
 * Whoever may open the file may do everything, so it is the owner's alone (mode 600), or a group's
 * that was told; a group of readers may only look, by what the kernel says of who has connected
 * (SO_PEERCRED). What comes in is checked to the last field all the same, since it is typed by
 * hand: a request that makes no sense gets one sentence. Nothing here waits for anything but the
 * request's own body, which has a bound, and the file that a reload reads.
 *
 * Runs on the event loop's thread; frames do not wait for it.
 */

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ListenOptions, Switch } from '../index.ts';
import { failure } from '../model/errors.ts';
import { FdListener } from '../native/fd-socket.ts';
import { bodyOf, isTaking } from './bodies.ts';
import { Connections, sendJson } from './connections.ts';
import type { Access } from './operations.ts';
import { type DeclaredSwitch, Resources } from './resources.ts';
import { findOperation, flagsIn } from './router.ts';

/** Where a control socket is, and how ports are made that it adds. */
export interface ControlOptions {
  /** Where to listen; stale files are replaced as those of ports are. */
  readonly path: string;
  /** Permissions of the file: 600 unless given, 660 with a group. */
  readonly mode?: number;
  /** Group of the file, which may then do everything. */
  readonly group?: string | number;
  /** In place of it: group of the file, for whom only root and our own user may change anything. */
  readonly readers?: string | number;
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

const ownMode = 0o600;
const groupMode = 0o660;
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
    const { portSockets = {}, declared, readers } = options;
    const listener = FdListener.listen(options.path, accessTo(options));
    this.#resources = new Resources(vswitch, { portSockets, declared, onUnexpected });
    this.#connections = new Connections(listener, {
      serve: (request, response, access) => this.#serve(request, response, access),
      accessOf: ({ uid }) =>
        readers === undefined || uid === 0 || uid === process.geteuid!() ? 'all' : 'read',
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

/** Throws CONTROL_TWO_GROUPS. */
function accessTo({ mode, group, readers }: ControlOptions): ListenOptions {
  if (group !== undefined && readers !== undefined) throw failure('control-two-groups');
  const whose = readers ?? group;
  if (whose === undefined) return { mode: mode ?? ownMode };
  return { mode: mode ?? groupMode, group: whose };
}

/** For want of somebody to tell. */
function warn(error: unknown): void {
  process.emitWarning(error instanceof Error ? error : String(error));
}
