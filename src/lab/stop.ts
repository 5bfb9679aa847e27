/**
 * Ends a machine of a lab: as one presses its power button, and in the end as one pulls its plug.
 *
 * A guest with disks is asked to shut down and has a while to do so; the button is pressed again
 * now and then, since a guest that is still booting does not notice. One without, or whose disks
 * are going to be removed, has nothing to lose and is ended at once. User-mode Linux has no disks,
 * and no button.
 */

import { rm } from 'node:fs/promises';
import { end, ended, type ProcessRecord } from '../machine/detached-process.ts';
import { Qmp } from '../machine/qmp.ts';
import type { MachineFiles } from './state.ts';

/** Without KVM Debian takes some ten seconds. */
const pressesMax = 9;
const pressPauseMs = 10_000;
/** From "quit" to the end, which closes the disks. */
const quitLimitMs = 10_000;

/** Returns when QEMU is gone. `isGraceful` gives the guest its while. */
export async function stopMachine(
  name: string,
  files: MachineFiles,
  process: ProcessRecord,
  isGraceful: boolean,
): Promise<void> {
  const sockets = [files.qmpSocket, files.consoleSocket, files.execSocket];
  try {
    const qmp = await Qmp.connect(name, files.qmpSocket);
    try {
      await switchOff(qmp, process, isGraceful);
    } finally {
      qmp.close();
    }
  } catch {
    // It has no monitor, or one that does not answer, or not any more: what is left is its process.
  }
  await end(process);
  for (const socket of sockets) await rm(socket, { force: true });
}

async function switchOff(qmp: Qmp, process: ProcessRecord, isGraceful: boolean): Promise<void> {
  for (let presses = 0; isGraceful && presses < pressesMax; presses++) {
    await qmp.command('system_powerdown');
    if (await ended(process, pressPauseMs)) return;
  }
  await qmp.command('quit');
  await ended(process, quitLimitMs);
}
