/** Which QEMU there is. `tsvswitch host status` asks, and loads nothing else that runs programs. */

import { execFile } from 'node:child_process';
import { failure } from '../model/errors.ts';
import { qemuProgram } from './qemu.ts';

export type QemuVersion = readonly [major: number, minor: number];

/** What Ubuntu 22.04 has; the options used here are all older. */
const qemuOldest = [6, 2] as const;

/** Major and minor number out of what `qemu-system-x86_64 --version` prints. */
export function parseQemuVersion(text: string): QemuVersion {
  const [, major, minor] = /version (\d+)\.(\d+)/.exec(text) ?? [];
  const version = [Number(major ?? 0), Number(minor ?? 0)] as const;
  if (isBefore(version, qemuOldest)) {
    const found = major === undefined ? JSON.stringify(text.slice(0, 80)) : version.join('.');
    throw failure('qemu-too-old', { program: qemuProgram, found, oldest: qemuOldest.join('.') });
  }
  return version;
}

/** Throws PROGRAM_MISSING and PROGRAM_TOO_OLD. */
export async function qemuVersion(): Promise<QemuVersion> {
  const { error, stdout } = await new Promise<{ error: Error | null; stdout: string }>((resolve) =>
    execFile(qemuProgram, ['--version'], (error, stdout) => resolve({ error, stdout })),
  );
  if ((error as NodeJS.ErrnoException | null)?.code === 'ENOENT') {
    throw failure('qemu-missing', { program: qemuProgram });
  }
  return parseQemuVersion(stdout);
}

export function isBefore(
  [major, minor]: QemuVersion,
  [otherMajor, otherMinor]: QemuVersion,
): boolean {
  return major < otherMajor || (major === otherMajor && minor < otherMinor);
}
