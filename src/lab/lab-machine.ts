/**
 * A machine of a lab, as seen by whoever wants to run something in it.
 *
 * It holds nothing but names: whether the machine runs, and where its ssh server is, is looked up at
 * every call, so that it stays good when the machine is restarted by somebody else.
 */

import { TsvswitchError } from '../errors.ts';
import { isAlive } from './detached-process.ts';
import { deathOf } from './lab-death.ts';
import type { LabState, MachineFiles } from './lab-state.ts';
import type { ExecOptions, ExecResult, SshTarget } from './ssh.ts';

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
    const { runOverSsh } = await import('./ssh.ts');
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
      throw new TsvswitchError(
        'MACHINE_FAILED',
        `${this.name}: \`${line}\` ended with status ${status}:\n${stdout}${stderr}`,
      );
    }
    return stdout;
  }

  /** The arguments with which `ssh` leads into the machine; a command may follow them. */
  async sshArguments(): Promise<string[]> {
    const { sshArguments } = await import('./ssh.ts');
    return sshArguments(await this.#target());
  }

  async #target(): Promise<SshTarget> {
    const record = this.#state.load()?.machines[this.name];
    if (record?.life.state !== 'up') {
      throw new TsvswitchError(
        'MACHINE_FAILED',
        `${this.name} does not run; \`tsvswitch lab up\` starts it`,
      );
    }
    if (!isAlive(record.life.process)) {
      const { sentence } = deathOf(this.name, this.#files);
      throw new TsvswitchError('MACHINE_FAILED', sentence);
    }
    const { sshTarget } = await import('./ssh.ts');
    return sshTarget(this.#state, record.plan, record.sshPort);
  }
}
