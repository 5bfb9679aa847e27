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
import type { MachinePlan } from './file/plan.ts';
import type { MachineFiles } from './state.ts';

/** For QEMU's command line. */
export const shutdownTrace = ['-trace', 'qemu_system_shutdown_request'] as const;

export interface Death {
  /** Whether the guest switched the machine off, as it may. */
  readonly isShutdown: boolean;
  readonly sentence: string;
}

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
    return { isShutdown: true, sentence: `${machine} was switched off from inside` };
  }
  const cause = log.reduce((last, line) => Number(tracePattern.exec(line)?.[1] ?? last), 0);
  if (cause === guestShutdown) {
    return { isShutdown: true, sentence: `${machine} was switched off from inside` };
  }
  const said = log.filter((line) => !tracePattern.test(line));
  if (cause === guestPanic) {
    const shown = readTail(files.consoleLog).join('\n');
    return {
      isShutdown: false,
      sentence: `${machine}: its kernel panicked; its console ended with:\n${shown}`,
    };
  }
  const words = said.length > 0 ? `its log ends with:\n${said.join('\n')}` : 'it said nothing';
  return {
    isShutdown: false,
    sentence: `${machine}: ${engineNames[engine]} ended by itself or was killed; ${words}`,
  };
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
