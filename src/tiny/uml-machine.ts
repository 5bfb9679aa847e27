/**
 * A running machine that is User-mode Linux, with the face of qemu-machine.ts: its guest's shell,
 * its console, and its end.
 *
 * Everything it leaves in the file system lies in the folder it is given. It does not outlive the
 * process that started it: its guest powers off when its control line is closed (guest.ts).
 */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ConsoleServer } from '../machine/console-server.ts';
import { type UmlOptions, UmlProcess } from '../machine/uml.ts';
import { failure } from '../model/errors.ts';
import { GuestShell } from './shell.ts';

export class UmlMachine {
  readonly name: string;
  readonly consoleSocket: string;
  readonly consoleLog: string;
  readonly shell: GuestShell;
  /** Resolves when it has ended, for whatever reason, with that reason. */
  readonly ended: Promise<Error>;
  readonly #process: UmlProcess;
  readonly #console: ConsoleServer;

  private constructor(options: UmlOptions, process: UmlProcess, console: ConsoleServer) {
    this.name = options.name;
    this.consoleSocket = consoleSocketOf(options);
    this.consoleLog = consoleLogOf(options);
    this.#process = process;
    this.#console = console;
    this.ended = process.ended.then(({ sentence }) =>
      failure('machine-ended', { name: this.name, how: sentence }),
    );
    this.shell = GuestShell.over(this.name, process.control, this.ended);
  }

  /**
   * The guest begins to boot; `shell.ready()` says when it has. Its `folder` is for its sockets and
   * its log.
   */
  static async start(options: UmlOptions): Promise<UmlMachine> {
    const process = await UmlProcess.start(options);
    const [socket, log] = [consoleSocketOf(options), consoleLogOf(options)];
    try {
      return new UmlMachine(
        options,
        process,
        await ConsoleServer.open(socket, log, process.console),
      );
    } catch (error) {
      await process.stop();
      throw error;
    }
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** The last lines of the guest's console. */
  async consoleTail(lines: number): Promise<string> {
    const text = await readFile(this.consoleLog, 'utf8').catch(() => '');
    return text.replaceAll('\r', '').trimEnd().split('\n').slice(-lines).join('\n');
  }

  /** As if the power were cut; returns when it is gone. May be called again. */
  async stop(): Promise<void> {
    this.shell.close();
    await this.#process.stop();
    await this.#console.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

function consoleSocketOf({ folder, name }: UmlOptions): string {
  return join(folder, `${name}.console`);
}

function consoleLogOf({ folder, name }: UmlOptions): string {
  return join(folder, `${name}.log`);
}
