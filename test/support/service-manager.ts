/**
 * What systemd is to a service, as far as it can be told from the service: a socket for
 * notifications, a store of fds, and sockets that are given to the next process.
 *
 * Sources: sd_notify(3), sd_listen_fds(3).
 */

import { join } from 'node:path';
import { native } from '../../src/native/addon.ts';
import { Command } from './command.ts';

const messageBytesMax = 4096;

interface StoredFd {
  readonly name: string;
  readonly fd: number;
}

export class ServiceManager {
  readonly path: string;
  /** Everything that was told, a line each, in order. */
  readonly lines: string[] = [];
  #stored: StoredFd[] = [];
  readonly #socket: number;
  #onLine = () => {};
  #closed = false;

  private constructor(path: string) {
    this.path = path;
    this.#socket = native().datagramBind(path);
    this.resume();
  }

  static listen(folder: string): ServiceManager {
    return new ServiceManager(join(folder, 'notify'));
  }

  /** Starts a switch that may be used, and gives it what is stored and `given`. */
  start(
    args: readonly string[],
    { watchdogUs, given = [] }: { watchdogUs?: number; given?: readonly StoredFd[] } = {},
  ): Command {
    return Command.begin(args, {
      env: {
        NOTIFY_SOCKET: this.path,
        ...(watchdogUs === undefined ? {} : { WATCHDOG_USEC: `${watchdogUs}` }),
      },
      given: [...given, ...this.#stored],
    });
  }

  stored(name: string): number {
    return this.#stored.find((stored) => stored.name === name)!.fd;
  }

  /** Reads nothing until resume(). */
  pause(): void {
    native().unwatchReadable(this.#socket);
  }

  resume(): void {
    native().watchReadable(this.#socket, () => this.#receive());
  }

  get storedNames(): string[] {
    return this.#stored.map(({ name }) => name);
  }

  /** Returns once `count` lines were told, in all, that have `pattern` in them. */
  async told(pattern: string | RegExp, count = 1): Promise<void> {
    const has = (line: string) =>
      typeof pattern === 'string' ? line === pattern : pattern.test(line);
    while (this.lines.filter(has).length < count) {
      await new Promise<void>((resolve) => {
        this.#onLine = resolve;
      });
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const { fd } of this.#stored.splice(0)) native().closeFd(fd);
    native().unwatchReadable(this.#socket);
    native().closeFd(this.#socket);
  }

  #receive(): void {
    for (;;) {
      const into = new Uint8Array(messageBytesMax);
      const message = native().socketReceive(this.#socket, into);
      if (message === undefined) return;
      const lines = Buffer.from(into.subarray(0, message.bytes)).toString().split('\n');
      const name = lines.find((line) => line.startsWith('FDNAME='))?.slice('FDNAME='.length);
      for (const fd of message.fds) this.#stored.push({ name: name ?? 'stored', fd });
      if (lines.includes('FDSTOREREMOVE=1')) {
        const removed = this.#stored.filter((stored) => stored.name === name);
        this.#stored = this.#stored.filter((stored) => stored.name !== name);
        for (const { fd } of removed) native().closeFd(fd);
      }
      this.lines.push(...lines);
      this.#onLine();
    }
  }
}
