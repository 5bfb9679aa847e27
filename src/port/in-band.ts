/**
 * In-band notifications of one port: eventfds of our own stand between messages and the data plane,
 * which knows nothing of them.
 *
 *     VRING_KICK message --> eventfd --> worker           (kick)
 *     worker --> eventfd --> event loop --> VRING_CALL    (watchCalls)
 *
 * The eventfds belong to the data plane and are only borrowed here: until the queue is stopped, and
 * until its call eventfd is replaced. The port says so before it tells the data plane.
 *
 * Source: vhost-user "In-band notifications".
 */

import { native } from '../native.ts';

export class InBandQueues {
  readonly #kickFds = new Map<number, number>();
  readonly #callFds = new Map<number, number>();

  /** A queue runs with this kick eventfd, or with none (-1) if it is polled. */
  started(queue: number, kickFd: number): void {
    if (kickFd !== -1) this.#kickFds.set(queue, kickFd);
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
