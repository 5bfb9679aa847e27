/** Results as people read them, and as the file that keeps everything. */

import type { Driver } from './drivers/driver.ts';
import type { Machine } from './machine.ts';
import type { Plan } from './plan.ts';
import type { Rounds, Run } from './rounds.ts';
import { type Spread, spread } from './statistics.ts';
import type { Measure } from './trials/trial.ts';

export interface Skipped {
  readonly driver: Driver;
  readonly reason: string;
}

interface Cell {
  readonly spread: Spread;
  readonly disturbed: number;
}

export function table(
  { trials }: Plan,
  { runs }: Rounds,
  drivers: readonly Driver[],
  skipped: readonly Skipped[],
): string {
  const [subject, ...peers] = drivers;
  const header = [
    'median (min..max)',
    ...drivers.map(({ name }) => name),
    ...peers.map(({ name }) => `x ${name}`),
  ];
  const rows = trials.flatMap((trial) =>
    trial.measures.map((measure, index) => {
      const cells = drivers.map((driver) =>
        cellOf(
          runs.filter((run) => run.trial === trial && run.driver === driver),
          index,
        ),
      );
      return [
        `${measure.name} (${measure.unit})`,
        ...cells.map((cell) => formatCell(cell, measure)),
        ...cells.slice(1).map((peer) => formatRatio(cells[0], peer)),
      ];
    }),
  );
  const lines = [align([header, ...rows])];
  for (const { driver, reason } of skipped) lines.push(`${driver.name} skipped: ${reason}`);
  const failures = new Set(
    runs.flatMap(({ driver, trial, outcome }) =>
      'failed' in outcome ? [`${driver.name}, ${trial.name}: ${outcome.failed}`] : [],
    ),
  );
  for (const failure of failures) lines.push(`failed: ${failure}`);
  if (peers.length > 0) lines.push(`x: ${subject?.name} divided by the other, medians of this run`);
  if (runs.some(({ outcome }) => 'disturbed' in outcome)) {
    lines.push('*: the machine was not quiet during that many of the runs; see the results file');
  }
  return lines.join('\n');
}

/** The content of a results file. */
export function results(
  plan: Plan,
  rounds: Rounds,
  machine: Machine,
  versions: ReadonlyMap<Driver, string>,
  skipped: readonly Skipped[],
): unknown {
  return {
    takenAt: new Date().toISOString(),
    machine: { ...machine, nearestCoreDistanceNs: rounds.nearestCoreDistanceNs },
    rounds: plan.rounds,
    warmupS: plan.warmupS,
    seconds: plan.seconds,
    switches: [...versions].map(([driver, version]) => ({ name: driver.name, version })),
    skipped: skipped.map(({ driver, reason }) => ({ name: driver.name, reason })),
    trials: plan.trials.map((trial) => ({
      name: trial.name,
      ports: trial.ports,
      measures: trial.measures,
      runs: rounds.runs
        .filter((run) => run.trial === trial)
        .map(({ driver, round, outcome }) => ({ switch: driver.name, round, ...outcome })),
    })),
  };
}

/** Of one measure of one switch; undefined where every run failed. */
function cellOf(runs: readonly Run[], measure: number): Cell | undefined {
  const samples = runs.flatMap(({ outcome }) => ('failed' in outcome ? [] : [outcome]));
  if (samples.length === 0) return undefined;
  return {
    spread: spread(samples.map(({ values }) => values[measure]!)),
    disturbed: samples.filter(({ disturbed }) => disturbed !== undefined).length,
  };
}

function formatCell(cell: Cell | undefined, { decimals }: Measure): string {
  if (cell === undefined) return 'failed';
  const { median, min, max } = cell.spread;
  const range = `${min.toFixed(decimals)}..${max.toFixed(decimals)}`;
  const note = cell.disturbed === 0 ? '' : ` *${cell.disturbed}`;
  return `${median.toFixed(decimals)} (${range})${note}`;
}

function formatRatio(subject: Cell | undefined, peer: Cell | undefined): string {
  if (subject === undefined || peer === undefined || peer.spread.median === 0) return '-';
  return (subject.spread.median / peer.spread.median).toPrecision(3);
}

function align(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map((row) =>
      row
        .map((text, column) =>
          column === 0 ? text.padEnd(widths[0]!) : text.padStart(widths[column]!),
        )
        .join('  '),
    )
    .join('\n');
}
