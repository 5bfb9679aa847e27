/**
 * MessageReader: cuts a byte stream with passed fds into vhost-user messages.
 *
 * It checks what has to be known to find the end of a message, the header; payloads pass through.
 * Its only state is the message being read. Source: vhost-user "Header", "Communication".
 */

import { type FaultOf, type Told, told } from '../model/faults/table.ts';
import {
  decodeHeader,
  fdsPerMessageMax,
  type Header,
  headerBytes,
  headerFlags,
  type Message,
  payloadBytesMax,
  versionMask,
} from './message.ts';

/** Why a byte stream stopped being vhost-user. */
export type FramingError = Told<FaultOf<'BAD_VERSION' | 'BAD_FLAGS' | 'BAD_SIZE' | 'BAD_FDS'>>;

export type ReadStep =
  | { readonly kind: 'incomplete' }
  | { readonly kind: 'message'; readonly message: Message }
  | {
      readonly kind: 'error';
      readonly error: FramingError;
      /** Every fd gathered so far; the caller closes them. */
      readonly fds: readonly number[];
    };

/**
 * Which end this reader is: a backend reads requests, a frontend reads replies. On the channel for
 * the backend's own requests it is the other way round.
 */
export type ReaderRole = 'backend' | 'frontend';

type ReaderState =
  | { readonly kind: 'header' }
  | { readonly kind: 'payload'; readonly header: Header }
  | { readonly kind: 'failed' };

/**
 * Cuts a stream into messages. The owner reads at most `wants` bytes from the socket and feeds
 * them: first the 12 bytes of the header, then exactly the payload. As a read never crosses the end
 * of a message, neither do the fds that come with it. After an error the reader wants nothing any
 * more.
 */
export class MessageReader {
  readonly #role: ReaderRole;
  #state: ReaderState = { kind: 'header' };
  #buffer = new Uint8Array(headerBytes);
  #filledBytes = 0;
  #fds: number[] = [];

  constructor(role: ReaderRole) {
    this.#role = role;
  }

  /** How many bytes are missing to the end of the header or payload; 0 after an error. */
  get wants(): number {
    return this.#state.kind === 'failed' ? 0 : this.#buffer.length - this.#filledBytes;
  }

  /** True while a message has begun and not ended. */
  get midMessage(): boolean {
    return this.#state.kind === 'payload' || this.#filledBytes > 0 || this.#fds.length > 0;
  }

  /**
   * Takes over bytes and fds. Feeding more than `wants` is a programming error (RangeError).
   * `fdsTruncated` says that the kernel dropped fds that did not fit the caller's buffer.
   */
  feed(bytes: Uint8Array, fds: readonly number[], fdsTruncated: boolean): ReadStep {
    if (bytes.length > this.wants) {
      throw new RangeError(`fed ${bytes.length} bytes where ${this.wants} were wanted`);
    }
    this.#buffer.set(bytes, this.#filledBytes);
    this.#filledBytes += bytes.length;
    this.#fds.push(...fds);
    if (fdsTruncated || this.#fds.length > fdsPerMessageMax) {
      return this.#fail(told('fds-too-many', { max: fdsPerMessageMax }));
    }
    if (this.wants > 0) return { kind: 'incomplete' };
    return this.#state.kind === 'header' ? this.#acceptHeader() : this.#finish();
  }

  /** Gives up the message being read and hands back its fds. */
  abandon(): readonly number[] {
    this.#state = { kind: 'failed' };
    const fds = this.#fds;
    this.#fds = [];
    return fds;
  }

  #acceptHeader(): ReadStep {
    const header = decodeHeader(this.#buffer);
    const flags = `0x${header.flags.toString(16)}`;
    if ((header.flags & versionMask) !== headerFlags.VERSION) {
      return this.#fail(told('version-unknown', { flags }));
    }
    const isReply = (header.flags & headerFlags.REPLY) !== 0;
    if (isReply !== (this.#role === 'frontend')) {
      const fault = this.#role === 'frontend' ? 'reply-expected' : 'request-expected';
      return this.#fail(told(fault, { flags }));
    }
    if (header.sizeBytes > payloadBytesMax) {
      return this.#fail(
        told('payload-too-long', {
          request: header.request,
          bytes: header.sizeBytes,
          bytesMax: payloadBytesMax,
        }),
      );
    }
    this.#state = { kind: 'payload', header };
    this.#buffer = new Uint8Array(header.sizeBytes);
    this.#filledBytes = 0;
    return header.sizeBytes === 0 ? this.#finish() : { kind: 'incomplete' };
  }

  #finish(): ReadStep {
    if (this.#state.kind !== 'payload') return { kind: 'incomplete' };
    const { request, flags } = this.#state.header;
    const message = { request, flags, payload: this.#buffer, fds: this.#fds };
    this.#state = { kind: 'header' };
    this.#buffer = new Uint8Array(headerBytes);
    this.#filledBytes = 0;
    this.#fds = [];
    return { kind: 'message', message };
  }

  #fail(error: FramingError): ReadStep {
    return { kind: 'error', error, fds: this.abandon() };
  }
}
