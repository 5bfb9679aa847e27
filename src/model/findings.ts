/**
 * What a schema says of a document that does not fit it, in sentences for whoever wrote the
 * document.
 */

import type { ErrorObject } from 'ajv';
import { nearest, printable } from './wording.ts';

/** Keys and indexes from the document down to a value. */
export type Path = readonly string[];

/** Something in a document that cannot be. */
export interface Finding {
  readonly path: Path;
  /** Which part of the last step is meant. */
  readonly part: 'key' | 'value';
  /** Continues "PATH: ". */
  readonly sentence: string;
}

/** The text that findings are about. */
export interface FoundIn {
  /** The file as the user called it. */
  readonly name: string;
  /** Both count from 1. */
  readonly position: (path: Path, part: Finding['part']) => { line: number; column: number };
}

const findingsShownMax = 50;

/**
 * A line for each of the findings, in the order of the text; `whole` is what a finding is about
 * that has no path.
 */
export function complaint(whole: string, findings: readonly Finding[], text?: FoundIn): string {
  const placed = findings
    .map((finding) => ({ ...finding, ...text?.position(finding.path, finding.part) }))
    .sort((a, b) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0));
  const lines = placed.slice(0, findingsShownMax).map(({ path, part, sentence }) => {
    const named = `${path.length === 0 ? whole : path.join('.')}: ${sentence}`;
    return printable(text ? `${placeOf(path, part, text)}: ${named}` : named);
  });
  const more = findings.length - lines.length;
  return [...lines, ...(more > 0 ? [`and ${more} more`] : [])].join('\n');
}

/** Such as `lab.yaml:4:5`; without a text the path alone. */
export function placeOf(path: Path, part: Finding['part'], text: FoundIn | undefined): string {
  if (text === undefined) return path.join('.');
  const { line, column } = text.position(path, part);
  return `${text.name}:${line}:${column}`;
}

/** More than anybody mends at once; what people may have meant takes long to find. */
const findingsMax = 1000;

/** Of the errors that ajv has found with `verbose` and `allErrors`; of many only the first. */
export function findingsOf(errors: readonly ErrorObject[]): Finding[] {
  return errors.slice(0, findingsMax).flatMap(findingOf);
}

function findingOf(error: ErrorObject): Finding[] {
  // The schema that the name of a property violates has reported it already.
  if (error.keyword === 'propertyNames') return [];
  const path = error.instancePath
    .split('/')
    .slice(1)
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'));
  if (error.propertyName !== undefined) {
    return [{ path: [...path, error.propertyName], part: 'key', sentence: sentenceOf(error) }];
  }
  if (error.keyword === 'additionalProperties') {
    const key: string = error.params.additionalProperty;
    const known = Object.keys(error.parentSchema?.properties ?? {});
    return [{ path: [...path, key], part: 'key', sentence: unknownKey(key, known) }];
  }
  if (error.keyword === 'discriminator') {
    const { tag } = error.params as { tag: string };
    const sentence = sentenceOf(error);
    return [{ path: [...path, tag], part: 'value', sentence }];
  }
  return [{ path, part: 'value', sentence: sentenceOf(error) }];
}

function sentenceOf({ keyword, params, data, parentSchema }: ErrorObject): string {
  const expected: string | undefined = parentSchema?.patternErrorMessage;
  switch (keyword) {
    case 'type': {
      const wanted = [params.type].flat().filter((type) => type !== 'null');
      const nouns = wanted.map((type) => typeNouns[type as keyof typeof typeNouns]);
      return `must be ${nouns.join(' or ')}, not ${shown(data)}${expected ? `; ${expected}` : ''}`;
    }
    case 'required':
      return `${params.missingProperty} is missing`;
    case 'minimum':
      return `must be at least ${params.limit}, not ${shown(data)}`;
    case 'maximum':
      return `must be at most ${params.limit}, not ${shown(data)}`;
    case 'minItems':
      if (params.limit > 1) return `must have ${params.limit} entries or more`;
      return 'must not be empty';
    case 'minLength':
      return 'must not be empty';
    case 'const':
      return `must be ${shown(params.allowedValue)}, not ${shown(data)}`;
    case 'minProperties':
      return expected ?? 'must not be empty';
    case 'maxLength':
      return `must have at most ${params.limit} characters`;
    case 'maxItems':
    case 'maxProperties':
      return expected ?? `must have at most ${params.limit} entries`;
    case 'uniqueItems':
      return `has ${shown((data as unknown[])[params.j])} twice`;
    case 'pattern':
      return `${shown(data)} does not fit: ${expected}`;
    case 'enum':
      return `${shown(data)} is none of ${params.allowedValues.join(', ')}`;
    case 'discriminator': {
      const kinds = (parentSchema as { oneOf: KindSchema[] }).oneOf.map(
        ({ properties }) => properties.kind.const,
      );
      return `${shown(params.tagValue)} is none of ${kinds.join(', ')}`;
    }
    default:
      throw new Error(`no sentence for the keyword ${keyword} of the schema`);
  }
}

interface KindSchema {
  readonly properties: { readonly kind: { readonly const: string } };
}

const typeNouns = {
  object: 'a mapping (key: value)',
  array: 'a list',
  string: 'a text',
  integer: 'a whole number',
  number: 'a number',
  boolean: 'true or false',
} as const;

function unknownKey(key: string, known: readonly string[]): string {
  const meant = nearest(key, known);
  return meant === undefined
    ? `there is no such key; there are ${known.join(', ')}`
    : `there is no such key; did you mean ${meant}?`;
}

const shownCharactersMax = 60;

/** A value as people wrote it, roughly, and not longer than a line. */
export function shown(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > shownCharactersMax ? `${text.slice(0, shownCharactersMax)}...` : text;
}

export function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
