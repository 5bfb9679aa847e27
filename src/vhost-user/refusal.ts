/**
 * What a frontend did wrong, as a code, a fault and a sentence, which are those of
 * model/faults/protocol.ts. Thrown by the parts of this folder and caught in one place, the
 * dispatcher of session.ts; it never leaves the folder as an exception.
 */

import { TsvswitchError } from '../model/errors.ts';
import { protocolCodes } from '../model/faults/protocol.ts';
import {
  codeOf,
  type Fault,
  type FaultArguments,
  type FaultOf,
  type Told,
  told,
} from '../model/faults/table.ts';

export type RefusalCode = keyof typeof protocolCodes;
export type RefusalFault = FaultOf<RefusalCode>;
export type ToldRefusal = Told<RefusalFault>;

function isRefusalFault(fault: Fault | undefined): fault is RefusalFault {
  return fault !== undefined && codeOf(fault) in protocolCodes;
}

export class Refusal extends Error {
  override readonly name: string = 'Refusal';
  readonly told: ToldRefusal;

  constructor(told: ToldRefusal) {
    super(told.sentence);
    this.told = told;
  }
}

/**
 * What a guest asked for through its frontend, which has done nothing wrong: the frontend is told
 * so, and its session goes on.
 */
export class Declined extends Refusal {
  override readonly name = 'Declined';
}

export function refusal<F extends RefusalFault>(fault: F, ...args: FaultArguments<F>): Refusal {
  return new Refusal(told(fault, ...args) as ToldRefusal);
}

export function declined<F extends RefusalFault>(fault: F, ...args: FaultArguments<F>): Declined {
  return new Declined(told(fault, ...args) as ToldRefusal);
}

/**
 * What the frontend did wrong, if that is why: what a backend refuses because of what the frontend
 * shared is its mistake, too.
 */
export function mistakeOf(error: unknown): ToldRefusal | undefined {
  if (error instanceof Refusal) return error.told;
  if (!(error instanceof TsvswitchError) || !isRefusalFault(error.fault)) return undefined;
  const { fault, parameters, message: sentence } = error;
  return { code: codeOf(fault), fault, parameters, sentence };
}
