/**
 * Where the bytes of a capture go: a file, whoever reads a stream, or memory up to a limit.
 *
 * Files are written synchronously: what packets() and tcpdump see is then what was recorded, and
 * the pieces, of 256 KiB at most, go to the page cache.
 */

import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import type { Writable } from 'node:stream';
import { failure } from '../model/errors.ts';
import { native } from '../native/addon.ts';

/** Holds the longest block, and more of shorter ones than are worth asking for less. */
const bufferBytes = 1 << 18;
/** More than the longest block has: a frame of 65,550 bytes with all that can be said of it. */
export const roomBytesMin = 1 << 17;

export interface CaptureSink {
  /** Takes all the same what is put into it, but had better be given nothing. */
  readonly isBehind: boolean;
  /** Where the next blocks go; at least `roomBytesMin`. */
  room(): Uint8Array;
  /**
   * The first `bytes` of room() are blocks now. False if there is no place for them: then none of
   * them is taken, nor any more. Throws SYSTEM.
   */
  take(bytes: number): boolean;
  read(): Buffer;
  close(): void;
}

/** A test that runs into it records to a file. */
export const memoryBytesMax = 1 << 28;
/** A chunk is as long as what is there already, within these. */
const chunkBytesMin = 2 * roomBytesMin;
const chunkBytesMax = 1 << 23;
/** Small ones are of small pages: most captures in memory are of some packets. */
const largeBytesMin = 1 << 21;

/** Blocks stay where they are put: nothing is copied until they are read. */
export class MemorySink implements CaptureSink {
  readonly isBehind = false;
  /** Those in front of `#chunk`, in their length. */
  #chunks: Uint8Array[] = [];
  #chunk = new Uint8Array(0);
  #used = 0;
  #bytes = 0;
  #full = false;

  room(): Uint8Array {
    if (this.#chunk.length - this.#used < roomBytesMin) this.#beginChunk();
    return this.#chunk.subarray(this.#used);
  }

  take(bytes: number): boolean {
    this.#full ||= this.#bytes + bytes > memoryBytesMax;
    if (this.#full) return false;
    this.#used += bytes;
    this.#bytes += bytes;
    return true;
  }

  read(): Buffer {
    this.#endChunk();
    const whole = Buffer.concat(this.#chunks);
    this.#chunks = [whole];
    return whole;
  }

  close(): void {}

  #beginChunk(): void {
    this.#endChunk();
    const left = Math.max(memoryBytesMax - this.#bytes, roomBytesMin);
    const bytes = Math.min(Math.max(this.#bytes, chunkBytesMin), chunkBytesMax, left);
    this.#chunk =
      bytes < largeBytesMin
        ? Buffer.allocUnsafeSlow(bytes)
        : new Uint8Array(native().largeBuffer(bytes));
  }

  #endChunk(): void {
    if (this.#used > 0) this.#chunks.push(this.#chunk.subarray(0, this.#used));
    this.#chunk = new Uint8Array(0);
    this.#used = 0;
  }
}

export class FileSink implements CaptureSink {
  readonly isBehind = false;
  readonly #path: string;
  readonly #fd: number;
  readonly #buffer = Buffer.allocUnsafeSlow(bufferBytes);

  /** Throws SYSTEM. */
  constructor(path: string) {
    this.#path = path;
    this.#fd = this.#attempt('opened', () => openSync(path, 'w'));
  }

  room(): Uint8Array {
    return this.#buffer;
  }

  take(bytes: number): boolean {
    this.#attempt('written', () => {
      for (let at = 0; at < bytes; ) at += writeSync(this.#fd, this.#buffer, at, bytes - at);
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
  readonly #buffer = new Uint8Array(bufferBytes);

  constructor(stream: Writable) {
    this.#stream = stream;
  }

  get isBehind(): boolean {
    return this.#stream.destroyed || this.#stream.writableNeedDrain;
  }

  room(): Uint8Array {
    return this.#buffer;
  }

  take(bytes: number): boolean {
    this.#stream.write(this.#buffer.subarray(0, bytes).slice());
    return true;
  }

  read(): Buffer {
    throw failure('capture-stream-read');
  }

  close(): void {
    this.#stream.end();
  }
}
