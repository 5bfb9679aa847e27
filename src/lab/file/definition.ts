/**
 * What a lab is declared with: the content of its file, or the same as an object.
 *
 * lab.schema.json at the root of the package is the one description of it, for editors and for us:
 * shapes, ranges, defaults and the sentences for what does not fit come from there. The interfaces
 * below give it types; a test holds the two together.
 *
 * What it does not do: know where in a file something stands (lab-file.ts), look at what the schema
 * cannot express (conflicts.ts), or derive anything (plan.ts).
 */

import type { ErrorObject } from 'ajv';
import { nearest } from '../../model/wording.ts';
import { schemaValidator } from './schema.ts';

/** What a lab file holds; lab.schema.json explains each key. */
export interface LabDefinition {
  readonly name?: string;
  readonly switch?: SwitchDefinition | null;
  readonly machines: Readonly<Record<string, MachineDefinition | null>>;
}

export interface SwitchDefinition {
  readonly workers?: number;
  readonly cpus?: readonly number[];
  readonly bridge?: string;
  readonly attach?: string;
}

/** What a lab file says of a machine; everything has a default. */
export interface MachineDefinition {
  readonly image?: string | ImageAtUrl;
  readonly engine?: 'qemu' | 'uml';
  readonly cpus?: number;
  readonly memory?: string;
  readonly disk?: string;
  readonly disks?: readonly string[];
  readonly mac?: string;
  readonly addresses?: readonly string[];
  readonly sshPort?: number;
  readonly user?: string;
  readonly password?: string;
  readonly sshKeys?: readonly string[];
  readonly userData?: Readonly<Record<string, unknown>> | string;
  readonly qemuArguments?: readonly string[];
  readonly deviceOptions?: Readonly<Record<string, string | number | boolean>>;
}

export type ImageAtUrl = { readonly url: string } & (
  | { readonly sha256: string }
  | { readonly sha512: string }
);

/** What of a machine is for cloud-init. */
export const userDataKey = 'userData';

/** Keys and indexes from the definition down to a value. */
export type Path = readonly string[];

/** Something in a definition that cannot be. */
export interface Finding {
  readonly path: Path;
  /** Which part of the last step is meant. */
  readonly part: 'key' | 'value';
  /** Continues "PATH: ". */
  readonly sentence: string;
}

type Defaulted<Definition, Keys extends keyof Definition> = Definition &
  Required<Pick<Definition, Keys>>;

/** A definition without findings, with the defaults of the schema in their places. */
export interface CompleteDefinition {
  readonly name?: string;
  readonly switch: Defaulted<SwitchDefinition, 'workers' | 'cpus' | 'bridge'>;
  readonly machines: Readonly<Record<string, CompleteMachine>>;
}

export type CompleteMachine = Defaulted<
  MachineDefinition,
  | 'image'
  | 'engine'
  | 'cpus'
  | 'disks'
  | 'user'
  | 'password'
  | 'sshKeys'
  | 'qemuArguments'
  | 'deviceOptions'
>;

const shownCharactersMax = 60;

/**
 * What in `definition`, a tree of plain values, is not as the schema has it; or all of it,
 * complete.
 */
export function check(
  definition: unknown,
): { readonly findings: readonly Finding[] } | { readonly complete: CompleteDefinition } {
  const copy = withoutNulls(structuredClone(definition));
  const validate = schemaValidator();
  return validate(copy)
    ? { complete: copy as CompleteDefinition }
    : { findings: (validate.errors ?? []).flatMap(findingOf) };
}

/** `switch:` or `vm1:` with nothing behind it is one with defaults, too. */
function withoutNulls(definition: unknown): unknown {
  if (!isMapping(definition)) return definition;
  if (definition.switch === null) delete definition.switch;
  if (isMapping(definition.machines)) {
    for (const [name, machine] of Object.entries(definition.machines)) {
      if (machine === null) definition.machines[name] = {};
    }
  }
  return definition;
}

export function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
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
    case 'minLength':
      return 'must not be empty';
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
    default:
      throw new Error(`no sentence for the keyword ${keyword} of the schema`);
  }
}

const typeNouns = {
  object: 'a mapping (key: value)',
  array: 'a list',
  string: 'a text',
  integer: 'a whole number',
  boolean: 'true or false',
} as const;

function unknownKey(key: string, known: readonly string[]): string {
  const meant = nearest(key, known);
  return meant === undefined
    ? `there is no such key; there are ${known.join(', ')}`
    : `there is no such key; did you mean ${meant}?`;
}

/** A value as people wrote it, roughly, and not longer than a line. */
export function shown(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > shownCharactersMax ? `${text.slice(0, shownCharactersMax)}...` : text;
}
