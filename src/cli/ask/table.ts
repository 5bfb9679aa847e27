/**
 * Rows as text: heads in capitals, two spaces between columns, numbers to the right, and no wider
 * than the terminal. Pure.
 */

import { printable } from '../../model/wording.ts';

export type Cell = string | number | undefined;

/** One column of rows. */
export interface Column<Row> {
  readonly head: string;
  /** What stands there; nothing is shown as `-`. */
  readonly of: (row: Row) => Cell;
  /** Only shown to who wants all columns. */
  readonly isWide?: true;
}

export interface TableOptions {
  readonly heads: boolean;
  /** Columns of the terminal; what is longer is cut. Unbounded unless given. */
  readonly width?: number;
}

/** Ends with a line break, unless it is empty. */
export function tableText<Row>(
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  { heads, width = Number.POSITIVE_INFINITY }: TableOptions,
): string {
  const cells = rows.map((row) => columns.map(({ of }) => of(row)));
  const lines = cells.map((line) => line.map(textOf));
  const all = heads ? [columns.map(({ head }) => head), ...lines] : lines;
  const widths = columns.map((_, i) => Math.max(0, ...all.map((line) => line[i]!.length)));
  const isNumber = columns.map((_, i) => cells.some((line) => typeof line[i] === 'number'));
  return all
    .map((line) =>
      line
        .map((text, i) => (isNumber[i] ? text.padStart(widths[i]!) : text.padEnd(widths[i]!)))
        .join('  ')
        .trimEnd()
        .slice(0, width),
    )
    .map((line) => `${line}\n`)
    .join('');
}

/** By the column with that head: texts from A to Z, numbers from the largest, nothing last. */
export function sorted<Row>(rows: readonly Row[], { of }: Column<Row>): Row[] {
  return [...rows].sort((one, other) => {
    const [a, b] = [of(one), of(other)];
    if (a === undefined || b === undefined)
      return Number(a === undefined) - Number(b === undefined);
    if (typeof a === 'number' && typeof b === 'number') return b - a;
    return `${a}`.localeCompare(`${b}`, 'en', { numeric: true });
  });
}

function textOf(cell: Cell): string {
  return cell === undefined || cell === '' ? '-' : printable(`${cell}`);
}
