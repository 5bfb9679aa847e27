/**
 * The plan of a lab's file, kept in the cache until the file changes.
 *
 * Reading YAML and checking it against the schema takes longer than Node itself takes to start, and
 * `status`, `ssh` and `exec` are asked for often. A plan follows from the file's bytes and path
 * alone, so what was made of the same bytes by the same program is as good as made anew. Whatever
 * is odd about what was kept, or about the cache, means that the file is read again: complaints are
 * always those of lab-file.ts.
 *
 * Sources, as they run in tests, keep nothing: another edit would find the plans of the last one.
 */

import { createHash, randomUUID } from 'node:crypto';
import { mkdir, readFile, realpath, rename, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { deserialize, serialize } from 'node:v8';
import { cacheFolder } from '../../machine/cache.ts';
import { version } from '../../runtime/version.ts';
import type { LabPlan } from './plan.ts';

/** The file of a lab has a password in it. */
const fileMode = 0o600;
const folderMode = 0o700;
/** More than lab-file.ts reads. */
const fileBytesMax = 2 ** 16;

interface Kept {
  readonly key: string;
  readonly plan: LabPlan;
}

/** Throws what readLabFile() throws. */
export async function planOfFile(path: string): Promise<LabPlan> {
  const before = await placeOf(path);
  const kept = before && (await read(before.keptAt));
  if (kept !== undefined && kept.key === before!.key) return kept.plan;
  const { readLabFile } = await import('./lab-file.ts');
  const plan = await readLabFile(path);
  // Somebody may have written into the file meanwhile.
  const after = before && (await placeOf(path));
  if (after !== undefined && after.key === before!.key)
    await keep(after.keptAt, { key: after.key, plan });
  return plan;
}

/** Where a file's plan is kept, and what it has to be of. Undefined if nothing is kept. */
async function placeOf(path: string): Promise<{ keptAt: string; key: string } | undefined> {
  const program = fileURLToPath(import.meta.url);
  if (!program.endsWith('.js')) return undefined;
  try {
    const [file, { mtimeMs }, found] = await Promise.all([
      realpath(path),
      stat(program),
      stat(path),
    ]);
    // A pipe can be read only once.
    if (!found.isFile() || found.size > fileBytesMax) return undefined;
    const key = createHash('sha256')
      // The program and its version; builds in a clone differ only in when they were made.
      .update([program, version, mtimeMs, process.version, file, ''].join('\0'))
      .update(await readFile(path))
      .digest('hex');
    const name = createHash('sha256').update(file).digest('hex').slice(0, 16);
    return { keptAt: join(cacheFolder(), 'plans', name), key };
  } catch {
    return undefined;
  }
}

async function read(keptAt: string): Promise<Kept | undefined> {
  try {
    return deserialize(await readFile(keptAt));
  } catch {
    return undefined;
  }
}

async function keep(keptAt: string, kept: Kept): Promise<void> {
  const partial = `${keptAt}.${randomUUID()}`;
  try {
    await mkdir(dirname(keptAt), { recursive: true, mode: folderMode });
    await writeFile(partial, serialize(kept), { mode: fileMode });
    await rename(partial, keptAt);
  } catch {
    // A cache that cannot be written is none.
  }
}
