/**
 * Tells a measurement of a switch from a measurement of a disturbed machine.
 *
 * Two things spoil a run between two cores and leave no trace in its result: another program that
 * takes some of their time, and a hypervisor that moves them apart (client.ts, coreDistanceNs).
 * Both are looked at around every measurement; a spoilt one is repeated a bounded number of times.
 * When the machine never gets quiet the last one is kept, and says why it is doubtful.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { clientCpu, coreDistanceNs, workerCpu } from './client.ts';
import { busySeconds, cpuSeconds, ownCpuSeconds } from './proc.ts';

/** Cores count as near up to this many times the shortest distance seen. */
const nearFactor = 1.5;
const foreignShareMax = 0.05;

export interface Patience {
  /** How often a spoilt measurement is repeated. */
  readonly repeats: number;
  /** How long to wait for the cores to be near before measuring all the same; 0: not at all. */
  readonly nearWaitMs: number;
  /** What all waiting and repeating of a run of the benchmark may take together. */
  readonly totalMs: number;
}

export interface Judged<Result> {
  readonly result: Result;
  /** Why the result is doubtful; absent for a good one. */
  readonly disturbed?: string;
}

export class QuietMachine {
  #nearestNs = Number.POSITIVE_INFINITY;
  #spentMs = 0;
  readonly #patience: Patience;

  constructor(patience: Patience) {
    this.#patience = patience;
  }

  get nearestNs(): number {
    return this.#nearestNs;
  }

  /** Takes the shortest of some distances for the one to hold others against. */
  async calibrate(): Promise<void> {
    const looks = 10;
    for (let look = 0; look < looks; look += 1) {
      await this.#distance();
      await sleep(100);
    }
  }

  /**
   * Runs `measure`, which loads the switch that is process `switchPid` (undefined: part of the
   * kernel), until a run was not disturbed or patience is over.
   */
  async measure<Result>(
    switchPid: number | undefined,
    measure: () => Promise<Result>,
  ): Promise<Judged<Result>> {
    const foreignSeconds = () =>
      busySeconds([clientCpu, workerCpu]) -
      (switchPid === undefined ? 0 : cpuSeconds(switchPid)) -
      ownCpuSeconds();
    for (let repeat = 0; ; repeat += 1) {
      const beganMs = performance.now();
      await this.#waitUntilNear();
      const foreignBefore = foreignSeconds();
      const startedMs = performance.now();
      this.#spentMs += startedMs - beganMs;
      const result = await measure();
      const wallSeconds = (performance.now() - startedMs) / 1000;
      const foreignShare = (foreignSeconds() - foreignBefore) / wallSeconds;
      const disturbed = await this.#verdict(foreignShare);
      if (disturbed === undefined) return { result };
      const over = this.#spentMs >= this.#patience.totalMs;
      if (over || repeat === this.#patience.repeats) return { result, disturbed };
      this.#spentMs += performance.now() - startedMs;
    }
  }

  async #verdict(foreignShare: number): Promise<string | undefined> {
    const distanceNs = await this.#distance();
    if (!this.#isNear(distanceNs)) {
      return `cores ${distanceNs} ns apart instead of ${this.#nearestNs} ns`;
    }
    if (foreignShare > foreignShareMax) {
      return `other programs used ${Math.round(foreignShare * 100)} % of a core`;
    }
    return undefined;
  }

  async #waitUntilNear(): Promise<void> {
    const { nearWaitMs, totalMs } = this.#patience;
    const deadline = performance.now() + Math.min(nearWaitMs, totalMs - this.#spentMs);
    while (performance.now() < deadline && !this.#isNear(await this.#distance())) await sleep(200);
  }

  async #distance(): Promise<number> {
    const distanceNs = await coreDistanceNs();
    this.#nearestNs = Math.min(this.#nearestNs, distanceNs);
    return distanceNs;
  }

  #isNear(distanceNs: number): boolean {
    return distanceNs <= this.#nearestNs * nearFactor;
  }
}
