/**
 * The call eventfd of one queue of a port of this process, as something that can be waited for.
 *
 *     const ringing = doorbell.ringing(...);   // first ask to be called,
 *     if (there is something to do) ringing.cancel();   // then look,
 *     else await ringing.rung;                 // then wait: nothing falls between the two
 *
 * The eventfd belongs to the data plane and is watched until close().
 */

import { failure } from '../../model/errors.ts';
import { type NativeProcessQueue, native } from '../../native/addon.ts';

/** What a Node timer can wait; whoever waits longer waits for ever. */
const timerMsMax = 2 ** 31 - 1;

interface Waiter {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class Doorbell {
  readonly #queue: NativeProcessQueue;
  readonly #fd = native().eventfdCreate();
  readonly #waiters = new Set<Waiter>();
  #closed: Error | undefined;

  constructor(queue: NativeProcessQueue) {
    this.#queue = queue;
    queue.setCall(this.#fd);
    native().watchReadable(this.#fd, () => {
      native().eventfdDrain(this.#fd);
      for (const { resolve } of [...this.#waiters]) resolve();
    });
  }

  /** `rung` resolves at the next ring and rejects with TIMEOUT, naming `what`, at `deadlineMs`. */
  ringing(deadlineMs: number, what: string): { rung: Promise<void>; cancel(): void } {
    if (this.#closed !== undefined) return { rung: Promise.reject(this.#closed), cancel() {} };
    let end = () => {};
    const rung = new Promise<void>((resolve, reject) => {
      const leftMs = Math.max(0, deadlineMs - performance.now());
      const timer =
        leftMs <= timerMsMax
          ? setTimeout(() => {
              end();
              reject(failure('wait-over', { what }));
            }, leftMs)
          : undefined;
      const waiter: Waiter = {
        resolve: () => {
          end();
          resolve();
        },
        reject: (error) => {
          end();
          reject(error);
        },
      };
      end = () => {
        clearTimeout(timer);
        this.#waiters.delete(waiter);
      };
      this.#waiters.add(waiter);
    });
    this.#queue.requestCall();
    return { rung, cancel: end };
  }

  /** Ends every wait, of now and later, with `error`. */
  close(error: Error): void {
    this.#closed = error;
    for (const { reject } of [...this.#waiters]) reject(error);
    native().unwatchReadable(this.#fd);
  }
}
