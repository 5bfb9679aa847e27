/**
 * A text with any number of fds, through a unix socket that keeps the bounds of messages. What one
 * message cannot hold goes in several.
 *
 * A bundle that was cut off, since its sender died in the midst of it, is none: parts are numbered,
 * and a reader that finds another beginning drops what it has. Versioned, since sender and reader
 * may be two releases: a reader takes no version but its own.
 */

import { native } from './addon.ts';

/** Fds belong to whoever has it. */
export interface Bundle {
  readonly text: string;
  readonly fds: readonly number[];
}

/** Four words: mark with version, number of the part, how many parts there are, bytes in it. */
const headBytes = 16;
const mark = 0x7473_7601;
/** What fits the buffer of any socket several times. */
const partBytes = 32_768;
/** As many as are taken over at a time (native/addon/fd_socket.cc). */
const partFds = 32;
/** More is nobody's. */
const partsMax = 1024;

/** False if the socket has no room for it. Throws SYSTEM. The fds stay the caller's. */
export function sendBundle(socket: number, bundle: Bundle): boolean {
  return messagesOf(bundle).every(({ bytes, fds }) => native().socketSend(socket, bytes, fds) > 0);
}

/** What it is sent as, in order. */
export function messagesOf({ text, fds }: Bundle): { bytes: Buffer; fds: readonly number[] }[] {
  const bytes = Buffer.from(text);
  const byBytes = Math.ceil(bytes.length / partBytes);
  const parts = Math.max(1, byBytes, Math.ceil(fds.length / partFds));
  return Array.from({ length: parts }, (_, part) => {
    const piece = bytes.subarray(part * partBytes, (part + 1) * partBytes);
    const head = Buffer.alloc(headBytes);
    [mark, part, parts, piece.length].forEach((word, i) => {
      head.writeUInt32LE(word, 4 * i);
    });
    const along = fds.slice(part * partFds, (part + 1) * partFds);
    return { bytes: Buffer.concat([head, piece]), fds: along };
  });
}

/** Puts bundles together from what comes. */
export class BundleReader {
  readonly #socket: number;
  #pieces: Buffer[] = [];
  #fds: number[] = [];

  constructor(socket: number) {
    this.#socket = socket;
  }

  /** The next one, its fds the caller's; nothing is whole yet, or the other end is gone. */
  read(): Bundle | 'would-block' | 'end' {
    for (;;) {
      const into = Buffer.allocUnsafe(headBytes + partBytes);
      const message = native().socketReceive(this.#socket, into);
      if (message === undefined) return 'would-block';
      if (message.bytes === 0) return 'end';
      const bytes = into.subarray(0, message.bytes);
      const head = message.fdsTruncated ? undefined : headOf(bytes);
      if (head === undefined || (head.part !== 0 && head.part !== this.#pieces.length)) {
        for (const fd of message.fds) native().closeFd(fd);
        this.close();
        continue;
      }
      // One that ended in its midst is followed by another.
      if (head.part === 0) this.close();
      this.#fds.push(...message.fds);
      this.#pieces.push(Buffer.from(bytes.subarray(headBytes)));
      if (this.#pieces.length < head.parts) continue;
      const bundle = { text: Buffer.concat(this.#pieces).toString(), fds: this.#fds };
      [this.#pieces, this.#fds] = [[], []];
      return bundle;
    }
  }

  /** Drops what has come of one that is not whole. */
  close(): void {
    for (const fd of this.#fds) native().closeFd(fd);
    [this.#pieces, this.#fds] = [[], []];
  }
}

function headOf(bytes: Buffer): { readonly part: number; readonly parts: number } | undefined {
  if (bytes.length < headBytes || bytes.readUInt32LE(0) !== mark) return undefined;
  const [part, parts, length] = [4, 8, 12].map((at) => bytes.readUInt32LE(at));
  if (part! >= parts! || parts! > partsMax || length !== bytes.length - headBytes) return undefined;
  return { part: part!, parts: parts! };
}

export function closeAll(fds: readonly number[]): void {
  for (const fd of fds) native().closeFd(fd);
}
