/**
 * Commands in a machine, by the ssh client of the system with the lab's own key.
 *
 * The user's ssh configuration and agent are not used, so that it works the same for everybody. The
 * host key of a machine is neither checked nor remembered. It would prove nothing: the port leads
 * into a running QEMU of this user, and nobody else can listen on it. And machines
 * change their keys for many reasons: another boot, other user-data, another disk, `cloud-init
 * clean`.
 *
 * Source: ssh(1), ssh_config(5).
 */

import { execa } from 'execa';
import { failure } from '../model/errors.ts';

export interface SshTarget {
  /** Of the machine, for errors and in place of an address. */
  readonly name: string;
  /** On 127.0.0.1. */
  readonly port: number;
  readonly user: string;
  readonly privateKeyFile: string;
}

/** How a command is run in a machine. */
export interface ExecOptions {
  /** How long it may take, in milliseconds; a minute unless given. */
  readonly limitMs?: number;
  /** What it reads on standard input; nothing unless given. */
  readonly input?: string | Uint8Array;
  readonly signal?: AbortSignal;
}

/** How a command ended, and what it wrote. */
export interface ExecResult {
  readonly stdout: string;
  readonly stderr: string;
  /** Of the command; 255 if there was no connection, which `stderr` then explains. */
  readonly status: number;
}

/** Unless a caller says otherwise. */
export const execLimitMs = 60_000;
/** A connection is to the same host: it is there at once, or an emulated guest is busy. */
const connectLimitS = 60;
const aliveIntervalS = 20;

/**
 * The arguments of `ssh` up to and with the destination; options may precede them, a command
 * follow.
 */
export function sshArguments(target: SshTarget): string[] {
  const options = {
    IdentitiesOnly: 'yes',
    IdentityAgent: 'none',
    StrictHostKeyChecking: 'no',
    UserKnownHostsFile: '/dev/null',
    GlobalKnownHostsFile: '/dev/null',
    ConnectTimeout: connectLimitS,
    ServerAliveInterval: aliveIntervalS,
    LogLevel: 'ERROR',
  };
  return [
    ...['-F', '/dev/null'],
    ...['-i', target.privateKeyFile],
    ...['-p', String(target.port)],
    ...Object.entries(options).flatMap(([name, value]) => ['-o', `${name}=${value}`]),
    `${target.user}@127.0.0.1`,
  ];
}

/**
 * Runs a program with its arguments, or a line for the user's shell. Throws TIMEOUT,
 * PROGRAM_MISSING.
 */
export async function runOverSsh(
  target: SshTarget,
  command: readonly string[] | string,
  { limitMs = execLimitMs, input = '', signal }: ExecOptions = {},
): Promise<ExecResult> {
  const line = shellLine(command);
  const result = await execa(
    'ssh',
    ['-T', '-o', 'BatchMode=yes', ...sshArguments(target), '--', line],
    {
      input,
      reject: false,
      timeout: limitMs,
      stripFinalNewline: false,
      ...(signal === undefined ? {} : { cancelSignal: signal }),
    },
  );
  if (result.code === 'ENOENT') {
    throw failure('ssh-missing');
  }
  signal?.throwIfAborted();
  if (result.timedOut) {
    throw failure('command-late', {
      name: target.name,
      line,
      seconds: limitMs / 1000,
      stdout: result.stdout,
      stderr: result.stderr,
    });
  }
  return { stdout: result.stdout, stderr: result.stderr, status: result.exitCode ?? 255 };
}

/** A program with its arguments as a line for a shell, or a line as it is. */
export function shellLine(command: readonly string[] | string): string {
  return typeof command === 'string' ? command : command.map(shellWord).join(' ');
}

/** One word of a POSIX shell, whatever is in it. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
