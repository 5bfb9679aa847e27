/**
 * What the benchmark measures: one file of this folder per kind of trial.
 *
 * A trial runs against a switch that was started for it alone, and returns one number per measure.
 */

import type { GuestMemory } from '../client.ts';
import type { RunningSwitch } from '../drivers/driver.ts';
import type { QuietMachine } from '../quiet.ts';

export interface Measure {
  readonly name: string;
  readonly unit: string;
  readonly decimals: number;
  /** Whether a ratio above 1 in the table speaks for the first switch in it. */
  readonly better: 'higher' | 'lower';
}

export interface TrialContext {
  readonly subject: RunningSwitch;
  readonly sockets: readonly string[];
  readonly memory: GuestMemory;
  /** For logs of the trial's own processes. */
  readonly folder: string;
  readonly quiet: QuietMachine;
  readonly warmupS: number;
  readonly seconds: number;
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
  readonly measures: readonly Measure[];
  run(context: TrialContext): Promise<Sample>;
}
