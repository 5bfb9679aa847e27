/**
 * The cache folder: what is worth keeping between runs and can always be made again.
 *
 * An entry is a folder with a versioned name. It is filled under a temporary name beside its final
 * one and renamed when complete, so a reader never sees half an entry and two processes that make
 * the same entry at once both end up with a whole one. Nothing here is ever needed for correctness:
 * the whole folder may be deleted at any time between runs.
 */

import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** $XDG_CACHE_HOME/tsvswitch, or ~/.cache/tsvswitch (XDG Base Directory Specification). */
export function cacheFolder(environment: NodeJS.ProcessEnv = process.env): string {
  const base = environment.XDG_CACHE_HOME;
  // The specification says to ignore a relative value.
  return base?.startsWith('/')
    ? join(base, 'tsvswitch')
    : join(environment.HOME || homedir(), '.cache', 'tsvswitch');
}

/** The folder of entry `name`, made by `fill` if it is not there yet. */
export async function cachedFolder(
  name: string,
  fill: (folder: string) => Promise<void>,
  root: string = cacheFolder(),
): Promise<string> {
  const entry = join(root, name);
  if (existsSync(entry)) return entry;
  const partial = `${entry}.${randomBytes(6).toString('hex')}.partial`;
  await mkdir(partial, { recursive: true });
  try {
    await fill(partial);
    await rename(partial, entry);
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    // Someone else may have finished the same entry first; then rename finds it in its way.
    if (!existsSync(entry)) throw error;
  }
  return entry;
}
