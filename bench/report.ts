/** Results as people read them. */

import { type Cell, cellOf, type Results } from './results.ts';
import type { Measure } from './trials/trial.ts';

export function table({ trials, switches, skipped }: Results): string {
  const names = switches.map(({ name }) => name);
  const [subject, ...peers] = names;
  const header = ['median (min..max)', ...names, ...peers.map((name) => `x ${name}`)];
  const rows = trials.flatMap((trial) =>
    trial.measures.map((measure, index) => {
      const cells = names.map((name) => cellOf(trial, index, name));
      return [
        `${measure.name} (${measure.unit})`,
        ...cells.map((cell) => formatCell(cell, measure)),
        ...cells.slice(1).map((peer) => formatRatio(cells[0], peer)),
      ];
    }),
  );
  const lines = [align([header, ...rows])];
  for (const { name, reason } of skipped) lines.push(`${name} skipped: ${reason}`);
  const runs = trials.flatMap((trial) => trial.runs.map((run) => ({ ...run, trial: trial.name })));
  const absences = new Set(
    runs.flatMap((run) => ('absent' in run ? [`${run.switch}: ${run.absent}`] : [])),
  );
  for (const absence of absences) lines.push(`- ${absence}`);
  const failures = new Set(
    runs.flatMap((run) => ('failed' in run ? [`${run.switch}, ${run.trial}: ${run.failed}`] : [])),
  );
  for (const failure of failures) lines.push(`failed: ${failure}`);
  if (peers.length > 0) lines.push(`x: ${subject} divided by the other, medians of this run`);
  if (runs.some((run) => 'disturbed' in run)) {
    lines.push('*: the machine was not quiet during that many of the runs; see the results file');
  }
  return lines.join('\n');
}

/** On which machine and with what, in two lines. */
export function preamble({ machine, switches, guestMemory, rounds, seconds }: Results): string {
  const { cpuModel, cpus, kernel, node } = machine;
  const versions = new Set(switches.map(({ version }) => version));
  return [
    `${cpuModel}, ${cpus} CPUs, Linux ${kernel}, Node ${node}`,
    `${[...versions].join(', ')}; ${guestMemory} guests; ${rounds} rounds of ${seconds} s`,
  ].join('\n');
}

function formatCell(cell: Cell, { decimals }: Measure): string {
  if (cell.kind === 'absent') return '-';
  if (cell.kind === 'failed') return 'failed';
  const { median, min, max } = cell.spread;
  const range = `${min.toFixed(decimals)}..${max.toFixed(decimals)}`;
  const note = cell.disturbed === 0 ? '' : ` *${cell.disturbed}`;
  return `${median.toFixed(decimals)} (${range})${note}`;
}

function formatRatio(subject: Cell | undefined, peer: Cell): string {
  if (subject?.kind !== 'measured' || peer.kind !== 'measured') return '-';
  if (peer.spread.median === 0) return '-';
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
