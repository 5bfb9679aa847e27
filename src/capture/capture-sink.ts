/**
 * Where the bytes of a capture go: a file, whoever reads a stream, or memory up to a limit.
 *
 * Files are written out of the ring, synchronously, and into the page cache.
 */

import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import type { Writable } from 'node:stream';
import { getSystemErrorMap } from 'node:util';
import { failure } from '../model/errors.ts';
import { type NativeCapture, native } from '../native/addon.ts';
import { packetsIn } from './pcapng.ts';

/** What has recorded packets, and moves them to where they are to be. */
export type PacketRing = Pick<NativeCapture, 'read' | 'writeTo'>;

const streamBufferBytes = 1 << 18;
/** More than the longest block has: a frame of 65,550 bytes with all that can be said of it. */
export const roomBytesMin = 1 << 17;

export interface CaptureSink {
  /** Takes all the same what is put into it, but had better be given nothing. */
  readonly isBehind: boolean;
  /** Packets that there was no place for: then none of them is kept, nor any more. */
  readonly refused: number;
  /** Takes packets out of the ring, until none is left or one has no interface. Throws SYSTEM. */
  takeFrom(ring: PacketRing): void;
  /** Takes a block that is no packet. Throws SYSTEM. */
  append(block: Uint8Array): void;
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
  #refused = 0;

  get refused(): number {
    return this.#refused;
  }

  takeFrom(ring: PacketRing): void {
    for (;;) {
      const room = this.#room();
      const bytes = ring.read(room);
      if (!this.#take(bytes)) this.#refused += packetsIn(room.subarray(0, bytes));
      if (room.length - bytes >= roomBytesMin) return;
    }
  }

  append(block: Uint8Array): void {
    this.#room().set(block);
    this.#take(block.length);
  }

  #room(): Uint8Array {
    if (this.#chunk.length - this.#used < roomBytesMin) this.#beginChunk();
    return this.#chunk.subarray(this.#used);
  }

  #take(bytes: number): boolean {
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
  readonly refused = 0;
  readonly #path: string;
  readonly #fd: number;

  /** Throws SYSTEM. */
  constructor(path: string) {
    this.#path = path;
    this.#fd = this.#attempt('opened', () => openSync(path, 'w'));
  }

  takeFrom(ring: PacketRing): void {
    this.#attempt('written', () => {
      const error = ring.writeTo(this.#fd);
      if (error !== 0) throw new Error(getSystemErrorMap().get(-error)?.join(': '));
    });
  }

  append(block: Uint8Array): void {
    this.#attempt('written', () => writeFileSync(this.#fd, block));
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
  readonly refused = 0;
  readonly #stream: Writable;
  readonly #buffer = new Uint8Array(streamBufferBytes);

  constructor(stream: Writable) {
    this.#stream = stream;
  }

  get isBehind(): boolean {
    return this.#stream.destroyed || this.#stream.writableNeedDrain;
  }

  takeFrom(ring: PacketRing): void {
    while (!this.isBehind) {
      const bytes = ring.read(this.#buffer);
      if (bytes > 0) this.append(this.#buffer.slice(0, bytes));
      if (this.#buffer.length - bytes >= roomBytesMin) return;
    }
  }

  append(block: Uint8Array): void {
    this.#stream.write(block);
  }

  read(): Buffer {
    throw failure('capture-stream-read');
  }

  close(): void {
    this.#stream.end();
  }
}
