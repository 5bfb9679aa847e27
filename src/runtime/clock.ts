/**
 * The time of a switch: the machine's, or one that moves only when the program that embeds the
 * switch says so.
 *
 * Control uses it for what happens at a time of its choice (policy/impairment/schedule.ts); the
 * data plane's part, ageing and frames held back, has the same two kinds
 * (native/core/platform/clock.h) and is moved along.
 */

/** Ends what after() began; does nothing once it has run. */
export type Cancel = () => void;

export interface Clock {
  readonly nowMs: number;
  /** Runs `action` once, `ms` from now. */
  after(ms: number, action: () => void): Cancel;
}

/** Nothing that waits here keeps the process alive. */
export const machineClock: Clock = {
  get nowMs() {
    return performance.now();
  },
  after(ms, action) {
    const timer = setTimeout(action, ms).unref();
    return () => clearTimeout(timer);
  },
};

interface Alarm {
  readonly atNs: number;
  readonly action: () => void;
}

/** Counts in nanoseconds, in which every number here is exact. */
export class ManualClock implements Clock {
  #nowNs = 0;
  /** By time, and for one time in the order in which they were set. */
  readonly #alarms: Alarm[] = [];

  after(ms: number, action: () => void): Cancel {
    const alarm = { atNs: this.#nowNs + nanoseconds(ms), action };
    const later = this.#alarms.findIndex(({ atNs }) => atNs > alarm.atNs);
    this.#alarms.splice(later === -1 ? this.#alarms.length : later, 0, alarm);
    return () => {
      const at = this.#alarms.indexOf(alarm);
      if (at !== -1) this.#alarms.splice(at, 1);
    };
  }

  get nowMs(): number {
    return this.#nowNs / nsPerMs;
  }

  /**
   * `pass` lets so many nanoseconds go by in the data plane, up to each alarm and then to the end.
   */
  advance(ms: number, pass: (ns: number) => void): void {
    const endNs = this.#nowNs + nanoseconds(ms);
    const passTo = (ns: number) => {
      pass(ns - this.#nowNs);
      this.#nowNs = ns;
    };
    // Every turn takes one alarm away; those that an action sets anew lie after it.
    while (this.#alarms.length > 0 && this.#alarms[0]!.atNs <= endNs) {
      const { atNs, action } = this.#alarms.shift()!;
      passTo(atNs);
      action();
    }
    passTo(endNs);
  }
}

const nsPerMs = 1_000_000;

/** A whole number of them. */
export function nanoseconds(ms: number): number {
  return Math.round(ms * nsPerMs);
}
