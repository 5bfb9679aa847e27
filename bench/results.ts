/** What a run of the benchmark leaves behind: the file from which tables and charts are made. */

import { readFileSync } from 'node:fs';
import type { GuestMemory } from './client.ts';
import type { Driver } from './drivers/driver.ts';
import type { Machine } from './machine.ts';
import type { Plan } from './plan.ts';
import type { Outcome, Rounds } from './rounds.ts';
import { type Spread, spread } from './statistics.ts';
import type { Measure } from './trials/trial.ts';

export interface Skipped {
  readonly name: string;
  readonly reason: string;
}

export interface TrialResults {
  readonly name: string;
  readonly ports: number;
  readonly measures: readonly Measure[];
  readonly runs: readonly ({ readonly switch: string; readonly round: number } & Outcome)[];
}

export interface Results {
  readonly takenAt: string;
  readonly machine: Machine & { readonly nearestCoreDistanceNs: number };
  readonly guestMemory: GuestMemory;
  readonly rounds: number;
  readonly warmupS: number;
  readonly seconds: number;
  /** In the order of the table; the first is the one that the others are compared with. */
  readonly switches: readonly { readonly name: string; readonly version: string }[];
  readonly skipped: readonly Skipped[];
  readonly trials: readonly TrialResults[];
}

export function collect(
  plan: Plan,
  { runs, nearestCoreDistanceNs }: Rounds,
  machine: Machine,
  guestMemory: GuestMemory,
  versions: ReadonlyMap<Driver, string>,
  skipped: readonly Skipped[],
): Results {
  return {
    takenAt: new Date().toISOString(),
    machine: { ...machine, nearestCoreDistanceNs },
    guestMemory,
    rounds: plan.rounds,
    warmupS: plan.warmupS,
    seconds: plan.seconds,
    switches: plan.drivers.map((driver) => ({
      name: driver.name,
      version: versions.get(driver) ?? 'unknown',
    })),
    skipped,
    trials: plan.trials.map((trial) => ({
      name: trial.name,
      ports: trial.ports,
      measures: trial.measures,
      runs: runs
        .filter((run) => run.trial === trial)
        .map(({ driver, round, outcome }) => ({ switch: driver.name, round, ...outcome })),
    })),
  };
}

export function readResults(file: string): Results {
  return JSON.parse(readFileSync(file, 'utf8')) as Results;
}

/** What one measure says of one switch, over all rounds. */
export type Cell =
  | { readonly kind: 'measured'; readonly spread: Spread; readonly disturbed: number }
  | { readonly kind: 'failed' }
  | { readonly kind: 'absent' };

export function cellOf({ runs }: TrialResults, measure: number, switchName: string): Cell {
  const own = runs.filter((run) => run.switch === switchName);
  if (own.some((run) => 'absent' in run)) return { kind: 'absent' };
  const samples = own.flatMap((run) => ('values' in run ? [run] : []));
  if (samples.length === 0) return { kind: 'failed' };
  return {
    kind: 'measured',
    spread: spread(samples.map(({ values }) => values[measure]!)),
    disturbed: samples.filter(({ disturbed }) => disturbed !== undefined).length,
  };
}
