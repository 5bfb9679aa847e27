/**
 * One change of a lab at a time, over all processes of a user.
 *
 * Whoever wants to change a lab makes a file whose name says who it is, and then looks at the
 * others'. If the owner of one is running, it takes its own away again and the lab is busy; files
 * of processes that are gone are removed. Since everyone makes its file before it looks, of two at
 * least one sees the other. Nothing has to be cleaned up after a process that was killed.
 */

import { mkdir, open, readdir, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isAlive, type ProcessRecord, thisProcess } from '../machine/detached-process.ts';
import { failure } from '../model/errors.ts';
import { stateUnusable } from './state.ts';

/** Two that came at once have both gone back: they try again after unequal pauses. */
const triesMax = 4;
const pauseMaxMs = 60;

/**
 * Runs `change` while nobody else changes `folder`. Throws LAB_BUSY if somebody does already,
 * LAB_STATE_UNUSABLE.
 */
export async function withLock<T>(
  name: string,
  folder: string,
  change: () => Promise<T>,
): Promise<T> {
  const lock = await acquire(name, folder);
  try {
    return await change();
  } finally {
    await rm(lock, { force: true });
  }
}

async function acquire(name: string, folder: string): Promise<string> {
  // Beside the folder: it may be removed under the lock.
  const prefix = `${basename(folder)}.lock.`;
  const own = join(dirname(folder), prefix + nameOf(thisProcess()));
  await mkdir(dirname(folder), { recursive: true, mode: 0o700 }).catch((error) => {
    throw stateUnusable(dirname(folder), error);
  });
  let holder: ProcessRecord | undefined;
  for (let tries = 0; tries < triesMax; tries++) {
    if (tries > 0) await sleep(Math.random() * pauseMaxMs);
    const isFirst = await created(own);
    holder = isFirst ? await otherHolder(dirname(folder), prefix, own) : thisProcess();
    if (holder === undefined) return own;
    if (isFirst) await rm(own, { force: true });
  }
  throw failure('lab-busy', { name, pid: holder!.pid });
}

/** False if this process holds it already. */
async function created(path: string): Promise<boolean> {
  try {
    await (await open(path, 'wx', 0o600)).close();
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw stateUnusable(dirname(path), error);
  }
}

async function otherHolder(
  folder: string,
  prefix: string,
  own: string,
): Promise<ProcessRecord | undefined> {
  for (const entry of await readdir(folder)) {
    const path = join(folder, entry);
    if (!entry.startsWith(prefix) || path === own) continue;
    const holder = holderOf(entry.slice(prefix.length));
    if (isAlive(holder)) return holder;
    await rm(path, { force: true });
  }
  return undefined;
}

function nameOf({ pid, startTicks, bootId }: ProcessRecord): string {
  return [pid, startTicks, bootId].join('.');
}

function holderOf(name: string): ProcessRecord {
  const [pid, startTicks, bootId] = name.split('.');
  return { pid: Number(pid), startTicks: Number(startTicks), bootId: bootId ?? '' };
}
