/**
 * In-band notifications of one port: eventfds of our own stand between messages and the data plane,
 * which knows nothing of them.
 *
 *     VRING_KICK message --> eventfd --> worker           (kick)
 *     worker --> eventfd --> event loop --> VRING_CALL    (watchCalls)
 *
 * The eventfds belong to the data plane and are only borrowed here: until the queue is stopped, and
 * until its call eventfd is replaced. The port says so before it tells the data plane. Only they
 * are written here: a queue that was started with an eventfd of its frontend is kicked through that
 * alone.
 *
 * Source: vhost-user "In-band notifications".
 */

import { native } from '../../native/addon.ts';

export class InBandQueues {
  readonly #kickFds = new Map<number, number>();
  /** The kick eventfd that no queue was started with yet. */
  #made: number | undefined;
  readonly #callFds = new Map<number, number>();

  /** An eventfd to start a queue with, at once; the caller's. */
  createKickFd(): number {
    this.#made = native().eventfdCreate();
    return this.#made;
  }

  /** A queue is about to start with this kick eventfd, or none (-1). */
  starting(queue: number, kickFd: number): void {
    if (kickFd === this.#made) this.#kickFds.set(queue, kickFd);
    else this.#kickFds.delete(queue);
    this.#made = undefined;
  }

  stopped(queue: number): void {
    this.#kickFds.delete(queue);
  }

  kick(queue: number): void {
    const fd = this.#kickFds.get(queue);
    if (fd !== undefined) native().eventfdSignal(fd);
  }

  /** `fd` is the call eventfd of a queue; `onCall` hears of every signal. */
  watchCalls(queue: number, fd: number, onCall: () => void): void {
    this.#callFds.set(queue, fd);
    native().watchReadable(fd, () => {
      native().eventfdDrain(fd);
      onCall();
    });
  }

  unwatchCalls(queue: number): void {
    const fd = this.#callFds.get(queue);
    if (fd === undefined) return;
    this.#callFds.delete(queue);
    native().unwatchReadable(fd);
  }
}
