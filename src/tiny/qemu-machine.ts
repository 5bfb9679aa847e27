/**
 * A running virtual machine: the QEMU process, its guest's shell and its console log.
 *
 * Everything a machine leaves in the file system lies in the folder it is given, and QEMU is
 * stopped by its own process id. A machine that ends by itself fails whatever is being waited for
 * in its guest. A guest may reset itself; the machine stays the same.
 *
 * What it does not do: choose names, addresses or accelerators (the caller's), or outlive the
 * process that started it.
 */

import '../runtime/dispose.ts';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa, type ResultPromise } from 'execa';
import { type MachineOptions, qemuArguments, qemuProgram } from '../machine/qemu.ts';
import { failure } from '../model/errors.ts';
import { GuestShell } from './shell.ts';

/** How long QEMU may take to end after SIGTERM before it is killed. */
const stopLimitMs = 5000;

export interface StartOptions
  extends Omit<MachineOptions, 'consoleSocket' | 'consoleLog' | 'controlSocket'> {
  /** Where the sockets and the log go; short, as a unix socket path holds 107 bytes. */
  readonly folder: string;
  readonly signal?: AbortSignal;
}

export class Machine {
  readonly name: string;
  readonly consoleSocket: string;
  readonly consoleLog: string;
  readonly shell: GuestShell;
  /** Resolves when QEMU has ended, for whatever reason, with that reason. */
  readonly ended: Promise<Error>;
  readonly #process: ResultPromise<typeof processOptions>;

  private constructor(
    options: MachineOptions,
    process: ResultPromise<typeof processOptions>,
    ended: Promise<Error>,
    shell: GuestShell,
  ) {
    this.name = options.name;
    this.consoleSocket = options.consoleSocket;
    this.consoleLog = options.consoleLog;
    this.ended = ended;
    this.shell = shell;
    this.#process = process;
  }

  /** Starts QEMU; the guest begins to boot. `shell.ready()` says when it has. */
  static async start({ folder, signal, ...rest }: StartOptions): Promise<Machine> {
    const controlSocket = join(folder, `${rest.name}.control`);
    const options: MachineOptions = {
      ...rest,
      consoleSocket: join(folder, `${rest.name}.console`),
      consoleLog: join(folder, `${rest.name}.log`),
      controlSocket,
    };
    const process = execa(qemuProgram, qemuArguments(options), processOptions);
    const ended = process.then((result) => endOf(options.name, result));
    const abandoned = new AbortController();
    const connection = GuestShell.connect(
      options.name,
      controlSocket,
      ended,
      AbortSignal.any([abandoned.signal, ...(signal ? [signal] : [])]),
    );
    // QEMU that ends before it opens the control port has something to say on standard error.
    const failed = ended.then((error) => {
      throw error;
    });
    try {
      return new Machine(options, process, ended, await Promise.race([connection, failed]));
    } catch (error) {
      abandoned.abort();
      process.kill('SIGKILL');
      await Promise.allSettled([connection, failed]);
      throw error;
    }
  }

  get pid(): number {
    return this.#process.pid!;
  }

  /** The last lines of the guest's console. */
  async consoleTail(lines: number): Promise<string> {
    const text = await readFile(this.consoleLog, 'utf8').catch(() => '');
    return text.replaceAll('\r', '').trimEnd().split('\n').slice(-lines).join('\n');
  }

  /** Ends QEMU as if the power were cut, and returns when it is gone. May be called again. */
  async stop(): Promise<void> {
    this.shell.close();
    this.#process.kill('SIGTERM');
    await this.#process;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

const processOptions = {
  stdin: 'ignore',
  all: true,
  reject: false,
  forceKillAfterDelay: stopLimitMs,
} as const;

/** Why QEMU ended, with what it said. */
function endOf(name: string, result: Awaited<ResultPromise<typeof processOptions>>): Error {
  if (result.code === 'ENOENT') {
    return failure('qemu-missing', { program: qemuProgram });
  }
  const how = result.signal
    ? `was ended by ${result.signal}`
    : `ended with status ${result.exitCode}`;
  const said = result.all?.trim();
  return failure('qemu-ended', { name, how, said: said ? `:\n${said}` : '' });
}
