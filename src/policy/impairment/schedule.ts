/**
 * Changes of a network over time, all checked before the first is made.
 *
 * Times count from when the schedule is begun. A machine's clock keeps them to a millisecond or so,
 * a manual one exactly: advance() stops at each.
 */

import { bad } from '../../model/option-checks.ts';
import type { Cancel, Clock } from '../../runtime/clock.ts';
import { number } from './impairment.ts';
import type { Links, NetworkChange } from './links.ts';

/** A change and when it is made. */
export type ScheduleStep = NetworkChange & {
  /** No earlier than the step before it; less than 24 days. */
  readonly atMs: number;
};

/** What a Node timer can wait. */
const atMsMax = 2 ** 31 - 1;

/** Changes that are being made over time. */
export class Schedule {
  /** Resolves when the last step was made, or the schedule ended. */
  readonly done: Promise<void>;
  #resolve: () => void = () => {};
  #pending: Cancel[] = [];

  /** Throws BAD_OPTION and NO_SUCH_PORT, having changed nothing. */
  constructor(links: Links, clock: Clock, steps: readonly ScheduleStep[]) {
    if (!Array.isArray(steps) || steps.length === 0) {
      throw bad('schedule', JSON.stringify(steps), 'a list of one step or more');
    }
    let earliestMs = 0;
    const prepared = steps.map((step: ScheduleStep, i) => {
      const atMs = number(`step ${i}: atMs`, step?.atMs, earliestMs, atMsMax);
      earliestMs = atMs;
      const { atMs: _, ...change } = step;
      return { atMs, make: links.prepare(change as NetworkChange) };
    });
    this.done = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    this.#pending = prepared.map(({ atMs, make }, i) =>
      clock.after(atMs, () => {
        make();
        if (i === prepared.length - 1) this.#resolve();
      }),
    );
  }

  /** Makes no more steps; what was made stays. Idempotent. */
  end(): void {
    for (const cancel of this.#pending) cancel();
    this.#resolve();
  }
}
