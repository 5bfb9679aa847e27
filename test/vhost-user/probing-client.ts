/**
 * A frontend's end of a connection that says anything and knows, without waiting for silence, what
 * it was answered: after each message comes a request that is always answered.
 */

import { native } from '../../src/native/addon.ts';
import { FdSocket } from '../../src/native/fd-socket.ts';
import {
  encodeMessage,
  headerFlags,
  type Message,
  requestNumbers,
} from '../../src/vhost-user/message.ts';
import { MessageReader } from '../../src/vhost-user/message-reader.ts';

export class ProbingClient {
  readonly #socket: FdSocket;
  readonly #reader = new MessageReader('frontend');
  readonly #received: Message[] = [];
  #wake = () => {};
  isOpen = true;

  constructor(path: string) {
    this.#socket = FdSocket.connect(path);
    this.#socket.onReadable(() => this.#read());
  }

  /** The replies to a message, before that to the next request, which is always answered. */
  async exchange(bytes: Uint8Array, fds: readonly number[]): Promise<Message[]> {
    this.#send(bytes, fds);
    this.#send(encodeMessage(requestNumbers.GET_QUEUE_NUM, headerFlags.VERSION, new Uint8Array(0)));
    const isProbe = ({ request }: Message) => request === requestNumbers.GET_QUEUE_NUM;
    while (this.isOpen && !this.#received.some(isProbe)) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#received.splice(0).filter((message) => !isProbe(message));
  }

  close(): void {
    this.isOpen = false;
    this.#socket.close();
  }

  #send(bytes: Uint8Array, fds: readonly number[] = []): void {
    try {
      this.#socket.send(bytes, fds);
    } catch {
      // The other end is closed already; that it is, and what it said before, is still to be read.
    }
  }

  #read(): void {
    while (this.isOpen) {
      let received: ReturnType<FdSocket['receive']>;
      try {
        received = this.#socket.receive(this.#reader.wants);
      } catch {
        received = 'end';
      }
      if (received === 'would-block') break;
      if (received === 'end') {
        this.close();
        break;
      }
      const read = this.#reader.feed(received.bytes, received.fds, received.fdsTruncated);
      if (read.kind === 'error') throw new Error(read.error.sentence);
      if (read.kind !== 'message') continue;
      for (const fd of read.message.fds) native().closeFd(fd);
      this.#received.push(read.message);
    }
    this.#wake();
  }
}
