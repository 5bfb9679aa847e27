/**
 * Symbol.asyncDispose, where it is not there yet: on Node 20 in the contexts of node:vm, in which
 * test runners put tests (vitest's vmThreads and vmForks). Files that define a method of
 * that name import this one.
 *
 * It is the symbol that Node's own objects have, so that `await using` works with those, too.
 */

import { Readable } from 'node:stream';

if (!Reflect.has(Symbol, 'asyncDispose')) {
  const value =
    Object.getOwnPropertySymbols(Readable.prototype).find(({ description }) =>
      description?.endsWith('.asyncDispose'),
    ) ?? Symbol('Symbol.asyncDispose');
  Object.defineProperty(Symbol, 'asyncDispose', { value });
}
