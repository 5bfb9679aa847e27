/**
 * A lock that makes others wait, and cannot be left behind: who wants the same cache entry is
 * better served by waiting than by an error.
 *
 * It is flock(2) on a file, held by a child process that ends when its standard input does: however
 * this process ends, the kernel closes the pipe, the child ends, and the lock is free. The file
 * stays: taking it away would let two processes lock two files of the same name.
 *
 * Source: flock(1) of util-linux, or of busybox.
 */

import { once } from 'node:events';
import { failure } from '../model/errors.ts';

export interface LockOptions {
  /** Called once if another process holds the lock. */
  readonly waiting?: (() => void) | undefined;
  /** Ends the wait for the lock. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Runs `work` while nobody else, in this process or another, holds the lock on `file`, which is
 * there.
 */
export async function withCacheLock<T>(
  file: string,
  { waiting, signal }: LockOptions,
  work: () => Promise<T>,
): Promise<T> {
  let unlock = await take(file, ['-n'], signal);
  if (unlock === undefined) {
    waiting?.();
    unlock = await take(file, [], signal);
  }
  try {
    return await work();
  } finally {
    await unlock?.();
  }
}

/** What flock ends with when it may not wait. */
const heldByAnother = 1;

/** Returns what gives the lock up; undefined if another process holds it. */
async function take(
  file: string,
  options: readonly string[],
  signal: AbortSignal | undefined,
): Promise<(() => Promise<void>) | undefined> {
  const { execa } = await import('execa');
  signal?.throwIfAborted();
  const child = execa('flock', [...options, file, 'sh', '-c', 'echo locked; exec cat'], {
    reject: false,
  });
  const abandon = () => child.kill();
  signal?.addEventListener('abort', abandon);
  try {
    if (await Promise.race([once(child.stdout, 'data'), child.then(() => undefined)])) {
      return async () => {
        child.stdin.end();
        await child;
      };
    }
  } finally {
    signal?.removeEventListener('abort', abandon);
  }
  signal?.throwIfAborted();
  const { exitCode, code, stderr, shortMessage } = await child;
  if (exitCode === heldByAnother) return undefined;
  if (code === 'ENOENT') {
    throw failure('flock-missing');
  }
  throw failure('lock-failed', { file, cause: stderr || shortMessage || '' });
}
