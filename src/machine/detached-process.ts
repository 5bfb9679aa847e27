/**
 * Processes that outlive whoever started them, and how they are told from strangers.
 *
 * A pid alone is no name: the kernel uses it again. So a process is remembered with the time it
 * started and the boot that time belongs to, and taken for ours only if all three agree. One that
 * was started by a process that was killed before it could write that down is found by a mark in
 * its environment.
 *
 * What it has started ends with it: User-mode Linux is many processes, in a session of their own.
 *
 * It reads /proc of processes of the same user; no signal is ever sent to anything else.
 *
 * Source: Linux proc(5), /proc/pid/stat and /proc/pid/environ.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

export interface ProcessRecord {
  readonly pid: number;
  /** When it started, in clock ticks since the boot. */
  readonly startTicks: number;
  readonly bootId: string;
}

export interface DetachedOptions {
  /** Gets what it writes to standard output and error; emptied first. */
  readonly log: string;
  readonly folder: string;
  /** See findMarked(). */
  readonly mark: string;
}

const markVariable = 'TSVSWITCH_LAB';
const lookPauseMs = 20;
/** How long a process may take to end after SIGTERM, and the kernel to end it after SIGKILL. */
const endLimitMs = 5000;
/** Linux USER_HZ, the same on every architecture that Node runs on. */
const ticksPerSecond = 100;

/**
 * Starts a program in a session of its own. Throws what spawn() throws if there is no such program.
 */
export async function startDetached(
  program: string,
  args: readonly string[],
  { log, folder, mark }: DetachedOptions,
): Promise<ProcessRecord> {
  const output = await open(log, 'w', 0o600);
  try {
    const child = spawn(program, args, {
      cwd: folder,
      detached: true,
      env: { ...process.env, [markVariable]: mark },
      stdio: ['ignore', output.fd, output.fd],
    });
    await once(child, 'spawn');
    child.unref();
    const pid = child.pid!;
    // One that has ended again already is a zombie until Node has heard of it, or nothing any more.
    return { pid, startTicks: statOf(pid)?.startTicks ?? 0, bootId: bootId() };
  } finally {
    await output.close();
  }
}

export function isAlive(record: ProcessRecord): boolean {
  return record.bootId === bootId() && statOf(record.pid)?.startTicks === record.startTicks;
}

export function thisProcess(): ProcessRecord {
  return { pid: process.pid, startTicks: statOf(process.pid)!.startTicks, bootId: bootId() };
}

/** Changes with every boot of this machine. */
export function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

/** How long it has been running. */
export function uptimeMs({ startTicks }: ProcessRecord): number {
  const sinceBootS = Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]);
  return Math.max(0, Math.round((sinceBootS - startTicks / ticksPerSecond) * 1000));
}

/** Whether it ended within the time. */
export async function ended(record: ProcessRecord, limitMs: number): Promise<boolean> {
  const giveUpMs = performance.now() + limitMs;
  while (isAlive(record)) {
    if (performance.now() > giveUpMs) return false;
    await sleep(lookPauseMs);
  }
  return true;
}

/**
 * Asks it to end, kills it if it does not, and returns when it is gone with all that it has
 * started.
 */
export async function end(record: ProcessRecord): Promise<void> {
  const started = isAlive(record) ? descendantsOf(record.pid) : [];
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    if (!isAlive(record)) break;
    kill(record.pid, signal);
    if (await ended(record, endLimitMs)) break;
  }
  // The sessions first: nobody can tell afterwards which they were.
  const sessions = started.flatMap((one) => (isAlive(one) ? (statOf(one.pid)?.session ?? []) : []));
  for (const session of new Set(sessions)) await endSession(session);
}

/** Kills every process of a session but that of this process, and returns when they are gone. */
export async function endSession(session: number): Promise<void> {
  if (session === statOf(process.pid)?.session) return;
  const giveUpMs = performance.now() + endLimitMs;
  const members = () => pidsOfAll().filter((pid) => statOf(pid)?.session === session);
  for (let left = members(); left.length > 0; left = members()) {
    for (const pid of left) kill(pid, 'SIGKILL');
    if (performance.now() > giveUpMs) return;
    await sleep(lookPauseMs);
  }
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It ended in between.
  }
}

/** What a process has started and what that has, by their parents; itself is not among them. */
export function descendantsOf(pid: number): ProcessRecord[] {
  const all = pidsOfAll().flatMap((one) => {
    const stat = statOf(one);
    return stat === undefined ? [] : [{ pid: one, ...stat }];
  });
  const found = new Set([pid]);
  for (let before = 0; before < found.size; ) {
    before = found.size;
    for (const { pid: one, parent } of all) if (found.has(parent)) found.add(one);
  }
  found.delete(pid);
  const boot = bootId();
  return all.flatMap(({ pid: one, startTicks }) =>
    found.has(one) ? [{ pid: one, startTicks, bootId: boot }] : [],
  );
}

function pidsOfAll(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

/** Nothing of a process that belongs to somebody else, or has ended. */
function environmentOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
  } catch {
    return [];
  }
}

/** The running processes that were started with this mark, and their children. */
export function findMarked(mark: string): ProcessRecord[] {
  return marked()
    .filter((found) => found.mark === mark)
    .map((found) => found.process);
}

/**
 * The mark of a running process that was started with another one than `mark`, and with a path
 * below `folder` in its arguments; undefined if there is none.
 */
export function otherMark(mark: string, folder: string): string | undefined {
  return marked().find((found) => found.mark !== mark && found.words.includes(`${folder}/`))?.mark;
}

interface Marked {
  readonly mark: string;
  /** Its arguments, one string. */
  readonly words: string;
  readonly process: ProcessRecord;
}

function marked(): Marked[] {
  const prefix = `${markVariable}=`;
  return pidsOfAll().flatMap((pid) => {
    try {
      const mark = environmentOf(pid)
        .find((entry) => entry.startsWith(prefix))
        ?.slice(prefix.length);
      const stat = statOf(pid);
      if (pid === process.pid || stat === undefined || mark === undefined) return [];
      const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      return [{ mark, words, process: { pid, startTicks: stat.startTicks, bootId: bootId() } }];
    } catch {
      // It has ended.
      return [];
    }
  });
}

/** undefined if there is no such process, or nothing is left of it but its exit status. */
function statOf(
  pid: number,
): { readonly parent: number; readonly session: number; readonly startTicks: number } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The second field is the program's name in parentheses, with whatever is in it.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    if (fields[0] === 'Z' || fields[0] === 'X') return undefined;
    return {
      parent: Number(fields[1]),
      session: Number(fields[3]),
      startTicks: Number(fields[19]),
    };
  } catch {
    return undefined;
  }
}
