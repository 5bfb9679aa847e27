/**
 * The command `tsvswitch` as a process of its own, run from dist/ as its users run it.
 *
 * start() returns once it has said of every socket that it listens there. SWITCH_ENVIRONMENT, a
 * JSON object, adds to its environment (scripts/sanitized.mjs). Each process has a time limit, and
 * a test that may fail in between calls killAll() afterwards, so that none outlives it.
 */

import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';

export const script = resolve('dist/cli/main.js');
const limitMs = 240_000;

export interface Exit {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  /** Run as this user and group, which only root may ask for. */
  readonly uid?: number;
  readonly gid?: number;
  /** In place of the command itself. */
  readonly script?: string;
  /** In place of 240 s. */
  readonly limitMs?: number;
  /** Beside this process's own environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Given to it as a service manager does (sd_listen_fds(3)). */
  readonly given?: readonly { readonly fd: number; readonly name: string }[];
}

/** The number of the process is known to itself alone before it runs anything. */
const giveSockets = 'export LISTEN_PID=$$; exec "$@"';

export class Command {
  static readonly #running = new Set<Command>();
  readonly exited: Promise<Exit>;
  readonly #process: ChildProcess;
  #stdout = '';
  #stderr = '';
  #onOutput: () => void = () => {};

  private constructor(args: readonly string[], options: CommandOptions) {
    if (!existsSync(script))
      throw new Error(`${script} is missing; run \`npm run build:ts\` first`);
    const { limitMs: limit = limitMs, env: more = {}, given = [], ...rest } = options;
    const { script: path = script, ...identity } = rest;
    const env = {
      ...process.env,
      ...JSON.parse(process.env.SWITCH_ENVIRONMENT ?? '{}'),
      ...(given.length === 0 ? {} : { LISTEN_FDS: `${given.length}` }),
      ...(given.length === 0 ? {} : { LISTEN_FDNAMES: given.map(({ name }) => name).join(':') }),
      ...more,
    };
    const stdio: SpawnOptions['stdio'] = ['ignore', 'pipe', 'pipe', ...given.map(({ fd }) => fd)];
    const line = [process.execPath, path, ...args];
    const [program, ...words] =
      given.length === 0 ? line : ['sh', '-c', giveSockets, 'sh', ...line];
    this.#process = spawn(program!, words, { stdio, env, ...identity });
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), limit);
    this.#process.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout += text;
      this.#onOutput();
    });
    this.#process.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
    });
    Command.#running.add(this);
    this.exited = new Promise((resolve, reject) => {
      this.#process.once('error', reject);
      // 'close' and not 'exit': everything it said has been read.
      this.#process.once('close', (status, signal) => {
        clearTimeout(timer);
        Command.#running.delete(this);
        this.#onOutput();
        resolve({ status, signal, stdout: this.#stdout, stderr: this.#stderr });
      });
    });
  }

  /** Starts it; it has said nothing yet. */
  static begin(args: readonly string[], options: CommandOptions = {}): Command {
    return new Command(args, options);
  }

  /** Runs it to its end. */
  static run(args: readonly string[], options: CommandOptions = {}): Promise<Exit> {
    return new Command(args, options).exited;
  }

  /** Starts a switch and returns once all its sockets listen. */
  static async start(
    sockets: readonly string[],
    args: readonly string[] = [],
    options: CommandOptions = {},
  ): Promise<Command> {
    const command = new Command(
      [...sockets.flatMap((path) => ['--socket', path]), ...args],
      options,
    );
    for (const path of sockets) await command.said(`listening on ${path}`);
    return command;
  }

  /** Ends every one that still runs. */
  static async killAll(): Promise<void> {
    for (const command of [...Command.#running]) await command.stop('SIGKILL');
  }

  get pid(): number {
    return this.#process.pid!;
  }

  get stdout(): string {
    return this.#stdout;
  }

  /** Returns once it has written `text` so often; throws if it ends without. */
  async said(text: string, count = 1): Promise<void> {
    let ended: Exit | undefined;
    const exited = this.exited.then((exit) => {
      ended = exit;
    });
    while (this.timesSaid(text) < count) {
      if (ended !== undefined) {
        throw new Error(`it ended without saying "${text}": ${JSON.stringify(ended)}`);
      }
      const output = new Promise<void>((resolve) => {
        this.#onOutput = resolve;
      });
      await Promise.race([output, exited]);
    }
  }

  timesSaid(text: string): number {
    return this.#stdout.split(text).length - 1;
  }

  /** Closes the pipe it writes its log to, as a reader does that has seen enough. */
  stopReading(): void {
    this.#process.stdout!.destroy();
  }

  /** Ends it with a signal and waits until it has. */
  stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Exit> {
    this.#process.kill(signal);
    return this.exited;
  }
}
