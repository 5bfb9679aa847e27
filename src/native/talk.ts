/**
 * Two processes that send each other bundles (bundle.ts), over a pair of sockets of which each has
 * one end. When one of them ends, the other reads that; so nobody else may have a copy of an end.
 *
 * Runs on the event loop's thread, and never holds it.
 */

import { constants } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { native } from './addon.ts';
import { type Bundle, BundleReader, closeAll, messagesOf } from './bundle.ts';

/** How long a full socket is left alone. */
const retryMs = 1;
const { ETOOMANYREFS } = constants.errno as Record<string, number>;

type Read = Bundle | 'end' | 'late';

export class Talk {
  readonly #fd: number;
  readonly #reader: BundleReader;
  readonly #unread: Bundle[] = [];
  #hasEnded = false;
  #isClosed = false;
  #onRead = () => {};

  /** Takes over `fd`, one end of such a pair. */
  constructor(fd: number) {
    this.#fd = fd;
    this.#reader = new BundleReader(fd);
    native().watchReadable(fd, () => this.#readAll());
  }

  /** The fds stay the caller's. False if the other end is gone, or reads nothing until then. */
  async send(bundle: Bundle, limitMs: number): Promise<boolean> {
    const lastMs = performance.now() + limitMs;
    for (const { bytes, fds } of messagesOf(bundle)) {
      while (!this.#isClosed && !this.#sent(bytes, fds)) {
        if (this.#hasEnded || performance.now() > lastMs) return false;
        await delay(retryMs);
      }
    }
    return !this.#isClosed;
  }

  /** The next bundle, its fds the caller's; the other end is gone, or nothing came until then. */
  async read(limitMs: number): Promise<Read> {
    const lastMs = performance.now() + limitMs;
    for (;;) {
      const bundle = this.#unread.shift();
      if (bundle !== undefined) return bundle;
      if (this.#hasEnded || this.#isClosed) return 'end';
      const leftMs = lastMs - performance.now();
      if (leftMs <= 0) return 'late';
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs);
        this.#onRead = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  /** The other end is gone, or this one was closed. */
  async ended(limitMs: number): Promise<boolean> {
    const lastMs = performance.now() + limitMs;
    for (;;) {
      const read = await this.read(Math.max(0, lastMs - performance.now()));
      if (typeof read === 'string') return read === 'end';
      closeAll(read.fds);
    }
  }

  /** Reads nothing more, and keeps its end until the process ends. */
  rest(): void {
    if (!this.#hasEnded) native().unwatchReadable(this.#fd);
    this.#hasEnded = true;
  }

  /** Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.rest();
    this.#reader.close();
    for (const { fds } of this.#unread.splice(0)) closeAll(fds);
    native().closeFd(this.#fd);
    this.#onRead();
  }

  /** False if there is no room now. */
  #sent(bytes: Buffer, fds: readonly number[]): boolean {
    try {
      return native().socketSend(this.#fd, bytes, fds) > 0;
    } catch (error) {
      const { errno = 0 } = (error as { cause?: { errno?: number } }).cause ?? {};
      // As many fds are under way as this user may have there: the reader takes them out.
      if (-errno !== ETOOMANYREFS) this.#hasEnded ||= this.#readAll() === 'end';
      return false;
    }
  }

  #readAll(): 'end' | 'would-block' {
    while (!this.#hasEnded && !this.#isClosed) {
      let read: ReturnType<BundleReader['read']>;
      try {
        read = this.#reader.read();
      } catch {
        read = 'end';
      }
      if (read === 'would-block') break;
      if (read === 'end') {
        this.#hasEnded = true;
        native().unwatchReadable(this.#fd);
      } else {
        this.#unread.push(read);
      }
    }
    this.#onRead();
    return this.#hasEnded ? 'end' : 'would-block';
  }
}
