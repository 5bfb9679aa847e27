/**
 * Finds the operation that a request asks for.
 *
 * Hand-made: Fastify 5 with @fastify/swagger takes 180 ms of start and 24 MB of memory (a switch
 * takes 66), and 50 packages of 11 MB, one of which refuses Node 20. Our table has some twenty
 * rows, and its schemas are compiled by the build (schema/build.ts).
 */

import { failure } from '../model/errors.ts';
import { printable } from '../model/wording.ts';
import { type Operation, type OperationId, operations } from './operations.ts';

/** An operation that was asked for. */
export interface Match {
  readonly id: OperationId;
  readonly operation: Operation;
  /** Of the part in braces; empty where there is none. */
  readonly name: string;
}

interface Route extends Omit<Match, 'name'> {
  readonly parts: readonly string[];
}

const routes: readonly Route[] = Object.entries(operations).map(([id, operation]) => ({
  id: id as OperationId,
  operation,
  parts: operation.path.split('/'),
}));

/** `path` is that of the URL, without the query. Undefined if there is no such operation. */
export function findOperation(method: string, path: string): Match | undefined {
  const given = path.split('/');
  for (const { id, operation, parts } of routes) {
    if (operation.method !== method || parts.length !== given.length) continue;
    const at = parts.findIndex((part) => part.startsWith('{'));
    const isSame = parts.every((part, i) => (i === at ? given[i] !== '' : part === given[i]));
    if (isSame) return { id, operation, name: at === -1 ? '' : nameOf(given[at]!) };
  }
  return undefined;
}

/**
 * Those of the operation's flags that stand in `query`, which nobody looks at where it has none.
 * Throws CONTROL_BAD_REQUEST.
 */
export function flagsIn({ flags = [] }: Operation, query: string): readonly string[] {
  if (flags.length === 0 || query === '') return [];
  const given = query.split('&');
  const strange = given.find((flag) => !flags.includes(flag));
  if (strange === undefined) return given;
  throw failure('flag-unknown', { flag: printable(strange), flags });
}

/** A name as it is written in a path. */
function nameOf(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
