/**
 * The control socket of a switch: answers what protocol.ts lists, over HTTP on a unix socket, so
 * that `curl --unix-socket` is enough to ask.
 *
 *     connections.ts (how many, whose turn) --request--> routes --> event-feed.ts, Switch
 *
 * Whoever may open the file may do everything, so it is the owner's alone (mode 600). What comes in
 * is checked to the last field all the same, since it is typed by hand: a request that makes no
 * sense gets one sentence. Nothing here waits for anything but the request's own body, which has a
 * bound.
 *
 * Runs on the event loop's thread; frames do not wait for it.
 */

import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  type ListenOptions,
  type NetworkChange,
  type Switch,
  type SwitchPort,
  TsvswitchError,
  type WorkerOptions,
  type WrittenSettings,
} from '../index.ts';
import { printable } from '../model/wording.ts';
import { FdListener } from '../native/fd-socket.ts';
import { version } from '../runtime/version.ts';
import { History } from '../switch/history.ts';
import { Connections, sendJson } from './connections.ts';
import { EventFeed } from './event-feed.ts';
import { newPortOf } from './new-port.ts';
import type { LearnedAddress, PortStatus, SwitchStatus } from './protocol.ts';

/** Where a control socket is, and how ports are made that it adds. */
export interface ControlOptions {
  /** Where to listen; stale files are replaced as those of ports are. */
  readonly path: string;
  /** Permissions of the ports' sockets that are added without any. */
  readonly portSockets?: ListenOptions;
  /**
   * Learns of an error that no request should bring about, and of which; else it is a warning of
   * the process.
   */
  readonly onUnexpected?: (error: unknown, what: string) => void;
}

interface Answer {
  readonly status: 200 | 201 | 204;
  readonly body?: unknown;
}

const socketMode = 0o600;
/** A port to add takes some hundred. */
const bodyBytesMax = 65_536;
/** A thousand ports take some hundred thousand. */
const settingsBytesMax = 4 * 2 ** 20;
/** More than anybody looks at; each has the workers copy every frame once more. */
const capturesMax = 16;
const milliseconds = 1000;

/** The control socket of a switch in this process. */
export class ControlServer {
  readonly path: string;
  readonly #switch: Switch;
  readonly #portSockets: ListenOptions;
  readonly #history: History;
  readonly #events: EventFeed;
  readonly #connections: Connections;
  readonly #openedAtMs = performance.now();
  readonly #onUnexpected: (error: unknown, what: string) => void;
  #captures = 0;

