/**
 * Child processes of the benchmark: started with a log file, and ended by their own process ids.
 *
 * Every wait is bounded. Whatever still runs when the benchmark itself ends, however it ends, is
 * killed then, so that no polling switch is left behind on a core.
 */

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const termLimitMs = 5_000;
const killLimitMs = 5_000;
const logTailLines = 5;

const living = new Set<ChildProcess>();
/** By process id: children that have ended. */
const exits = new Map<number, Exit>();

process.once('exit', () => {
  for (const child of living) child.kill('SIGKILL');
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => process.exit(signal === 'SIGINT' ? 130 : 143));
}

/** How a process ended: one of the two is null. */
export interface Exit {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** How the child process of this id ended; undefined while it runs. */
export function exitOf(pid: number): Exit | undefined {
  return exits.get(pid);
}

export interface SpawnOptions {
  readonly logFile: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

export class Child {
  readonly pid: number;
  readonly #process: ChildProcess;
  readonly #name: string;
  readonly #logFile: string;

  constructor(program: string, args: readonly string[], { logFile, env, cwd }: SpawnOptions) {
    const log = openSync(logFile, 'a');
    // Standard input stays open and silent: programs with a prompt end when it ends.
    this.#process = spawn(program, args, {
      stdio: ['pipe', log, log],
      env: { ...process.env, ...env },
      ...(cwd === undefined ? {} : { cwd }),
    });
    closeSync(log);
    this.#name = program;
    this.#logFile = logFile;
    const child = this.#process;
    child.on('error', () => living.delete(child));
    child.once('exit', (status, signal) => {
      living.delete(child);
      exits.set(this.pid, { status, signal });
    });
    // Writing to a program that has ended already is no error of ours.
    child.stdin?.on('error', () => {});
    if (child.pid === undefined) throw new Error(`${program} cannot be started`);
    living.add(child);
    this.pid = child.pid;
    exits.delete(child.pid);
  }

  get running(): boolean {
    return this.#process.exitCode === null && this.#process.signalCode === null;
  }

  /** All that it wrote so far. */
  get log(): string {
    return readFileSync(this.#logFile, 'utf8');
  }

  /** The last lines it wrote, for a sentence about what went wrong. */
  get logTail(): string {
    return this.log.trimEnd().split('\n').slice(-logTailLines).join('\n');
  }

  /** Writes to its standard input. */
  type(text: string): void {
    this.#process.stdin?.write(text);
  }

  /** Waits until `ready()`; throws if the process ends or `limitMs` pass before. */
  async until(what: string, ready: () => boolean, limitMs: number): Promise<void> {
    const deadline = performance.now() + limitMs;
    while (!ready()) {
      if (!this.running) throw new Error(`${this.#name} ended before ${what}:\n${this.logTail}`);
      if (performance.now() > deadline) {
        throw new Error(`${this.#name}: no ${what} within ${limitMs} ms:\n${this.logTail}`);
      }
      await sleep(1);
    }
  }

  /** Asks it to end with SIGTERM, and kills it if it does not. */
  async stop(): Promise<void> {
    if (!this.running) return;
    this.#process.kill('SIGTERM');
    if (await this.#ended(termLimitMs)) return;
    this.#process.kill('SIGKILL');
    if (!(await this.#ended(killLimitMs))) {
      throw new Error(`${this.#name} (process ${this.pid}) survives SIGKILL`);
    }
  }

  async #ended(limitMs: number): Promise<boolean> {
    const deadline = performance.now() + limitMs;
    while (this.running && performance.now() < deadline) await sleep(5);
    return !this.running;
  }
}

/** Child processes that end together, the newest first. */
export class Children {
  readonly #children: Child[] = [];

  start(program: string, args: readonly string[], options: SpawnOptions): Child {
    const child = new Child(program, args, options);
    this.#children.push(child);
    return child;
  }

  async stop(): Promise<void> {
    for (const child of this.#children.toReversed()) await child.stop();
  }
}

export interface CommandOptions {
  readonly limitMs: number;
  readonly env?: Readonly<Record<string, string>>;
}

const runFile = promisify(execFile);

/** Runs a program to its end and returns what it wrote; throws with its stderr if it fails. */
export async function run(
  program: string,
  args: readonly string[],
  { limitMs, env }: CommandOptions,
): Promise<string> {
  try {
    const { stdout } = await runFile(program, [...args], {
      timeout: limitMs,
      killSignal: 'SIGKILL',
      env: { ...process.env, ...env },
    });
    return stdout;
  } catch (cause) {
    const { stderr, killed, message } = cause as Error & { stderr?: string; killed?: boolean };
    const said = stderr?.trim() || message;
    throw new Error(killed ? `${program} took more than ${limitMs} ms: ${said}` : said, { cause });
  }
}
