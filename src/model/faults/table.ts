/**
 * All that can go wrong, as one table: by code what it means, what it costs and what to do, and by
 * fault, which says more than the code, the sentence. Errors and events are made from it; docs/
 * errors.md is printed from it. A file of this folder has the codes of one area.
 *
 * Codes and faults are public: they are never spelled otherwise and never mean something else.
 * Sentences are for people, and may become better ones.
 */

import { filled, type ParametersOf, type Template } from '../sentence.ts';
import { controlCodes } from './control.ts';
import { framesCodes } from './frames.ts';
import { generalCodes } from './general.ts';
import { labsCodes } from './labs.ts';
import { machinesCodes } from './machines.ts';
import { operationCodes } from './operation.ts';
import { optionsCodes } from './options.ts';
import { portCodes } from './ports.ts';
import { protocolCodes } from './protocol.ts';
import { ringCodes } from './rings.ts';
import { socketsCodes } from './sockets.ts';
import { testingCodes } from './testing.ts';

export const codes = {
  ...optionsCodes,
  ...generalCodes,
  ...socketsCodes,
  ...controlCodes,
  ...operationCodes,
  ...protocolCodes,
  ...ringCodes,
  ...portCodes,
  ...framesCodes,
  ...testingCodes,
  ...machinesCodes,
  ...labsCodes,
} as const;

export type Code = keyof typeof codes;

/** The fault names of some of the codes. */
export type FaultOf<C extends Code> = C extends Code
  ? keyof (typeof codes)[C]['sentences'] & string
  : never;

export type Fault = FaultOf<Code>;

/** The code that a fault belongs to. */
export type CodeOf<F extends Fault> = {
  [C in Code]: F extends FaultOf<C> ? C : never;
}[Code];

type TemplateOf<F extends Fault> = F extends Fault
  ? (typeof codes)[CodeOf<F>]['sentences'] extends Readonly<Record<F, infer T extends Template>>
    ? T
    : never
  : never;

/** What the sentence of a fault is filled with. */
export type FaultParameters<F extends Fault> = ParametersOf<TemplateOf<F>>;

/** As arguments: left out where there are none. */
export type FaultArguments<F extends Fault> = keyof FaultParameters<F> extends never
  ? readonly [parameters?: Record<never, never>]
  : readonly [parameters: FaultParameters<F>];

/** Why a queue was given up. */
export type BreakFault = FaultOf<'RING_BROKEN'>;

/** Something that went wrong, as data; `sentence` says the same to people. */
export interface Told<F extends Fault = Fault> {
  readonly code: CodeOf<F>;
  readonly fault: F;
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly sentence: string;
}

const rows: ReadonlyMap<string, { readonly code: Code; readonly template: Template }> = new Map(
  Object.entries(codes).flatMap(([code, { sentences }]) =>
    Object.entries(sentences).map(
      ([fault, template]): [string, { code: Code; template: Template }] => [
        fault,
        { code: code as Code, template },
      ],
    ),
  ),
);

export function told<F extends Fault>(fault: F, ...[parameters = {}]: FaultArguments<F>): Told<F> {
  const { code, template } = rows.get(fault)!;
  const sentence = filled(template, parameters);
  return { code: code as CodeOf<F>, fault, parameters, sentence };
}

export function codeOf<F extends Fault>(fault: F): CodeOf<F> {
  return rows.get(fault)!.code as CodeOf<F>;
}

export function isFault(text: unknown): text is Fault {
  return typeof text === 'string' && rows.has(text);
}
