/**
 * The connections to a control socket: how many there may be, and their requests one at a time.
 *
 *     listener ──connection──► node:http ──request──► its connection's turn ──► serve()
 *
 * A client may write its next requests before it has its answer (HTTP pipelining). Each is served
 * when the one before it has been answered, in a turn of the event loop of its own: so a response
 * has its socket when it is made, and two thousand requests in one write hold up nobody. Whoever
 * has more than a few waiting is refused and cut off.
 *
 * When there are as many connections as there may be, the one that has been idle longest makes
 * room; if none is idle, the new one is told so. Nothing that a client does throws out of here.
 *
 * Runs on the event loop's thread. Source: RFC 9112 §9.3.2, RFC 6585 §4.
 */

import { EventEmitter, once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { SettingsError } from '../index.ts';
import { type ErrorCode, failure, TsvswitchError } from '../model/errors.ts';
import { printable } from '../model/wording.ts';
import { MisfitError } from './bodies.ts';
import { toJson } from './json.ts';
import type { Access } from './operations.ts';
import type { Refused } from './protocol.ts';

export const connectionsMax = 256;
/** Requests of a connection that wait while another is served. */
export const waitingMax = 64;

/** HTTP status of a refusal; 400 unless listed. */
const refusalStatus: Partial<Record<ErrorCode, number>> = {
  CONTROL_UNAUTHORIZED: 401,
  CONTROL_READ_ONLY: 403,
  CONTROL_FOREIGN: 403,
  CONTROL_STRANGER: 403,
  CONTROL_UNKNOWN_REQUEST: 404,
  NO_SUCH_PORT: 404,
  NO_SUCH_BRIDGE: 404,
  CONTROL_TIMEOUT: 408,
  CONFIG_NONE: 404,
  CONTROL_EMBEDDED: 404,
  RELOAD_BUSY: 409,
  UPGRADE_BUSY: 409,
  UPGRADE_FAILED: 409,
  SOCKET_DUPLICATE: 409,
  SOCKET_IN_USE: 409,
  FDB_FULL: 409,
  TOO_MANY_PORTS: 409,
  TOO_MANY_WORKERS: 409,
  SETTINGS_CHANGED: 412,
  CONTROL_BODY_TOO_LONG: 413,
  CONTROL_TOO_MANY_REQUESTS: 429,
  SYSTEM: 500,
  UNEXPECTED: 500,
  CLOSED: 503,
  CONTROL_BUSY: 503,
};

/** What comes behind these on the same connection is not read. */
const lastAnswers: readonly ErrorCode[] = [
  'CONTROL_TOO_MANY_REQUESTS',
  'CONTROL_TIMEOUT',
  'CONTROL_UNAUTHORIZED',
  'CONTROL_FOREIGN',
  'CONTROL_STRANGER',
];

export interface ConnectionsOptions {
  /** Answers a request, or throws why it cannot; `access` is what its client may do. */
  readonly serve: (
    request: IncomingMessage,
    response: ServerResponse,
    access: Access,
  ) => void | Promise<void>;
  /** Learns of what no request should bring about; `what` names the request. Never throws. */
  readonly onUnexpected: (error: unknown, what: string) => void;
}

interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

/** What the client of a request may do. Throws why it may not even ask. */
export type AccessOf = (request: IncomingMessage) => Access;

interface Client {
  readonly socket: Socket;
  readonly accessOf: AccessOf;
  readonly waiting: Exchange[];
  /** A request is being answered. */
  isBusy: boolean;
  /** It was refused for having too many waiting; with how many more it came since. */
  surplus?: number;
}

/**
 * What one read of the socket can still hold; who sends more than that was not stopped by its
 * refusal.
 */
const surplusMax = 8192;

export class Connections {
  readonly #options: ConnectionsOptions;
  /** In the order in which they became idle, or began. */
  readonly #clients = new Map<Socket, Client>();
  #paused: EventEmitter<{ over: [] }> | undefined;
  readonly #http = createServer((request, response) => this.#arrived({ request, response }));

  constructor(options: ConnectionsOptions) {
    this.#options = options;
  }

  /** Requests that come from now on wait for resume(). */
  pause(): void {
    this.#paused ??= new EventEmitter<{ over: [] }>().setMaxListeners(0);
  }

  resume(): void {
    const paused = this.#paused;
    this.#paused = undefined;
    paused?.emit('over');
  }

  /** Breaks all connections off. Idempotent. */
  close(): void {
    for (const socket of this.#clients.keys()) socket.destroy();
  }

  /** Serves a client that has connected, and that may be half open. */
  add(socket: Socket, accessOf: AccessOf): void {
    // node:http listens too, but not to the end of every connection.
    socket.on('error', ignore);
    if (this.#clients.size >= connectionsMax && !this.#makeRoom()) {
      turnAway(socket);
      return;
    }
    this.#clients.set(socket, { socket, accessOf, waiting: [], isBusy: false });
    socket.once('close', () => this.#clients.delete(socket));
    this.#http.emit('connection', socket);
  }

  /** False if nobody is idle. */
  #makeRoom(): boolean {
    for (const [socket, { isBusy }] of this.#clients) {
      if (isBusy) continue;
      this.#clients.delete(socket);
      socket.destroy();
      return true;
    }
    return false;
  }

  #arrived(exchange: Exchange): void {
    const { request, response } = exchange;
    request.on('error', ignore);
    response.on('error', ignore);
    const client = this.#clients.get(request.socket);
    // Its connection was closed to make room for another.
    if (client === undefined) return;
    if (client.surplus !== undefined) {
      client.surplus++;
      if (client.surplus > surplusMax) client.socket.destroy();
      return;
    }
    if (client.waiting.length < waitingMax) {
      client.waiting.push(exchange);
      if (!client.isBusy) this.#serveNext(client);
      return;
    }
    client.surplus = 0;
    // It stays in the kernel; the parser still has what was read before.
    client.socket.pause();
    this.#refuse(exchange, failure('requests-too-many', { max: waitingMax }));
  }

  #serveNext(client: Client): void {
    const exchange = client.waiting.shift();
    if (exchange === undefined) {
      client.isBusy = false;
      // As the one that has been idle shortest.
      if (this.#clients.delete(client.socket)) this.#clients.set(client.socket, client);
      return;
    }
    client.isBusy = true;
    exchange.response.once('close', () => {
      setImmediate(() => {
        if (!client.socket.destroyed) this.#serveNext(client);
      });
    });
    void this.#serve(exchange, client.accessOf);
  }

  /** Never rejects. */
  async #serve({ request, response }: Exchange, accessOf: AccessOf): Promise<void> {
    if (this.#paused !== undefined) await once(this.#paused, 'over');
    try {
      await this.#options.serve(request, response, accessOf(request));
    } catch (error) {
      this.#refuse({ request, response }, error);
    }
  }

  #refuse({ request, response }: Exchange, error: unknown): void {
    // A client that left in the middle of its request wants no answer.
    if (request.errored !== null || response.destroyed) return;
    let refusal = error;
    if (error instanceof SettingsError) {
      refusal = new MisfitError(error.code, error.findings, 'settings');
    } else if (!(error instanceof TsvswitchError)) {
      const what = `${request.method} ${request.url}`;
      this.#options.onUnexpected(error, what);
      refusal = failure('request-mistaken');
    }
    const { code, fault, parameters, message } = refusal as TsvswitchError;
    // What was begun cannot be taken back: the client sees that it breaks off.
    if (response.headersSent) response.destroy();
    else {
      if (lastAnswers.includes(code)) response.setHeader('connection', 'close');
      if (code === 'CONTROL_UNAUTHORIZED') response.setHeader('www-authenticate', 'Bearer');
      const findings = refusal instanceof MisfitError ? { findings: refusal.findings } : {};
      const data = fault === undefined ? {} : { fault, parameters };
      const body: Refused = { code, error: printable(message), ...data, ...findings };
      sendJson(response, refusalStatus[code] ?? 400, body);
    }
  }
}

export function sendJson(response: ServerResponse, status: number, body: unknown): void {
  if (body === undefined) {
    response.writeHead(status).end();
    return;
  }
  const text = `${toJson(body)}\n`;
  response.writeHead(status, { 'content-type': 'application/json' }).end(text);
}

/** Without node:http, which would take the connection in. */
function turnAway(socket: Socket): void {
  const code: ErrorCode = 'CONTROL_BUSY';
  const error =
    `${connectionsMax} connections are served at once, and all of them have a request; end one ` +
    'of them first';
  const body = `${toJson({ code, error })}\n`;
  const head = [
    'HTTP/1.1 503 Service Unavailable',
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
  ];
  socket.resume();
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`, () => socket.destroy());
}

/** What is left of a connection that broke is gone with its 'close'. */
function ignore(): void {}
