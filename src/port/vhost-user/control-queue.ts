/**
 * When the control queue of a port is looked at: after a kick, and as often as that is good for the
 * others.
 *
 * The data plane answers commands when it is asked to (NativeRingQueue.serveControl), on this
 * thread. A driver waits for each command before it says the next one, so a few turns are all that
 * a machine ever needs at a time; one that goes on and on gets a turn a millisecond, and costs the
 * event loop, and where its commands change something the workers, no more than that.
 *
 * The kick eventfd is the frontend's. It is read without waiting for it, belongs to the data plane,
 * and is watched here until the queue is stopped. Without one, or where the kernel watches no more
 * of them, the queue is looked at every few milliseconds.
 *
 * Runs on the event loop's thread. Source: virtio 1.2 §5.1.6.5.
 */

import { type ControlTurn, type NativeRingPort, native } from '../../native/addon.ts';

/** How many turns may follow each other at once, and how long one is saved up for. */
const turnsMax = 64;
const turnMs = 1;
const commandsPerTurn = 8;
const pollMs = 10;

type State =
  | { readonly kind: 'none' }
  | { readonly kind: 'watched'; readonly queue: number; readonly kickFd: number }
  | { readonly kind: 'polled'; readonly queue: number; readonly timer: NodeJS.Timeout }
  /** It has had all its turns; until the timer nothing is heard. */
  | {
      readonly kind: 'resting';
      readonly queue: number;
      readonly kickFd: number;
      readonly timer: NodeJS.Timeout;
    };

export class ControlQueue {
  readonly #port: NativeRingPort;
  #onTurn: (turn: ControlTurn) => void = () => {};
  #state: State = { kind: 'none' };
  #turns = turnsMax;
  #turnsAtMs = 0;

  constructor(port: NativeRingPort) {
    this.#port = port;
  }

  /** After the queue was started with this kick eventfd, or none (-1). */
  started(queue: number, kickFd: number, onTurn: (turn: ControlTurn) => void): void {
    this.#onTurn = onTurn;
    this.#listen(queue, kickFd);
    this.look();
  }

  /** Before a queue is stopped, which may be any. */
  stopping(queue: number): void {
    const state = this.#state;
    if (state.kind === 'none' || state.queue !== queue) return;
    if (state.kind === 'watched') native().unwatchReadable(state.kickFd);
    else clearTimeout(state.timer);
    this.#state = { kind: 'none' };
  }

  /** Answers what waits, unless the driver has to wait for its turn. */
  look(): void {
    const state = this.#state;
    if (state.kind === 'none' || state.kind === 'resting') return;
    if (!this.#takeTurn()) {
      this.#rest(state);
      return;
    }
    const turn = this.#port.queue(state.queue).serveControl(commandsPerTurn);
    if (turn.commands > 0) this.#onTurn(turn);
    if (turn.more && this.#state === state)
      setImmediate(() => this.#state === state && this.look());
  }

  #listen(queue: number, kickFd: number): void {
    if (kickFd !== -1) {
      try {
        native().watchReadable(kickFd, () => {
          native().eventfdDrain(kickFd);
          this.look();
        });
        this.#state = { kind: 'watched', queue, kickFd };
        return;
      } catch {
        // As many as the kernel allows this user are watched already.
      }
    }
    const timer = setInterval(() => this.look(), pollMs).unref();
    this.#state = { kind: 'polled', queue, timer };
  }

  #rest(state: State & { kind: 'watched' | 'polled' }): void {
    // The next look of one that is polled comes by itself.
    if (state.kind === 'polled') return;
    const { queue, kickFd } = state;
    native().unwatchReadable(kickFd);
    const timer = setTimeout(() => {
      this.#listen(queue, kickFd);
      this.look();
    }, turnMs);
    this.#state = { kind: 'resting', queue, kickFd, timer };
  }

  #takeTurn(): boolean {
    const nowMs = performance.now();
    const gained = Math.floor((nowMs - this.#turnsAtMs) / turnMs);
    if (gained > 0) {
      this.#turns = Math.min(turnsMax, this.#turns + gained);
      this.#turnsAtMs = nowMs;
    }
    if (this.#turns === 0) return false;
    this.#turns -= 1;
    return true;
  }
}
