/**
 * Two bystanders that flood each other with numbered frames all along, in bursts both ways at once,
 * and what became of the frames: each arrives in its turn, or it is counted as lost. A burst of
 * which nothing has arrived for as long as they are patient is a silence: whoever goes on learns of
 * it.
 *
 * What others flood to everybody is passed over. Frames that arrive after they were given up, or
 * again, are strays.
 */

import type { TsvswitchError } from '../../src/model/errors.ts';
import type { TestGuest } from '../../src/testing/index.ts';
import { destinationOf, frameBetween, numberOf } from '../support/ethernet.ts';

const burstFrames = 32;
/** The number in frames by which machines find out whether a port is served; no burst has it. */
export const greetingNumber = 0xffff_ffff;

/** A machine and its number in addresses. */
export interface Machine {
  readonly guest: TestGuest;
  readonly number: number;
}

/** What the bystanders have noticed. */
export interface Damage {
  readonly lost: number;
  readonly damaged: number;
  readonly strays: number;
}

/** Nothing arrived any more. */
export class Silence extends Error {
  constructor(patienceMs: number) {
    super(`no frame between the bystanders for ${patienceMs} ms`);
  }
}

export class Flood {
  readonly #run: Promise<void>;
  readonly #patienceMs: number;
  readonly #waiting: (() => void)[] = [];
  #bursts = 0;
  #silent = false;
  #stopping = false;
  #lost = 0;
  #damaged = 0;
  #strays = 0;

  constructor(one: Machine, other: Machine, patienceMs: number) {
    this.#patienceMs = patienceMs;
    this.#run = this.#exchange(one, other);
    // Whoever looks learns of a failure; until then it is nobody's unhandled rejection.
    this.#run.catch(() => {});
  }

  /** Since the beginning. */
  get damage(): Damage {
    return { lost: this.#lost, damaged: this.#damaged, strays: this.#strays };
  }

  /**
   * Returns after `count` more bursts are over. Throws Silence if nothing arrived in the last of
   * them, and what ended a bystander's connection.
   */
  async goOn(count: number): Promise<void> {
    const goal = this.#bursts + count;
    while (this.#bursts < goal) {
      if (this.#stopping) throw new Error('the bystanders were stopped');
      await Promise.race([this.#run, new Promise<void>((resolve) => this.#waiting.push(resolve))]);
      if (this.#silent) throw new Silence(this.#patienceMs);
    }
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#run;
  }

  async #exchange(one: Machine, other: Machine): Promise<void> {
    while (!this.#stopping) {
      const first = this.#bursts * burstFrames;
      const arrived = await Promise.all([
        this.#pass(one, other, first),
        this.#pass(other, one, first),
      ]);
      this.#silent = !arrived.includes(true);
      this.#bursts++;
      for (const resolve of this.#waiting.splice(0)) resolve();
      // Others of this process get their turn.
      await new Promise(setImmediate);
    }
  }

  /** One burst; whether any of it arrived. */
  async #pass(from: Machine, to: Machine, first: number): Promise<boolean> {
    const frames = Array.from({ length: burstFrames }, (_, i) =>
      frameBetween(from.number, to.number, first + i, 60 + 4 * i),
    );
    const destination = destinationOf(frames[0]!);
    let next = 0;
    let hasArrived = false;
    try {
      await from.guest.sendAll(frames);
      while (next < burstFrames) {
        const frame = await to.guest.receive({ timeoutMs: this.#patienceMs });
        if (destinationOf(frame) !== destination || numberOf(frame) === greetingNumber) continue;
        const place = numberOf(frame) - first;
        if (place < next) {
          this.#strays++;
          continue;
        }
        const expected = frames[place];
        if (expected === undefined || Buffer.compare(frame, expected) !== 0) this.#damaged++;
        // A number that was not sent is damage, too.
        const arrived = expected === undefined ? next : place;
        this.#lost += arrived - next;
        next = arrived + 1;
        hasArrived = true;
      }
    } catch (error) {
      if ((error as TsvswitchError).code !== 'TIMEOUT') throw error;
      this.#lost += burstFrames - next;
    }
    return hasArrived;
  }
}
