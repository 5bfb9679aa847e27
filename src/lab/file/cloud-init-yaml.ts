/**
 * The plain words of a lab's file as cloud-init would read them, for what is handed on to it.
 *
 * A lab's file is YAML 1.2. cloud-init reads user-data with PyYAML, which is YAML 1.1: there `0644`
 * is octal, `no` a truth value and `12:30` the number 750. Below `userData` a word therefore has
 * the meaning it has in a file of user-data, as people copy them from there, with three exceptions:
 * a date and `=` stay the texts that cloud-init wants where it takes one, and keys stay as they are
 * written.
 *
 * What the two readers take for different things without either being plainly meant (`12:30`), and
 * what JSON would change on the way (`1.0`, `.inf`), becomes a Misreadable, for its place to be
 * told.
 *
 * Sources: PyYAML resolver.py and constructor.py; cloud-init safeyaml.py; https://yaml.org/type.
 */

import type { ParseOptions, ScalarTag, SchemaOptions } from 'yaml';

/** A word that cannot be handed on. */
export class Misreadable {
  readonly source: string;
  /** For people, about the word. */
  readonly sentence: string;

  constructor(source: string, sentence: string) {
    this.source = source;
    this.sentence = sentence;
  }
}

const nulls = /^(?:~|null|Null|NULL|)$/;
const truths = /^(?:yes|Yes|YES|true|True|TRUE|on|On|ON)$/;
const falsehoods = /^(?:no|No|NO|false|False|FALSE|off|Off|OFF)$/;
/** Not 089: with a digit that octal has not, PyYAML takes it for a text. */
const integers = [
  [/^([-+]?)0b([01_]+)$/, 2],
  [/^([-+]?)0x([0-9a-fA-F_]+)$/, 16],
  [/^([-+]?)0([0-7_]+)$/, 8],
  [/^([-+]?)(0|[1-9][0-9_]*)$/, 10],
] as const;
/** Without a sign in its exponent a number is none: 1e3 and 1.5e3 are texts. */
const decimal = /^(?:[-+]?[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+][0-9]+)?$/;
const notFinite = /^(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$/;
const sixties = /^[-+]?(?:[1-9][0-9_]*(?::[0-5]?[0-9])+|[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*)$/;

/** What cloud-init takes the plain scalar `word` for, or a Misreadable. */
export function cloudInitValue(word: string): unknown {
  if (nulls.test(word)) return null;
  if (truths.test(word)) return true;
  if (falsehoods.test(word)) return false;
  for (const [pattern, radix] of integers) {
    const [, sign, digits] = pattern.exec(word) ?? [];
    if (digits !== undefined) return integer(word, sign!, digits, radix);
  }
  if (decimal.test(word)) return fraction(word);
  if (sixties.test(word)) {
    const sentence =
      `cloud-init reads this as a number, ${inSixties(word)}, since YAML 1.1 counts ${word} by ` +
      `sixties; write "${word}" if it is a text, or the number`;
    return new Misreadable(word, sentence);
  }
  if (notFinite.test(word)) {
    return new Misreadable(word, `no such number can be given to cloud-init; write "${word}"`);
  }
  return word;
}

function integer(word: string, sign: string, digits: string, radix: number): unknown {
  const plain = digits.replaceAll('_', '');
  const value = Number.parseInt(plain === '' ? '0' : plain, radix);
  if (!Number.isSafeInteger(value)) {
    return new Misreadable(word, `this number has too many digits to be kept; write "${word}"`);
  }
  // Without -0, which is none in Python.
  return sign === '-' && value !== 0 ? -value : value;
}

function fraction(word: string): unknown {
  const value = Number(word.replaceAll('_', ''));
  if (!Number.isInteger(value)) return value;
  const sentence =
    `cloud-init would be given the whole number ${value}; write that, or ` +
    `"${word}" if it is a text`;
  return new Misreadable(word, sentence);
}

function inSixties(word: string): number {
  const parts = word.replaceAll(/[-+_]/g, '').split(':').map(Number);
  const value = parts.reduce((sum, part) => sum * 60 + part, 0);
  return word.startsWith('-') ? -value : value;
}

const tag = (name: string) => `tag:yaml.org,2002:${name}`;

/** Every plain scalar, whatever it looks like. */
const plain: ScalarTag = { tag: tag('plain'), default: true, test: /^/, resolve: cloudInitValue };

/** Those that are told apart by a tag before them, such as `!!int 0644`. */
const tagged = ['null', 'bool', 'int', 'float'].map(
  (name): ScalarTag => ({ tag: tag(name), resolve: cloudInitValue }),
);

/** With these the yaml package reads as cloud-init does. */
export const cloudInitReading: SchemaOptions & ParseOptions = {
  schema: 'failsafe',
  customTags: [plain, ...tagged],
  resolveKnownTags: false,
};

/** `value` with the texts of what is misreadable in it, and a call of `tell` for each. */
export function handedOn(
  value: unknown,
  path: readonly string[],
  tell: (path: readonly string[], sentence: string) => void,
): unknown {
  if (value instanceof Misreadable) {
    tell(path, value.sentence);
    return value.source;
  }
  if (Array.isArray(value)) {
    return value.map((item, index) => handedOn(item, [...path, String(index)], tell));
  }
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, handedOn(item, [...path, key], tell)]),
  );
}
