/**
 * Takes from this process what a switch never needs and an attacker in it would want: starting
 * programs, looking into other processes, network sockets, mounts, kernel modules; the list is in
 * native/core/platform/sandbox.cc. No core file is written of it either, since guests' frames would
 * be in it.
 *
 * It holds for all threads and cannot be undone, so it is for a process that is a switch and
 * nothing else.
 */

import { failure } from '../model/errors.ts';
import { native } from './addon.ts';

/** To be called before a switch is opened. Throws SYSTEM where the kernel does not do it. */
export function confineProcess(): void {
  const { confineProcess: confine } = native();
  try {
    confine();
  } catch (cause) {
    throw failure('sandbox-failed', { cause: (cause as Error).message }, { cause });
  }
}

/**
 * Leaves these CPUs to the workers that are pinned to them from now on: no other thread of this
 * process runs there any more, where it has others to run on. For a process that is a switch and
 * nothing else, too.
 */
export function leaveCpus(cpus: readonly number[]): void {
  native().leaveCpus(cpus);
}
