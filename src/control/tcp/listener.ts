/**
 * A TCP address on which requests are taken, for who has a token: over TLS, or on loopback also
 * without.
 *
 *     TCP ──► TLS ──► a connection, whose requests gate.ts judges ──► connections.ts
 *
 * It is bound before a process confines itself, which takes away the right to make such sockets,
 * and before there is a switch. Nobody is served before one is. Handshakes that do not end, and
 * connections beyond a number, are cut off.
 */

import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import type { SecureContextOptions, Server as TlsServer } from 'node:tls';
import { failure } from '../../model/errors.ts';
import { isLoopback, tcpAddressOf, urlHost } from '../../model/tcp-address.ts';
import { copyOf } from '../../native/tcp-copy.ts';
import { Gate, type Tokens } from './gate.ts';

/** In PEM: the switch's certificate with those that lead to one that clients know, and its key. */
export interface TlsFiles {
  readonly certificate: string | Buffer;
  readonly key: string | Buffer;
}

export interface TcpOptions extends Tokens {
  /** Such as `127.0.0.1:9443`, `[::1]:9443` or `:9443`. */
  readonly address: string;
  /** May be left out on loopback only. */
  readonly tls?: TlsFiles;
}

/** Twice as many as are served at once: so many may be in their handshake. */
const connectionsMax = 512;
const handshakeMsMax = 5000;
/** How soon it is noticed that a peer has lost its network. */
const keepAliveMs = 60_000;

/** A TCP address that a ControlServer takes requests on as well. */
export class TcpListener {
  readonly #server: Server;
  readonly #isSecure: boolean;
  #gate: Gate;
  readonly #tokens: Tokens;
  #onConnection: ((socket: Socket) => void) | undefined;

  private constructor(server: Server, options: TcpOptions, gate: Gate) {
    this.#server = server;
    this.#tokens = options;
    this.#gate = gate;
    this.#isSecure = options.tls !== undefined;
    server.maxConnections = connectionsMax;
    server.on(this.#isSecure ? 'secureConnection' : 'connection', (socket: Socket) => {
      socket.setKeepAlive(true, keepAliveMs);
      if (this.#onConnection === undefined) socket.destroy();
      else this.#onConnection(socket);
    });
    server.on('tlsClientError', (_error: Error, socket: Socket) => socket.destroy());
  }

  /**
   * Throws BAD_OPTION for an address, tokens or a certificate that cannot be, and for an address
   * that other hosts reach without TLS; SYSTEM if it cannot be listened on. `fd`, which it takes
   * over, is a socket that listens there already.
   */
  static async listen(options: TcpOptions, fd?: number): Promise<TcpListener> {
    const { address, tls } = options;
    const { host, port } = tcpAddressOf(address, 'listen-address');
    if (tls === undefined && !isLoopback(host)) throw failure('listen-plain', { address });
    const gate = gateOf(options, tls);
    const server = tls === undefined ? createServer(whole) : await secureServer(tls);
    const listener = new TcpListener(server, options, gate);
    const at = { port, ...(host === undefined ? {} : { host }) };
    server.listen(fd === undefined ? at : { fd });
    try {
      await once(server, 'listening');
    } catch (cause) {
      throw failure('listen-failed', { address, cause: (cause as Error).message }, { cause });
    }
    // It keeps no process alive whose switch does not start.
    server.unref();
    return listener;
  }

  /** A copy of its socket, the caller's. */
  copySocket(): number {
    return copyOf(this.#server);
  }

  /** As clients write it; where it listens on all addresses, that of this host's own. */
  get url(): string {
    const { address, port } = this.#server.address() as AddressInfo;
    const host = ['::', '0.0.0.0'].includes(address) ? 'localhost' : urlHost(address);
    return `${this.#isSecure ? 'https' : 'http'}://${host}:${port}`;
  }

  /** The gate of the requests of all connections from now on. */
  get gate(): Gate {
    return this.#gate;
  }

  /** Hands over every connection from now on, and keeps the process alive until close(). */
  onConnection(take: (socket: Socket) => void): void {
    this.#server.ref();
    this.#onConnection = take;
  }

  /**
   * Takes another certificate, for the connections that are made from now on. Throws BAD_OPTION,
   * and has then changed nothing.
   */
  renew(tls: TlsFiles): void {
    if (!this.#isSecure) return;
    const gate = gateOf(this.#tokens, tls);
    try {
      (this.#server as TlsServer).setSecureContext(contextOf(tls));
    } catch (cause) {
      throw failure('listen-tls', { cause: (cause as Error).message }, { cause });
    }
    this.#gate = gate;
  }

  /** Idempotent. Connections that were handed over are the taker's to end. */
  close(): void {
    this.#onConnection = undefined;
    this.#server.close();
  }
}

/** A client ends its side to end a capture, and still reads its last packets. */
const whole = { allowHalfOpen: true };

function contextOf({ certificate, key }: TlsFiles): SecureContextOptions {
  return { cert: certificate, key, minVersion: 'TLSv1.2' };
}

async function secureServer(tls: TlsFiles): Promise<TlsServer> {
  const { createServer: createSecure } = await import('node:tls');
  try {
    return createSecure({ ...contextOf(tls), ...whole, handshakeTimeout: handshakeMsMax });
  } catch (cause) {
    throw failure('listen-tls', { cause: (cause as Error).message }, { cause });
  }
}

function gateOf(tokens: Tokens, tls: TlsFiles | undefined): Gate {
  try {
    return new Gate(tokens, tls?.certificate);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code?.startsWith('ERR_')) {
      throw failure('listen-tls', { cause: (cause as Error).message }, { cause });
    }
    throw cause;
  }
}
