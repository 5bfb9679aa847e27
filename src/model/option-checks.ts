/**
 * Checks of options that programs in JavaScript may get wrong, with the sentence they then read.
 */

import { inspect } from 'node:util';
import { failure, type TsvswitchError } from './errors.ts';
import { printable, unknownKey } from './wording.ts';

const nameCharactersMax = 128;

/** Throws BAD_OPTION, which names the option. */
export function integer(name: string, value: unknown, min: number, max: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
    throw bad(name, value, `an integer from ${min} to ${max}`);
  }
  return value;
}

/** Throws BAD_OPTION, which names the option. */
export function flag(name: string, value: unknown): boolean {
  if (typeof value !== 'boolean') throw bad(name, value, 'true or false');
  return value;
}

/** A path: any text but the empty one. Throws BAD_OPTION, which names the option. */
export function text(name: string, value: unknown): string {
  if (typeof value !== 'string' || value === '') throw bad(name, value, 'a path');
  return value;
}

/**
 * What a port or a bridge may be called, so that every line and sentence with its name in it reads
 * one way only: 1 to 128 visible characters, and plain spaces between them. A colon in front of a
 * space would end the name where it is read. Undefined if `value` may be a name; else what was
 * expected.
 */
export function nameFault(value: unknown): string | undefined {
  const isName =
    typeof value === 'string' &&
    value !== '' &&
    Array.from(value).length <= nameCharactersMax &&
    printable(value) === value &&
    // Letters that are there and show nothing, and the braille pattern without dots.
    !/[\p{Default_Ignorable_Code_Point}\u2800]|^ | $|: /u.test(value);
  if (isName) return undefined;
  return (
    `a name, which is 1 to ${nameCharactersMax} visible characters, with plain spaces only ` +
    'between them and none behind a colon'
  );
}

/** Throws BAD_OPTION, which names the option. */
export function name(option: string, value: unknown): string {
  const expected = nameFault(value);
  if (expected === undefined) return value as string;
  const shown =
    typeof value === 'string' ? JSON.stringify(value.slice(0, nameCharactersMax)) : value;
  throw bad(option, shown, expected);
}

/** An object that has no other fields than these. Throws BAD_OPTION, which names the field. */
export function fields(
  name: string,
  value: unknown,
  names: readonly string[],
): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw bad(name, value, `an object with ${names.join(', ')}`);
  }
  const unknown = Object.keys(value).find((key) => !names.includes(key));
  if (unknown !== undefined) {
    throw failure('option-key-unknown', { name, what: unknownKey(unknown, names) });
  }
  return value as Readonly<Record<string, unknown>>;
}

/** A BAD_OPTION that says what was expected. */
export function bad(name: string, value: unknown, expected: string): TsvswitchError {
  // String() runs what objects have under toString, and fails if that is no function.
  const shown =
    typeof value === 'object' ? inspect(value, { breakLength: Infinity }) : String(value);
  return failure('option-not', { name, value: printable(shown), expected });
}
