/** The state folder that was given to a switch: locked, and with what bridges have learned. */

import type { Switch } from '../index.ts';
import { failure, TsvswitchError } from '../model/errors.ts';
import { FolderLock } from '../operate/state/folder-lock.ts';
import { KeptAddresses } from '../operate/state/kept-addresses.ts';
import { StateFolder } from '../operate/state/state-folder.ts';
import type { TakeOver } from '../operate/upgrade/take-over.ts';
import { learnAgain, learnedAddresses } from '../switch/addresses.ts';

export interface KeptState {
  readonly lock: FolderLock;
  readonly addresses: KeptAddresses;
}

/** Undefined, and that is told, where the folder cannot be had. Throws STATE_LOCKED. */
export function keepState(
  folder: string,
  vswitch: Switch,
  takeOver: TakeOver | undefined,
  onTrouble: (sentence: string) => void,
): KeptState | undefined {
  let lock: FolderLock;
  try {
    lock = lockOf(folder, takeOver?.held('lock'));
  } catch (error) {
    if (!(error instanceof TsvswitchError) || error.code === 'STATE_LOCKED') throw error;
    onTrouble(failure('addresses-not-kept', { why: error.message }).message);
    return undefined;
  }
  const addresses = new KeptAddresses(
    folder,
    {
      learned: () => learnedAddresses(vswitch),
      learnAgain: (all) => learnAgain(vswitch, all),
      ageingSeconds: (bridge) => vswitch.settings.bridges[bridge]?.ageingSeconds ?? 0,
    },
    onTrouble,
  );
  vswitch.on('frontend-connected', ({ port }) => addresses.connected(port));
  return { lock, addresses };
}

function lockOf(folder: string, held: number | undefined): FolderLock {
  if (held !== undefined) return FolderLock.adopt(held);
  StateFolder.open(folder);
  return FolderLock.take(folder);
}
