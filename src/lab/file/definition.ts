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

import { type Finding, findingsOf, isMapping } from '../../model/findings.ts';
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
    : { findings: findingsOf(validate.errors ?? []) };
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
