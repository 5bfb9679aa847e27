/** Checks of options that programs in JavaScript may get wrong, with the sentence they then read. */

import { TsvswitchError } from './errors.ts';

/** Throws BAD_OPTION, which names the option. */
export function integer(name: string, value: unknown, min: number, max: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
    throw new TsvswitchError(
      'BAD_OPTION',
      `${name}: ${String(value)} is not an integer from ${min} to ${max}`,
    );
  }
  return value;
}

/** A name or path: any text but the empty one. Throws BAD_OPTION, which names the option. */
export function text(name: string, value: unknown): string {
  if (typeof value !== 'string' || value === '') {
    throw new TsvswitchError('BAD_OPTION', `${name}: ${String(value)} is not a name`);
  }
  return value;
}
