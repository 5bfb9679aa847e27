/**
 * A switch as a process of its own, started as an operator would start it.
 *
 * It counts as up when it has said `listening` and every socket is there. All it logs is kept, line
 * by line. Asked to end, it prints its counters; what it says from then on is what stop() returns.
 */

import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { execa, type ResultPromise } from 'execa';
import { TsvswitchError } from '../errors.ts';

export interface SwitchStartOptions {
  /** The main script of the command. */
  readonly script: string;
  readonly sockets: readonly string[];
  readonly extraArguments?: readonly string[];
  readonly limitMs: number;
  /** Gives up waiting for the switch to come up. */
  readonly signal?: AbortSignal;
}

const processOptions = {
  stdin: 'ignore',
  all: true,
  reject: false,
  buffer: false,
  // How long it may take to end after SIGTERM before it is killed.
  forceKillAfterDelay: 5000,
} as const;

export class SwitchProcess {
  /** Everything it has logged so far. */
  readonly lines: string[] = [];
  readonly #process: ResultPromise<typeof processOptions>;
  readonly #allRead: Promise<void>;
  #noticed: () => void = () => {};

  private constructor(process: ResultPromise<typeof processOptions>) {
    this.#process = process;
    const lines = createInterface({ input: process.all });
    lines.on('line', (line) => {
      this.lines.push(line);
      this.#noticed();
    });
    this.#allRead = new Promise((resolve) => lines.once('close', resolve));
  }

  static async start(options: SwitchStartOptions): Promise<SwitchProcess> {
    const sockets = options.sockets.flatMap((socket) => ['--socket', socket]);
    const child = execa(
      process.execPath,
      [options.script, ...sockets, ...(options.extraArguments ?? [])],
      processOptions,
    );
    const started = new SwitchProcess(child);
    try {
      await started.#listening(options);
    } catch (error) {
      await started.stop();
      throw error;
    }
    return started;
  }

  get pid(): number {
    return this.#process.pid!;
  }

  /** The last `count` lines it logged. */
  tail(count: number): string {
    return this.lines.slice(-count).join('\n');
  }

  /** Asks it to end, waits until it has, and returns what it said meanwhile. */
  async stop(): Promise<string[]> {
    const saidBefore = this.lines.length;
    this.#process.kill('SIGTERM');
    await this.#ended();
    return this.lines.slice(saidBefore);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #ended(): Promise<{ exitCode?: number; signal?: string }> {
    const [result] = await Promise.all([this.#process, this.#allRead]);
    return result;
  }

  async #listening({ sockets, limitMs, signal }: SwitchStartOptions): Promise<void> {
    const up = () =>
      this.lines.some((line) => line.includes('listening')) &&
      sockets.every((path) => existsSync(path));
    const noticed = new Promise<void>((resolve) => {
      this.#noticed = () => {
        if (up()) resolve();
      };
    });
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      const message = `the switch does not listen within ${limitMs / 1000} s`;
      timer = setTimeout(() => reject(this.#failure(message)), limitMs);
    });
    const abandoned = new Promise<never>((_, reject) => {
      const giveUp = () => reject(signal?.reason);
      if (signal?.aborted) giveUp();
      signal?.addEventListener('abort', giveUp, { once: true });
    });
    const ended = this.#ended().then(({ exitCode, signal }) => {
      throw this.#failure(`the switch ended with ${signal ?? `status ${exitCode}`}`);
    });
    try {
      await Promise.race([noticed, late, ended, abandoned]);
    } finally {
      clearTimeout(timer);
    }
  }

  #failure(message: string): TsvswitchError {
    const said = this.tail(10);
    return new TsvswitchError('SWITCH_FAILED', said === '' ? message : `${message}:\n${said}`);
  }
}
