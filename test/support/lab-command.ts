/**
 * A folder with a lab file in it, and `tsvswitch lab` run there as its users run it: from dist/,
 * with state and sockets in folders of its own.
 *
 * dispose() takes the lab down and then kills what is left by process id, so that no test leaves a
 * machine behind; leftovers() is for the tests that say that nothing is.
 */

import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa, type Options, type ResultPromise } from 'execa';
import { script } from './command.ts';

export interface LabExit {
  readonly status: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

const limitMs = 600_000;

/** A command that runs, with what it has written so far. */
export class LabProcess {
  readonly exited: Promise<LabExit>;
  readonly #process: ResultPromise;
  #text = '';

  constructor(program: string, args: readonly string[], options: Options) {
    this.#process = execa(program, args, options);
    this.#process.stdout?.on('data', (bytes: Buffer) => {
      this.#text += bytes;
    });
    this.exited = this.#process.then(({ exitCode, stdout, stderr }) => ({
      status: exitCode,
      stdout: String(stdout),
      stderr: String(stderr),
    }));
  }

  /** Returns once it has written `text`; throws if it ends without. */
  async said(text: string): Promise<void> {
    const ended = this.exited.then((exit) => {
      if (!this.#text.includes(text))
        throw new Error(`never said ${text}: ${JSON.stringify(exit)}`);
    });
    while (!this.#text.includes(text)) {
      await Promise.race([once(this.#process.stdout!, 'data'), ended]);
    }
    ended.catch(() => {});
  }

  type(text: string): void {
    this.#process.stdin!.write(text);
  }

  stop(signal: NodeJS.Signals): Promise<LabExit> {
    this.#process.kill(signal);
    return this.exited;
  }
}

export class LabFolder {
  readonly path: string;
  readonly environment: Record<string, string>;

  private constructor(path: string) {
    this.path = path;
    this.environment = {
      XDG_STATE_HOME: join(path, 'state'),
      XDG_RUNTIME_DIR: join(path, 'run'),
    };
  }

  /** With `yaml` as its lab.yaml, if there is one. */
  static async make(yaml?: string): Promise<LabFolder> {
    // Short: sockets lie below it.
    const folder = new LabFolder(await mkdtemp(join(tmpdir(), 'lab-')));
    await mkdir(folder.environment.XDG_RUNTIME_DIR!);
    if (yaml !== undefined) await folder.write(yaml);
    return folder;
  }

  write(yaml: string, name = 'lab.yaml'): Promise<void> {
    return writeFile(join(this.path, name), yaml);
  }

  start(args: readonly string[], options: Options = {}): LabProcess {
    return new LabProcess(process.execPath, [script, 'lab', ...args], this.#options(options));
  }

  run(args: readonly string[], options: Options = {}): Promise<LabExit> {
    return this.start(args, options).exited;
  }

  /** In a terminal, where standard error is part of the output. */
  startInTerminal(args: readonly string[]): LabProcess {
    const words = [process.execPath, script, 'lab', ...args].map((word) => `'${word}'`);
    const line = `stty rows 30 cols 100 && exec ${words.join(' ')}`;
    const options = this.#options({ stdin: 'pipe' });
    return new LabProcess(
      'script',
      ['--quiet', '--return', '--command', line, '/dev/null'],
      options,
    );
  }

  /** What of the lab is still in the process table or in a folder it keeps sockets and state in. */
  leftovers(): string[] {
    const folders = [this.environment.XDG_STATE_HOME!, this.environment.XDG_RUNTIME_DIR!];
    return [...this.#processes().map(({ words }) => words), ...folders.flatMap(entriesBelow)];
  }

  async dispose(): Promise<void> {
    if (this.leftovers().length > 0) await this.run(['down', '--destroy']);
    for (const { pid } of this.#processes()) process.kill(pid, 'SIGKILL');
    await rm(this.path, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }

  #options(options: Options) {
    return {
      cwd: this.path,
      env: this.environment,
      reject: false,
      timeout: limitMs,
      ...('input' in options ? {} : { stdin: 'ignore' as const }),
      ...options,
    };
  }

  /** Everything that was given a file of this folder, or started here. */
  #processes(): { pid: number; words: string }[] {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
      .flatMap((name) => {
        try {
          const words = readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ');
          return words.includes(this.path) ? [{ pid: Number(name), words }] : [];
        } catch {
          // It ended while we looked.
          return [];
        }
      });
  }
}

/** Files and sockets; the empty folders above a lab's own are not its own. */
function entriesBelow(folder: string): string[] {
  try {
    return readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => !entry.isDirectory())
      .map((entry) => join(entry.parentPath, entry.name));
  } catch {
    return [];
  }
}
