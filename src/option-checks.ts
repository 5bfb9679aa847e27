/** Checks of options that programs in JavaScript may get wrong, with the sentence they then read. */

import { inspect } from 'node:util';
import { TsvswitchError } from './errors.ts';

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

/** A name or path: any text but the empty one. Throws BAD_OPTION, which names the option. */
export function text(name: string, value: unknown): string {
  if (typeof value !== 'string' || value === '') throw bad(name, value, 'a name');
  return value;
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
    throw new TsvswitchError(
      'BAD_OPTION',
      `${name}: there is no ${unknown}, only ${names.join(', ')}`,
    );
  }
  return value as Readonly<Record<string, unknown>>;
}

/** A BAD_OPTION that says what was expected. */
export function bad(name: string, value: unknown, expected: string): TsvswitchError {
  // String() runs what objects have under toString, and fails if that is no function.
  const shown =
    typeof value === 'object' ? inspect(value, { breakLength: Infinity }) : String(value);
  return new TsvswitchError('BAD_OPTION', `${name}: ${shown} is not ${expected}`);
}
