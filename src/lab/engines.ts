/**
 * Prepares the engines of a lab's machines: for QEMU its version, KVM or emulation and the kind of
 * guest memory, for User-mode Linux its kernel and a folder with room for its memory.
 *
 * Whatever the host lacks is found here, before anything is started or stopped.
 */

import { access, constants, readFile } from 'node:fs/promises';
import { probeKvm } from '../machine/kvm.ts';
import { chooseMemory } from '../machine/memory.ts';
import type { Accelerator, MachineMemory } from '../machine/qemu.ts';
import { isBefore, qemuVersion } from '../machine/qemu-version.ts';
import { umlMemoryFolder } from '../machine/uml.ts';
import { failure, TsvswitchError } from '../model/errors.ts';
import type { TinyGuest } from '../tiny/guest.ts';
import { guestKernel } from '../tiny/kernel.ts';
import { umlGuest } from '../tiny/uml-guest.ts';
import type { MachinePlan } from './file/plan.ts';

export interface LabEngines {
  /** undefined where no machine is one of QEMU's. */
  readonly qemu: QemuEngine | undefined;
  readonly uml: UmlEngine | undefined;
}

export interface UmlEngine {
  readonly guest: TinyGuest;
  readonly memoryFolder: string;
}

export interface QemuEngine {
  readonly accelerator: Accelerator;
  readonly memory: MachineMemory;
  /** The chardev option by which this QEMU finds a switch that was restarted. */
  readonly reconnect: string;
}

/** Since when the pause is given in milliseconds, and the option in seconds is deprecated. */
const qemuReconnectMs = [9, 2] as const;
/** What QEMU itself needs beside its guest's memory. */
const qemuOverheadMiB = 64;

/**
 * For machines that are to start; `freedMiB` of memory will be free by then that is not now. Throws
 * PROGRAM_MISSING, PROGRAM_TOO_OLD, MEMORY_SHORT and GUEST_KERNEL_UNAVAILABLE.
 */
export async function labEngines(
  machines: readonly Pick<MachinePlan, 'engine' | 'memoryMiB'>[],
  freedMiB: number,
): Promise<LabEngines> {
  const sizesOf = (engine: MachinePlan['engine']) =>
    machines.filter((machine) => machine.engine === engine).map(({ memoryMiB }) => memoryMiB);
  const [forQemu, forUml] = [sizesOf('qemu'), sizesOf('uml')];
  return {
    qemu: forQemu.length === 0 ? undefined : await qemuEngine(forQemu, freedMiB),
    uml:
      forUml.length === 0
        ? undefined
        : { guest: await umlGuest(), memoryFolder: await umlMemoryFolder(forUml) },
  };
}

async function qemuEngine(sizesMiB: readonly number[], freedMiB: number): Promise<QemuEngine> {
  const version = await qemuVersion();
  const [accelerator, memory] = await Promise.all([
    usableAccelerator(),
    memoryFor(sizesMiB, freedMiB),
  ]);
  const reconnect = isBefore(version, qemuReconnectMs) ? 'reconnect=1' : 'reconnect-ms=200';
  return { accelerator, memory, reconnect };
}

async function usableAccelerator(): Promise<Accelerator> {
  try {
    return (await probeKvm((await guestKernel()).image)).accelerator;
  } catch (error) {
    if (!(error instanceof TsvswitchError && error.code === 'GUEST_KERNEL_UNAVAILABLE'))
      throw error;
    // Without a kernel to try it with, a device that opens has to do.
    const usable = access('/dev/kvm', constants.R_OK | constants.W_OK);
    return usable.then(
      () => 'kvm',
      () => 'tcg',
    );
  }
}

async function memoryFor(sizesMiB: readonly number[], freedMiB: number): Promise<MachineMemory> {
  const { memory } = await chooseMemory(sizesMiB);
  if (memory.type === 'hugepages') return memory;
  const meminfo = await readFile('/proc/meminfo', 'utf8');
  const availableKiB = Number(/^MemAvailable:\s+(\d+)/m.exec(meminfo)?.[1] ?? 0);
  const availableMiB = Math.floor(availableKiB / 1024) + freedMiB;
  const neededMiB = sizesMiB.reduce((sum, size) => sum + size + qemuOverheadMiB, 0);
  if (neededMiB > availableMiB) {
    throw failure('memory-short', { neededMiB, availableMiB });
  }
  return memory;
}
