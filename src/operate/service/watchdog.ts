/**
 * Gives signs of life only while every worker makes rounds: a service manager restarts a switch one
 * of whose workers hangs, although its event loop goes on.
 *
 * Each look asks all workers for a sign and finds who has given none since the look before. A
 * worker that sleeps is woken for it, four times in the time that the manager waits, so that it may
 * miss one or two looks on a busy machine. An event loop that hangs looks no more.
 */

export interface WatchdogOptions {
  /** After which time without a sign of life the manager acts. */
  readonly timeoutUs: number;
  /** The workers without a round since the last call (Switch.silentWorkers). */
  readonly silentWorkers: () => readonly number[];
  readonly onAlive: () => void;
  /** At the first look that finds some, and when it is others; with none once all are back. */
  readonly onSilent: (workers: readonly number[]) => void;
}

const looksPerTimeout = 4;
const usPerMs = 1000;

export class Watchdog {
  readonly #options: WatchdogOptions;
  readonly #timer: NodeJS.Timeout;
  #silent: readonly number[] = [];

  constructor(options: WatchdogOptions) {
    this.#options = options;
    const { timeoutUs } = options;
    const everyMs = Math.max(1, Math.floor(timeoutUs / usPerMs / looksPerTimeout));
    options.silentWorkers();
    this.#timer = setInterval(() => this.#look(), everyMs).unref();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const silent = this.#options.silentWorkers();
    if (silent.join() !== this.#silent.join()) this.#options.onSilent(silent);
    this.#silent = silent;
    if (silent.length === 0) this.#options.onAlive();
  }
}
