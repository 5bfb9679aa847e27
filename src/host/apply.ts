/**
 * Makes changes to the host, one after the other, and says of each what came of it.
 *
 * Needs root. What was made stays when a later change fails; each carries the command that undoes
 * it. The kernel gives fewer huge pages than it was told to where memory is fragmented, without
 * calling that an error: the pool is read again afterwards.
 */

import { execa } from 'execa';
import { failure } from '../model/errors.ts';
import { hostFacts } from './facts.ts';
import type { Change } from './needs.ts';

export interface MadeChange {
  readonly change: Change;
  /** Pages there are in the end, if they are fewer than asked for. */
  readonly pagesFound?: number;
}

/** Finding many pages means moving what lies in their way, which takes a while on a large host. */
const commandLimitMs = 120_000;

/** `root` is that of the facts the changes were made from. */
export async function* applied(
  changes: readonly Change[],
  root = '',
): AsyncGenerator<MadeChange, void> {
  for (const change of changes) {
    const { failed, stderr, shortMessage } = await execa('sh', ['-c', change.command], {
      reject: false,
      timeout: commandLimitMs,
    });
    if (failed) {
      throw failure('host-change-failed', {
        what: change.what,
        command: change.command,
        cause: stderr || shortMessage || '',
      });
    }
    const pagesFound = change.pages && (await hostFacts(root)).settings['vm.nr_hugepages'];
    const isShort = pagesFound !== undefined && pagesFound < change.pages!.to;
    yield { change, ...(isShort ? { pagesFound } : {}) };
  }
}
