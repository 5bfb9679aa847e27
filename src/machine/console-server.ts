/**
 * A machine's console where QEMU does not offer it: a file that keeps all it ever showed, and a
 * unix socket for one visitor at a time.
 *
 * A visitor sees what the console shows from then on. What nobody reads is in the file.
 */

import { once } from 'node:events';
import { createWriteStream, type WriteStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';

export class ConsoleServer {
  readonly #path: string;
  readonly #server: Server;
  readonly #log: WriteStream;
  #visitor: Socket | undefined;

  private constructor(path: string, server: Server, log: WriteStream) {
    this.#path = path;
    this.#server = server;
    this.#log = log;
  }

  /** `line` is the console itself; the file and the socket begin anew. */
  static async open(path: string, logFile: string, line: Socket): Promise<ConsoleServer> {
    await rm(path, { force: true });
    const server = createServer();
    const served = new ConsoleServer(path, server, createWriteStream(logFile, { mode: 0o600 }));
    // A second visitor is closed at once.
    server.maxConnections = 1;
    server.on('connection', (visitor) => served.#receive(visitor, line));
    line.on('data', (bytes: Buffer) => {
      served.#log.write(bytes);
      served.#visitor?.write(bytes);
    });
    line.once('close', () => served.#visitor?.end());
    server.listen(path);
    await once(server, 'listening');
    return served;
  }

  /** Returns when all of the console is in its file. */
  async close(): Promise<void> {
    this.#visitor?.destroy();
    this.#server.close();
    await new Promise<void>((resolve) => this.#log.end(resolve));
    await rm(this.#path, { force: true });
  }

  #receive(visitor: Socket, line: Socket): void {
    this.#visitor = visitor;
    visitor.on('data', (bytes) => line.write(bytes));
    visitor.on('error', () => {});
    visitor.once('close', () => {
      this.#visitor = undefined;
    });
  }
}
