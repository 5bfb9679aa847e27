/**
 * A listener that Prometheus scrapes: GET /metrics over TCP, and nothing else.
 *
 * Reading is all that it allows, so it asks for no password; who should not read counters is kept
 * away by the address it listens on. It is bound before the process confines itself, which takes
 * away the right to make such sockets. Each answer is made when it is asked for and ends its
 * connection; connections have bounds in number and in time.
 */

import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { failure } from '../../model/errors.ts';
import type { TcpAddress } from '../../model/tcp-address.ts';
import { copyOf } from '../../native/tcp-copy.ts';
import { contentType } from './exposition.ts';

const connectionsMax = 32;
const requestMsMax = 5000;
const pathOfMetrics = '/metrics';

export class MetricsListener {
  readonly #server: Server;
  readonly #isAdopted: boolean;
  #render: (() => Promise<string>) | undefined;
  /** What is being made; who asks meanwhile is given it, too. */
  #making: Promise<string> | undefined;
  readonly #waiting: (() => void)[] = [];

  private constructor(server: Server, isAdopted: boolean) {
    this.#server = server;
    this.#isAdopted = isAdopted;
    server.on('request', (request, response) => void this.#answer(request, response));
  }

  /** Throws SYSTEM if the address cannot be listened on. */
  static listen({ host, port }: TcpAddress): Promise<MetricsListener> {
    return MetricsListener.#open({ port, ...(host === undefined ? {} : { host }) });
  }

  /**
   * With the socket of another process, whose copy `fd` is; takes it over. Who asks before serve()
   * waits.
   */
  static adopt(fd: number): Promise<MetricsListener> {
    return MetricsListener.#open({ fd });
  }

  static async #open(at: { fd: number } | TcpAddress): Promise<MetricsListener> {
    const server = createServer({
      requestTimeout: requestMsMax,
      headersTimeout: requestMsMax,
      connectionsCheckingInterval: requestMsMax,
    });
    server.maxConnections = connectionsMax;
    server.timeout = requestMsMax;
    const listener = new MetricsListener(server, 'fd' in at);
    server.listen(at);
    try {
      await once(server, 'listening');
    } catch (cause) {
      const { message } = cause as Error;
      const { host = '', port = 0 } = at as Partial<TcpAddress>;
      throw failure('metrics-unserved', { host, port, cause: message }, { cause });
    }
    // It keeps no process alive whose switch does not start.
    server.unref();
    return listener;
  }

  /** The port it listens on. */
  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** A copy of its socket, the caller's. */
  copySocket(): number {
    return copyOf(this.#server);
  }

  /** From now on; before, it is not ready. */
  serve(render: () => Promise<string>): void {
    this.#render = render;
    for (const answer of this.#waiting.splice(0)) answer();
  }

  /** Breaks all connections off. Idempotent. */
  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method, url } = request;
    if (this.#render === undefined && this.#isAdopted) {
      this.#waiting.push(() => void this.#answer(request, response));
      return;
    }
    response.setHeader('connection', 'close');
    const [path] = url!.split('?');
    if (path !== pathOfMetrics) {
      response.writeHead(404).end(`metrics are at ${pathOfMetrics}\n`);
    } else if (method !== 'GET' && method !== 'HEAD') {
      response.writeHead(405, { allow: 'GET, HEAD' }).end('metrics are only read: GET\n');
    } else if (this.#render === undefined) {
      response.writeHead(503).end('the switch is starting\n');
    } else {
      try {
        this.#making ??= this.#render().finally(() => {
          this.#making = undefined;
        });
        const text = await this.#making;
        response.writeHead(200, { 'content-type': contentType }).end(text);
      } catch (error) {
        response.writeHead(500).end(`metrics cannot be made: ${(error as Error).message}\n`);
      }
    }
  }
}
