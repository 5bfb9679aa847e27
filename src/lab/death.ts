/**
 * Why a machine's QEMU, or User-mode Linux, has ended, by its logs.
 *
 * Nobody waits for a detached process, so nobody knows its exit status. QEMU is started with a
 * trace of shutdown requests in its log instead: whoever switches the guest off from inside leaves
 * one there, and whatever kills QEMU leaves none.
 *
 * Source: QEMU qapi/run-state.json, ShutdownCause; softmmu/trace-events.
 */

import { readFileSync } from 'node:fs';
import { type FaultOf, type Told, told } from '../model/faults/table.ts';
import type { MachinePlan } from './file/plan.ts';
import type { MachineFiles } from './state.ts';

/** For QEMU's command line. */
export const shutdownTrace = ['-trace', 'qemu_system_shutdown_request'] as const;

export interface Death {
  /** Whether the guest switched the machine off, as it may. */
  readonly isShutdown: boolean;
  readonly told: Told<FaultOf<'MACHINE_FAILED' | 'LAB_PORT_TAKEN'>>;
}

/** QEMU has no other sign of it than its words. */
const portTaken = /host forwarding rule/;
const tracePattern = /qemu_system_shutdown_request .*reason=(\d+)/;
/** What uml-supervisor.ts writes when its guest ended by itself. */
export const umlShutdown = 'switched off from inside';
/** Numbers of ShutdownCause. */
const guestShutdown = 6;
const guestPanic = 8;
const engineNames = { qemu: 'QEMU', uml: 'User-mode Linux' } as const;
const tailLines = 15;
/** The end of a log is in its last bytes. */
const tailBytes = 16_384;

export function deathOf(
  machine: string,
  files: MachineFiles,
  engine: MachinePlan['engine'] = 'qemu',
): Death {
  const log = readTail(files.qemuLog);
  if (log.at(-1) === umlShutdown) {
    return { isShutdown: true, told: told('machine-switched-off-inside', { name: machine }) };
  }
  const cause = log.reduce((last, line) => Number(tracePattern.exec(line)?.[1] ?? last), 0);
  if (cause === guestShutdown) {
    return { isShutdown: true, told: told('machine-switched-off-inside', { name: machine }) };
  }
  const said = log.filter((line) => !tracePattern.test(line));
  if (cause === guestPanic) {
    const shown = readTail(files.consoleLog).join('\n');
    return { isShutdown: false, told: told('kernel-panicked', { name: machine, console: shown }) };
  }
  const which = { name: machine, engine: engineNames[engine] };
  if (said.length === 0) return { isShutdown: false, told: told('engine-ended-silently', which) };
  const fault = said.some((line) => portTaken.test(line)) ? 'engine-port-taken' : 'engine-ended';
  return { isShutdown: false, told: told(fault, { ...which, log: said.join('\n') }) };
}

/** The last lines of a file; none if there is no such file. */
export function readTail(path: string): string[] {
  try {
    const text = readFileSync(path).subarray(-tailBytes).toString();
    const lines = text.replaceAll('\r', '').trimEnd().split('\n');
    return lines[0] === '' ? lines.slice(1) : lines.slice(-tailLines);
  } catch {
    return [];
  }
}
