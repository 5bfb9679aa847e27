/**
 * Numbers read off the bytes of a fuzzer, from the front, so that bytes put in or taken out change
 * one operation and not all. Behind the end everything reads as zero.
 */
export class Input {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get done(): boolean {
    return this.#at >= this.#bytes.length;
  }

  byte(): number {
    return this.#bytes[this.#at++] ?? 0;
  }

  /** One of 0 to `end` - 1; `end` is at most 256. */
  below(end: number): number {
    return this.byte() % end;
  }

  flag(): boolean {
    return this.below(2) === 1;
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)]!;
  }

  /** A copy of the next `length` bytes, or of what is left. */
  bytes(length: number): Uint8Array {
    const from = this.#at;
    this.#at = Math.min(from + length, this.#bytes.length);
    return this.#bytes.slice(from, this.#at);
  }

  number(length: 1 | 2 | 4 | 8): bigint {
    let value = 0n;
    for (let i = 0; i < length; i++) value |= BigInt(this.byte()) << BigInt(8 * i);
    return value;
  }
}
