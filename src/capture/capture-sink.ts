/**
 * Where the bytes of a capture go: a file, whoever reads a stream, or memory up to a limit.
 *
 * Files are written synchronously: what packets() and tcpdump see is then what was recorded, and
 * the pieces, of 256 KiB at most, go to the page cache.
 */

import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import type { Writable } from 'node:stream';
import { failure } from '../model/errors.ts';

export interface CaptureSink {
  /** Takes all the same what is appended, but had better be given nothing. */
  readonly isBehind: boolean;
  /** Copies; false if there is no room: then nothing is taken, nor any more. Throws SYSTEM. */
  append(bytes: Uint8Array): boolean;
  read(): Buffer;
  close(): void;
}

/** A test that runs into it records to a file. */
export const memoryBytesMax = 1 << 28;

export class MemorySink implements CaptureSink {
  readonly isBehind = false;
  #chunks: Uint8Array[] = [];
  #bytes = 0;
  #full = false;

  append(bytes: Uint8Array): boolean {
    this.#full ||= this.#bytes + bytes.length > memoryBytesMax;
    if (this.#full) return false;
    this.#chunks.push(bytes.slice());
    this.#bytes += bytes.length;
    return true;
  }

  read(): Buffer {
    const whole = Buffer.concat(this.#chunks);
    this.#chunks = [whole];
    return whole;
  }

  close(): void {}
}

export class FileSink implements CaptureSink {
  readonly isBehind = false;
  readonly #path: string;
  readonly #fd: number;

  /** Throws SYSTEM. */
  constructor(path: string) {
    this.#path = path;
    this.#fd = this.#attempt('opened', () => openSync(path, 'w'));
  }

  append(bytes: Uint8Array): boolean {
    this.#attempt('written', () => {
      for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd, bytes, at);
    });
    return true;
  }

  read(): Buffer {
    return this.#attempt('read', () => readFileSync(this.#path));
  }

  close(): void {
    closeSync(this.#fd);
  }

  #attempt<T>(what: string, act: () => T): T {
    try {
      return act();
    } catch (cause) {
      const { message } = cause as Error;
      const parameters = { path: this.#path, done: what, cause: message };
      throw failure('capture-file-failed', parameters, { cause });
    }
  }
}

export class StreamSink implements CaptureSink {
  readonly #stream: Writable;

  constructor(stream: Writable) {
    this.#stream = stream;
  }

  get isBehind(): boolean {
    return this.#stream.destroyed || this.#stream.writableNeedDrain;
  }

  append(bytes: Uint8Array): boolean {
    this.#stream.write(bytes.slice());
    return true;
  }

  read(): Buffer {
    throw failure('capture-stream-read');
  }

  close(): void {
    this.#stream.end();
  }
}
