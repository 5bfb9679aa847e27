/**
 * What a service manager says to a process that it starts: where it wants to be told, how often it
 * wants a sign of life, which sockets it has for it, and where the log goes.
 *
 * It says so in variables of the environment, which every program that is started from here would
 * inherit and take for its own. So they are taken out.
 *
 * Pure. Sources: sd_notify(3), sd_watchdog_enabled(3), sd_listen_fds(3), systemd.exec(5)
 * "$JOURNAL_STREAM".
 */

import { fstatSync } from 'node:fs';

export interface GivenFd {
  readonly fd: number;
  /** FileDescriptorName= of its socket unit, or the name it was stored under. */
  readonly name: string;
}

export interface StartedBy {
  readonly notifySocket?: string;
  /** Without a sign of life for so long, the process is ended. */
  readonly watchdogUs?: number;
  readonly fds: readonly GivenFd[];
}

/** The first that was given: behind standard input, output and error. */
const firstFd = 3;
/** FileDescriptorStoreMax= has no limit of its own; a process has. */
const fdsMax = 65_536;

const variables = [
  'NOTIFY_SOCKET',
  ...['WATCHDOG_USEC', 'WATCHDOG_PID'],
  ...['LISTEN_FDS', 'LISTEN_PID', 'LISTEN_FDNAMES'],
] as const;

/** Takes these variables out of `env`; what they say to another process than `pid` is left out. */
export function startedBy(env: NodeJS.ProcessEnv, pid: number): StartedBy {
  const said = Object.fromEntries(variables.map((name) => [name, env[name] ?? '']));
  for (const name of variables) delete env[name];
  const { NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID, LISTEN_FDS, LISTEN_PID } = said;
  const isUs = (number: string) => Number(number) === pid;
  const watchdogUs = wholeNumber(WATCHDOG_USEC!);
  const count = isUs(LISTEN_PID!) ? Math.min(wholeNumber(LISTEN_FDS!) ?? 0, fdsMax) : 0;
  const names = said.LISTEN_FDNAMES!.split(':');
  return {
    ...(NOTIFY_SOCKET === '' ? {} : { notifySocket: NOTIFY_SOCKET! }),
    // Without WATCHDOG_PID it is for every process.
    ...(watchdogUs !== undefined && (WATCHDOG_PID === '' || isUs(WATCHDOG_PID!))
      ? { watchdogUs }
      : {}),
    fds: Array.from({ length: count }, (_, i) => ({
      fd: firstFd + i,
      name: names[i] || 'unknown',
    })),
  };
}

/** More than 0 and exact, or undefined. */
function wholeNumber(digits: string): number | undefined {
  const number = Number(digits);
  return /^\d+$/.test(digits) && number > 0 && Number.isSafeInteger(number) ? number : undefined;
}

/**
 * Whether what is written to `fd` goes to the journal. The variable alone does not say so: programs
 * inherit it whose output was redirected.
 */
export function isJournal(fd: number, env: NodeJS.ProcessEnv): boolean {
  const [, device, inode] = /^(\d+):(\d+)$/.exec(env.JOURNAL_STREAM ?? '') ?? [];
  if (device === undefined) return false;
  try {
    const { dev, ino } = fstatSync(fd, { bigint: true });
    return dev === BigInt(device) && ino === BigInt(inode!);
  } catch {
    // It is closed.
    return false;
  }
}
