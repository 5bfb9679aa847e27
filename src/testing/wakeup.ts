/**
 * A condition that several callers wait for, each with a time limit: wake() ends every wait, fail()
 * ends every wait of now and, until reset(), later with an error. Waiters look again for themselves
 * what is true.
 */

import { failure } from '../model/errors.ts';

interface Waiter {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

export class Wakeup {
  readonly #waiters = new Set<Waiter>();
  #failure: Error | undefined;

  /** Resolves at the next wake(); rejects with TIMEOUT, naming `what`, or with the failure. */
  wait(timeoutMs: number, what: string): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiters.delete(waiter);
        reject(failure('nothing-within', { what, timeoutMs }));
      }, timeoutMs);
      const waiter = { resolve, reject, timer };
      this.#waiters.add(waiter);
    });
  }

  wake(): void {
    for (const { resolve, timer } of this.#waiters) {
      clearTimeout(timer);
      resolve();
    }
    this.#waiters.clear();
  }

  /** Forgets the failure: waits are possible again. */
  reset(): void {
    this.#failure = undefined;
  }

  /** The first failure stays. */
  fail(error: Error): void {
    this.#failure ??= error;
    for (const { reject, timer } of this.#waiters) {
      clearTimeout(timer);
      reject(error);
    }
    this.#waiters.clear();
  }
}
