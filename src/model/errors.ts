/**
 * What goes wrong for an operator or an embedding program, as one class. Its codes, what they mean
 * and its sentences are those of faults/table.ts.
 *
 * Guests and frontends do not cause these: a bad guest breaks its queue, a bad frontend loses its
 * session (vhost-user/session.ts). Tests assert codes; sentences are for people.
 */

import {
  type Code,
  type CodeOf,
  codes,
  type Fault,
  type FaultArguments,
  type Told,
  told,
} from './faults/table.ts';

/** The codes of errors and events, as `errorCodes` explains them. */
export type ErrorCode = Code;

/** What each code means, in a few words. */
export const errorCodes = Object.fromEntries(
  Object.entries(codes).map(([code, { means }]) => [code, means]),
) as Readonly<Record<ErrorCode, string>>;

/** What an error says besides its code. */
export interface ErrorDetails {
  readonly cause?: unknown;
  /** Which of the sentences of the code, and what fills it. */
  readonly fault?: Fault;
  readonly parameters?: Readonly<Record<string, unknown>>;
}

/** Every error this package throws on purpose. */
export class TsvswitchError extends Error {
  override readonly name = 'TsvswitchError';
  readonly code: ErrorCode;
  /** Says more than the code: docs/errors.md lists them. Absent where a program made the error. */
  readonly fault: Fault | undefined;
  /** What the sentence names: paths, numbers, limits. */
  readonly parameters: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, 'cause' in details ? { cause: details.cause } : {});
    this.code = code;
    this.fault = details.fault;
    this.parameters = details.parameters ?? {};
  }
}

/** An error of what was told. */
export function failureOf({ code, fault, parameters, sentence }: Told): TsvswitchError {
  return new TsvswitchError(code, sentence, { fault, parameters });
}

/** The same error, for where a line is all there is. */
export function inOneLine(error: TsvswitchError): TsvswitchError {
  const { code, fault, parameters } = error;
  const details = { parameters, cause: error, ...(fault === undefined ? {} : { fault }) };
  return new TsvswitchError(code, error.message.replaceAll('\n', '; '), details);
}

/** The same error, with what became of it behind its sentence. */
export function withOutcome(error: TsvswitchError, outcome: string): TsvswitchError {
  const { code, fault, parameters } = error;
  const details = { parameters, cause: error, ...(fault === undefined ? {} : { fault }) };
  return new TsvswitchError(code, `${error.message}; ${outcome}`, details);
}

/** The error of a fault, with the sentence that the table has for it. */
export function failure<F extends Fault>(
  fault: F,
  ...[parameters, options]: [...FaultArguments<F>, options?: { readonly cause?: unknown }]
): TsvswitchError & { readonly code: CodeOf<F>; readonly fault: F } {
  const {
    code,
    parameters: filledWith,
    sentence,
  } = told(fault, ...([parameters] as unknown as FaultArguments<F>));
  const error = new TsvswitchError(code, sentence, { ...options, fault, parameters: filledWith });
  return error as TsvswitchError & { readonly code: CodeOf<F>; readonly fault: F };
}
