/**
 * The cache folder: what is worth keeping between runs and can always be made again.
 *
 * An entry is a folder with a versioned name. It is filled as NAME.partial and renamed when
 * complete, so a reader never sees half an entry. Who fills it holds a lock, so a second process
 * that wants the same entry waits and then finds it there; what lies in NAME.partial before that
 * was left by one that died. Nothing here is ever needed for correctness: the whole folder may be
 * deleted at any time between runs.
 */

import { existsSync } from 'node:fs';
import { mkdir, rename, rm, rmdir, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { failure } from '../model/errors.ts';
import { type LockOptions, withCacheLock } from './cache-lock.ts';

/** $XDG_CACHE_HOME/tsvswitch, or ~/.cache/tsvswitch (XDG Base Directory Specification). */
export function cacheFolder(environment: NodeJS.ProcessEnv = process.env): string {
  const base = environment.XDG_CACHE_HOME;
  // The specification says to ignore a relative value.
  return base?.startsWith('/')
    ? join(base, 'tsvswitch')
    : join(environment.HOME || homedir(), '.cache', 'tsvswitch');
}

export interface FillOptions extends LockOptions {
  /** Whether the next `fill` finds what one that failed left in its folder; gone otherwise. */
  readonly resume?: boolean;
}

/** The folder of entry `name`, made by `fill` if it is not there yet. */
export async function cachedFolder(
  name: string,
  fill: (folder: string) => Promise<void>,
  { resume = false, ...lockOptions }: FillOptions = {},
): Promise<string> {
  const root = cacheFolder();
  const entry = join(root, name);
  if (existsSync(entry)) return entry;
  const partial = `${entry}.partial`;
  const lock = join(root, `.${name}.lock`);
  const discard = () => rm(partial, { recursive: true, force: true });
  try {
    await makeFolder(root);
    await writeFile(lock, '');
    await withCacheLock(lock, lockOptions, async () => {
      if (existsSync(entry)) return;
      if (!resume) await discard();
      await mkdir(partial, { recursive: true });
      try {
        await fill(partial);
        await rename(partial, entry);
      } catch (error) {
        // An empty folder is nothing to resume from.
        await (resume ? rmdir(partial).catch(() => {}) : discard());
        throw error;
      }
    });
  } catch (error) {
    throw explained(error as NodeJS.ErrnoException, root);
  }
  return entry;
}

/**
 * mkdir with parents, whose failure tells the reason: Node's own says ENOENT on a read-only file
 * system.
 */
async function makeFolder(path: string): Promise<void> {
  const make = () =>
    mkdir(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
  await make().catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT' || dirname(path) === path) throw error;
    await makeFolder(dirname(path));
    await make();
  });
}

/** Says what to do about a full or unwritable cache; other errors stay as they are. */
function explained(error: NodeJS.ErrnoException, root: string): Error {
  const mending = 'or set XDG_CACHE_HOME to a folder elsewhere';
  if (error.code === 'ENOSPC' || error.code === 'EDQUOT') {
    return failure('cache-full', { root, remedy: mending }, { cause: error });
  }
  // What fails elsewhere, such as reading a program, is no fault of the cache.
  const { path = '' } = error;
  if (path.startsWith(root) || (error.syscall === 'mkdir' && root.startsWith(path))) {
    return failure(
      'cache-unusable',
      { root, cause: error.message, remedy: mending },
      { cause: error },
    );
  }
  return error;
}
