/** Rows as text, and their order. */

import { describe, expect, test } from 'vitest';
import { type Column, sorted, tableText } from '../../../src/cli/ask/table.ts';

interface Row {
  readonly name: string;
  readonly frames?: number;
}

const columns: readonly Column<Row>[] = [
  { head: 'PORT', of: ({ name }) => name },
  { head: 'FRAMES', of: ({ frames }) => frames },
];
const rows: readonly Row[] = [
  { name: 'web10', frames: 5 },
  { name: 'web9' },
  { name: 'a', frames: 1234567 },
];

test('texts stand to the left, numbers to the right, and nothing is a dash', () => {
  expect(tableText(columns, rows, { heads: true })).toBe(
    'PORT    FRAMES\nweb10        5\nweb9         -\na      1234567\n',
  );
  expect(tableText(columns, rows, { heads: false })).not.toContain('PORT');
  expect(tableText(columns, [], { heads: true })).toBe('PORT  FRAMES\n');
});

test('no line is wider than the terminal, and a text that would be obeyed is written out', () => {
  expect(tableText(columns, rows, { heads: true, width: 9 })).toBe(
    'PORT    F\nweb10\nweb9\na      12\n'.replace('web10\nweb9', 'web10    \nweb9     '),
  );
  expect(tableText(columns, [{ name: 'a\x1b[2J\n' }], { heads: false })).toMatch(
    /^a\\u\{1b\}\[2J\\u\{a\} +-\n$/,
  );
});

describe('sorted', () => {
  test('by text from A to Z with numbers in it as numbers', () => {
    expect(sorted(rows, columns[0]!).map(({ name }) => name)).toEqual(['a', 'web9', 'web10']);
  });

  test('by number from the largest, nothing last', () => {
    expect(sorted(rows, columns[1]!).map(({ name }) => name)).toEqual(['a', 'web10', 'web9']);
  });
});
