/**
 * A machine of a lab, as seen by whoever wants to run something in it.
 *
 * It holds nothing but names: whether the machine runs, and how it is reached, is looked up at
 * every call, so that it stays good when the machine is restarted by somebody else.
 */

import { isAlive } from '../machine/detached-process.ts';
import type { ExecOptions, ExecResult, SshTarget } from '../machine/ssh.ts';
import { failure, failureOf } from '../model/errors.ts';
import { deathOf } from './death.ts';
import type { LabState, MachineFiles, MachineRecord } from './state.ts';

/** A machine of a lab, for running something in it. */
export class LabMachine {
  readonly name: string;
  readonly #state: LabState;
  readonly #files: MachineFiles;

  constructor(name: string, state: LabState) {
    this.name = name;
    this.#state = state;
    this.#files = state.filesOf(name);
  }

  /** A unix socket with the guest's console, for one client at a time. */
  get consoleSocket(): string {
    return this.#files.consoleSocket;
  }

  /** All the console has shown since the machine was started. */
  get consoleLog(): string {
    return this.#files.consoleLog;
  }

  /** Path of the file that QEMU's own messages go to. */
  get qemuLog(): string {
    return this.#files.qemuLog;
  }

  /**
   * Runs a program with its arguments, or a line for the user's shell. A status other than 0 is a
   * result. Throws MACHINE_FAILED if the machine does not run, TIMEOUT.
   */
  async exec(command: readonly string[] | string, options: ExecOptions = {}): Promise<ExecResult> {
    const record = this.#running();
    if (record.plan.engine === 'uml') {
      const { runOverConsole } = await import('./uml-exec.ts');
      try {
        return await runOverConsole(this.name, this.#files.execSocket, command, options);
      } catch (error) {
        // Its host closes the connection a moment before it ends: the machine may just have ended.
        this.#running();
        throw error;
      }
    }
    const { runOverSsh } = await import('../machine/ssh.ts');
    const result = await runOverSsh(await this.#target(), command, options);
    // The client's own status when the connection breaks: the machine may just have ended.
    if (result.status === 255) await this.#target();
    return result;
  }

  /** Like exec(), but a status other than 0 is MACHINE_FAILED. Returns standard output. */
  async check(command: readonly string[] | string, options: ExecOptions = {}): Promise<string> {
    const { stdout, stderr, status } = await this.exec(command, options);
    if (status !== 0) {
      const line = typeof command === 'string' ? command : command.join(' ');
      throw failure('command-failed', { name: this.name, line, status, stdout, stderr });
    }
    return stdout;
  }

  /**
   * Of a machine without ssh: as exec() does, with what is written given away as it comes. Returns
   * the exit status. Throws MACHINE_FAILED.
   */
  async execWithoutSsh(
    command: readonly string[],
    input: Uint8Array,
    onOutput: (stream: 'stdout' | 'stderr', bytes: Buffer) => void,
  ): Promise<number> {
    const [{ execOverConsole }, { shellLine }] = await Promise.all([
      import('./uml-exec.ts'),
      import('../machine/ssh.ts'),
    ]);
    const request = {
      command: shellLine(command),
      input: Buffer.from(input).toString('base64'),
    };
    return execOverConsole(this.name, this.#files.execSocket, request, onOutput);
  }

  /** Whether ssh leads into the machine. Throws MACHINE_FAILED if it does not run. */
  get hasSsh(): boolean {
    return this.#running().plan.engine !== 'uml';
  }

  /**
   * The arguments with which `ssh` leads into the machine; a command may follow them. Throws
   * MACHINE_FAILED, BAD_OPTION if it has no ssh.
   */
  async sshArguments(): Promise<string[]> {
    const { sshArguments } = await import('../machine/ssh.ts');
    return sshArguments(await this.#target());
  }

  async #target(): Promise<SshTarget> {
    const { plan, sshPort } = this.#running();
    if (sshPort === undefined) {
      throw failure('uml-has-no-ssh', { name: this.name });
    }
    const { sshTarget } = await import('./login.ts');
    return sshTarget(this.#state, plan, sshPort);
  }

  #running(): MachineRecord {
    const record = this.#state.load()?.machines[this.name];
    if (record?.life.state !== 'up') {
      throw failure('machine-down', { name: this.name });
    }
    if (!isAlive(record.life.process)) {
      throw failureOf(deathOf(this.name, this.#files, record.plan.engine).told);
    }
    return record;
  }
}
