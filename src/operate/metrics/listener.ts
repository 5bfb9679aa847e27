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
import { contentType } from './exposition.ts';

const connectionsMax = 32;
const requestMsMax = 5000;
const pathOfMetrics = '/metrics';

export class MetricsListener {
  readonly #server: Server;
  #render: (() => Promise<string>) | undefined;
  /** What is being made; who asks meanwhile is given it, too. */
  #making: Promise<string> | undefined;

  private constructor(server: Server) {
    this.#server = server;
    server.on('request', (request, response) => void this.#answer(request, response));
  }

  /** Throws SYSTEM if the address cannot be listened on. */
  static async listen({ host, port }: TcpAddress): Promise<MetricsListener> {
    const server = createServer({
      requestTimeout: requestMsMax,
      headersTimeout: requestMsMax,
      connectionsCheckingInterval: requestMsMax,
    });
    server.maxConnections = connectionsMax;
    server.timeout = requestMsMax;
    const listener = new MetricsListener(server);
    server.listen({ port, ...(host === undefined ? {} : { host }) });
    try {
      await once(server, 'listening');
    } catch (cause) {
      const { message } = cause as Error;
      throw failure('metrics-unserved', { host: host ?? '', port, cause: message }, { cause });
    }
    // It keeps no process alive whose switch does not start.
    server.unref();
    return listener;
  }

  /** The port it listens on. */
  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** From now on; before, it is not ready. */
  serve(render: () => Promise<string>): void {
    this.#render = render;
  }

  /** Breaks all connections off. Idempotent. */
  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async #answer({ method, url }: IncomingMessage, response: ServerResponse): Promise<void> {
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
