/**
 * What the benchmark measures: one file of this folder per kind of trial.
 *
 * A trial runs against a switch that was started for it alone, and returns one number per measure.
 */

import type { GuestMemory } from '../client.ts';
import type { Need, RunningSwitch } from '../drivers/driver.ts';
import type { QuietMachine } from '../quiet.ts';

export interface Measure {
  readonly name: string;
  readonly unit: string;
  readonly decimals: number;
  /** Whether a ratio above 1 in the table speaks for the first switch in it. */
  readonly better: 'higher' | 'lower';
  /** Where it has its place in charts; absent for measures that are in the table only. */
  readonly charts?: readonly ChartPlace[];
}

/** Charts that measures have a place in; charts.ts draws them. */
export type ChartId = 'flood-headers' | 'flood-bytes' | 'ports' | 'latency' | 'tcp';

export interface ChartPlace {
  readonly id: ChartId;
  readonly category: string;
}

/** How the trial is to be done, whichever switch it is about. */
export interface Conditions {
  readonly memory: GuestMemory;
  readonly warmupS: number;
  readonly seconds: number;
  readonly quiet: QuietMachine;
}

export interface TrialContext extends Conditions {
  readonly subject: RunningSwitch;
  /** For logs of the trial's own processes. */
  readonly folder: string;
  /** What `reference` returned a moment ago; 0 without it. */
  readonly reference: number;
}

export interface Sample {
  /** One value per measure of the trial, in the same order. */
  readonly values: readonly number[];
  readonly disturbed?: string;
  /** Everything that the client said, for the results file. */
  readonly details?: unknown;
}

export interface Trial {
  readonly name: string;
  readonly ports: number;
  /** Switches that lack one of these have no part in the trial. */
  readonly needs?: readonly Need[];
  /** For long trials: not repeated more often than this. */
  readonly roundsMax?: number;
  readonly measures: readonly Measure[];
  /** Measured before the switch is started, while nothing else polls. */
  reference?(conditions: Conditions): Promise<number>;
  run(context: TrialContext): Promise<Sample>;
}