  private constructor(vswitch: Switch, options: ControlOptions) {
    this.path = options.path;
    this.#switch = vswitch;
    this.#portSockets = options.portSockets ?? {};
    this.#onUnexpected = options.onUnexpected ?? warn;
    const listener = FdListener.listen(options.path, { mode: socketMode });
    this.#history = new History(vswitch);
    this.#events = new EventFeed(vswitch);
    this.#connections = new Connections(listener, {
      serve: (request, response) => this.#serve(request, response),
      onUnexpected: this.#onUnexpected,
    });
  }

  /** Throws what FdListener.listen throws. Close it before the switch. */
  static listen(vswitch: Switch, options: ControlOptions): ControlServer {
    return new ControlServer(vswitch, options);
  }

  /** Breaks all connections off and removes the socket. Idempotent. */
  close(): void {
    this.#connections.close();
    this.#events.close();
    this.#history.close();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [path = '/'] = request.url!.split('?');
    if (request.method === 'GET' && path === '/v1/events') {
      this.#events.add(response);
      return;
    }
    const captured = /^\/v1\/capture(?:\/([^/]+))?$/.exec(path);
    if (request.method === 'GET' && captured !== null) {
      this.#capture(response, captured[1]);
      return;
    }
    const { status, body } = await this.#answer(request, path);
    sendJson(response, status, body);
  }

  async #answer(request: IncomingMessage, path: string): Promise<Answer> {
    const [, version, noun, name, ...rest] = path.split('/');
    const route = `${request.method} /${version}/${noun}${name === undefined ? '' : '/NAME'}`;
    switch (rest.length === 0 ? route : path) {
      case 'GET /v1/status':
        return { status: 200, body: this.#status() };
      case 'GET /v1/fdb':
        return { status: 200, body: this.#fdb() };
      case 'GET /v1/settings':
        return { status: 200, body: this.#switch.settings };
      case 'PUT /v1/settings': {
        const wanted = (await bodyOf(request, settingsBytesMax)) as WrittenSettings;
        const body = isDryRun(request) ? this.#switch.plan(wanted) : this.#switch.apply(wanted);
        return { status: 200, body };
      }
      case 'POST /v1/ports': {
        const port = this.#switch.addPort(newPortOf(await bodyOf(request), this.#portSockets));
        return { status: 201, body: this.#portStatuses([port])[0] };
      }
      case 'POST /v1/network':
        this.#switch.change((await bodyOf(request)) as NetworkChange);
        return { status: 204 };
      case 'POST /v1/workers': {
        const worker = this.#switch.addWorker((await bodyOf(request)) as WorkerOptions);
        return { status: 201, body: worker };
      }
      case 'DELETE /v1/ports/NAME':
        this.#removePort(nameOf(name!));
        return { status: 204 };
      default:
        throw new TsvswitchError(
          'CONTROL_UNKNOWN_REQUEST',
          `${request.method} ${path} is nothing this switch knows; GET /v1/status is`,
        );
    }
  }

  #status(): SwitchStatus {
    return {
      version,
      pid: process.pid,
      uptimeSeconds: Math.floor((performance.now() - this.#openedAtMs) / milliseconds),
      workers: this.#switch.workers,
      ports: this.#portStatuses(this.#switch.ports),
    };
  }

  #portStatuses(ports: readonly SwitchPort[]): PortStatus[] {
    const macsOf = new Map<string, string[]>(ports.map(({ name }) => [name, []]));
    for (const { port, mac } of this.#fdb()) macsOf.get(port)?.push(mac);
    return ports.map((port) => {
      const { name, kind, bridge } = port;
      const macs = macsOf.get(name)!;
      if (kind !== 'vhost-user') return { name, kind, bridge, counters: port.counters, macs };
      const { status } = port;
      return { ...status, ...this.#history.of(port, status.counters), macs };
    });
  }

  #fdb(): LearnedAddress[] {
    return this.#switch.bridges.flatMap(({ name, fdb }) =>
      fdb.map((record) => ({ ...record, bridge: name })),
    );
  }

  #removePort(name: string): void {
    this.#switch.removePort(this.#portNamed(name));
  }

  #portNamed(name: string): SwitchPort {
    const port = this.#switch.port(name);
    if (port !== undefined) return port;
    const list = this.#switch.ports.map((candidate) => candidate.name).join(', ');
    const names = list === '' ? 'the switch has none' : `there are ${list}`;
    throw new TsvswitchError('NO_SUCH_PORT', `there is no port ${name}; ${names}`);
  }

  /**
   * Of a port, or all of the default bridge, until the client closes its side of the connection. A
   * file of the switch's would have to be somebody's, somewhere, and ended by somebody; an answer
   * that goes on is none.
   */
  #capture(response: ServerResponse, name: string | undefined): void {
    const target = name === undefined ? {} : { port: this.#portNamed(nameOf(name)) };
    const { socket } = response;
    // The client has left.
    if (socket === null || socket.destroyed) return;
    if (this.#captures >= capturesMax) {
      const why = `${capturesMax} captures run already, and there can be no more`;
      throw new TsvswitchError('CONTROL_BUSY', `${why}; end one of them first`);
    }
    response.setHeader('content-type', 'application/x-pcapng');
    const capture = this.#switch.capture({ ...target, to: response });
    this.#captures++;
    response.once('close', () => this.#captures--);
    const end = () => {
      try {
        capture.close();
      } catch (error) {
        this.#onUnexpected(error, 'a capture');
      }
    };
    // Before node:http closes the connection for it: the client gets the last packets to their end.
    socket.prependOnceListener('end', end);
    if (socket.readableEnded) end();
  }
}

/** For want of somebody to tell. */
function warn(error: unknown): void {
  process.emitWarning(error instanceof Error ? error : String(error));
}

/** A name as it is written in a path. */
function nameOf(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Whether `?dry-run` is said; nothing else can be. Throws CONTROL_BAD_REQUEST. */
function isDryRun(request: IncomingMessage): boolean {
  const [, query = ''] = request.url!.split('?');
  if (query === '' || query === 'dry-run') return query !== '';
  const sentence = `there is no ${printable(query)} behind a question mark; there is dry-run`;
  throw new TsvswitchError('CONTROL_BAD_REQUEST', sentence);
}

/** The JSON in a request. Throws CONTROL_BODY_TOO_LONG, CONTROL_BAD_REQUEST. */
async function bodyOf(request: IncomingMessage, bytesMax = bodyBytesMax): Promise<unknown> {
  const text = await textOf(request, bytesMax);
  try {
    return JSON.parse(text);
  } catch (cause) {
    const sentence = `the body is not JSON (${(cause as Error).message})`;
    throw new TsvswitchError('CONTROL_BAD_REQUEST', sentence, { cause });
  }
}

function textOf(request: IncomingMessage, bytesMax: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    // What is too much is read on, so that the client gets to read its answer, but not kept.
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= bytesMax) chunks.push(chunk);
      else {
        const sentence = `the body has more than the ${bytesMax} bytes that any request needs`;
        reject(new TsvswitchError('CONTROL_BODY_TOO_LONG', sentence));
      }
    });
    request.once('end', () => resolve(Buffer.concat(chunks).toString()));
    request.once('error', reject);
  });
}
