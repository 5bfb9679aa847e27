/**
 * A switch as a process of its own, started as an operator would start it.
 *
 * It logs in JSON, and all it logs is kept. It counts as up when it has said of every socket that
 * it listens there. Asked to end, it logs the counters of its ports.
 */

import '../runtime/dispose.ts';
import { createInterface } from 'node:readline';
import { execa, type ResultPromise } from 'execa';
import { failure } from '../model/errors.ts';

export interface SwitchStartOptions {
  /** The main script of the command. */
  readonly script: string;
  readonly sockets: readonly string[];
  /** Of each of them, as behind the path of `--socket`, such as `in-band=on`. */
  readonly portOptions?: string;
  readonly extraArguments?: readonly string[];
  readonly limitMs: number;
  /** Gives up waiting for the switch to come up. */
  readonly signal?: AbortSignal;
}

/** One line of the switch's log. */
export interface LogEntry {
  /** What kind of thing happened; `output` for a line that is not one of the log. */
  readonly event: string;
  readonly message: string;
  /** Fields that belong to the kind of event. */
  readonly [field: string]: unknown;
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
  readonly log: LogEntry[] = [];
  readonly #process: ResultPromise<typeof processOptions>;
  readonly #allRead: Promise<void>;
  #noticed: () => void = () => {};

  private constructor(process: ResultPromise<typeof processOptions>) {
    this.#process = process;
    const lines = createInterface({ input: process.all });
    lines.on('line', (line) => {
      this.log.push(logEntry(line));
      this.#noticed();
    });
    this.#allRead = new Promise((resolve) => lines.once('close', resolve));
  }

  static async start(options: SwitchStartOptions): Promise<SwitchProcess> {
    const behind = options.portOptions === undefined ? '' : `,${options.portOptions}`;
    const sockets = options.sockets.flatMap((socket) => ['--socket', `${socket}${behind}`]);
    const child = execa(
      process.execPath,
      [options.script, ...sockets, '--log-format', 'json', ...(options.extraArguments ?? [])],
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

  /** What it said about events of one kind, oldest first. */
  messages(event: string): string[] {
    return this.log.filter((entry) => entry.event === event).map(({ message }) => message);
  }

  /** The last `count` things it said. */
  tail(count: number): string {
    return this.log
      .slice(-count)
      .map(({ message }) => message)
      .join('\n');
  }

  /** Resolves when it has ended, with the signal or status that it ended with. */
  get ended(): Promise<string> {
    return this.#ended().then(({ exitCode, signal }) => signal ?? `status ${exitCode}`);
  }

  /** Asks it to end, or kills it, and waits until it has ended. May be called again. */
  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    this.#process.kill(signal);
    await this.#ended();
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
      sockets.every((path) =>
        this.log.some((entry) => entry.event === 'listening' && entry.path === path),
      );
    const noticed = new Promise<void>((resolve) => {
      this.#noticed = () => {
        if (up()) resolve();
      };
    });
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      const seconds = limitMs / 1000;
      const giveUp = () => reject(failure('switch-not-listening', { seconds, said: this.#said }));
      timer = setTimeout(giveUp, limitMs);
    });
    const abandoned = new Promise<never>((_, reject) => {
      const giveUp = () => reject(signal?.reason);
      if (signal?.aborted) giveUp();
      signal?.addEventListener('abort', giveUp, { once: true });
    });
    const ended = this.ended.then((how) => {
      throw failure('switch-ended', { how, said: this.#said });
    });
    try {
      await Promise.race([noticed, late, ended, abandoned]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** What goes behind a sentence: its last lines, if there are any. */
  get #said(): string {
    const said = this.tail(10);
    return said === '' ? '' : `:\n${said}`;
  }
}

function logEntry(line: string): LogEntry {
  try {
    const entry: unknown = JSON.parse(line);
    if (typeof entry === 'object' && entry !== null && 'event' in entry && 'message' in entry) {
      return entry as LogEntry;
    }
  } catch {
    // Not of the log: the last words of a process that crashed, say.
  }
  return { event: 'output', message: line };
}
