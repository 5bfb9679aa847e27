/**
 * Where the lines of the log go: standard output, as long as somebody reads it.
 *
 * A pipe that is full, or a terminal that is held, must stop neither the switch nor its end, and
 * must not fill its memory. So a line is left out while 1 MiB waits, and their number is logged
 * when there is room again. At the end whoever reads has a second for the rest.
 */

import type { WriteStream } from 'node:tty';

const unreadBytesMax = 1 << 20;
const endMs = 1000;

export class LogOutput {
  readonly #stream: NodeJS.WritableStream & Partial<WriteStream>;
  readonly #onLost: (count: number) => void;
  #lost = 0;

  /** `onLost` writes a line that says so. */
  constructor(stream: NodeJS.WriteStream, onLost: (count: number) => void) {
    this.#stream = stream;
    this.#onLost = onLost;
    // A network does not end because nobody reads its log any more.
    stream.on('error', () => {});
    stream.on('drain', () => this.#tellLost());
    // Node waits for terminals, and one that is held would hold up the event loop.
    const { _handle: handle } = stream as { _handle?: { setBlocking?(on: boolean): void } };
    if (stream.isTTY) handle?.setBlocking?.(false);
  }

  write(line: string): void {
    if (this.#isBehind) {
      this.#lost++;
      return;
    }
    this.#tellLost();
    this.#stream.write(`${line}\n`);
  }

  /** Ends the process if nothing but unread lines keeps it. */
  end(): void {
    setTimeout(() => process.exit(), endMs).unref();
  }

  get #isBehind(): boolean {
    return (this.#stream.writableLength ?? 0) > unreadBytesMax;
  }

  #tellLost(): void {
    const count = this.#lost;
    this.#lost = 0;
    if (count > 0) this.#onLost(count);
  }
}
