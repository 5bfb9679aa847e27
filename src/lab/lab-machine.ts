/** A machine of a lab, as seen by whoever wants to run something in it. */

import { TsvswitchError } from '../errors.ts';

export interface ExecOptions {
  /** How long it may take, in milliseconds; a minute unless given. */
  readonly limitMs?: number;
  /** What it reads on standard input; nothing unless given. */
  readonly input?: string | Uint8Array;
}

export interface ExecResult {
  readonly stdout: string;
  readonly stderr: string;
  readonly status: number;
}

export class LabMachine {
  readonly name: string;
  readonly consoleSocket: string;
  readonly consoleLog: string;
  readonly qemuLog: string;

  constructor(name: string, files: { consoleSocket: string; consoleLog: string; qemuLog: string }) {
    this.name = name;
    this.consoleSocket = files.consoleSocket;
    this.consoleLog = files.consoleLog;
    this.qemuLog = files.qemuLog;
  }

  /** Runs a program with its arguments, or a line for the user's shell, over ssh. */
  async exec(
    _command: readonly string[] | string,
    _options: ExecOptions = {},
  ): Promise<ExecResult> {
    throw new TsvswitchError('MACHINE_FAILED', `${this.name} does not run`);
  }

  /** Arguments of `ssh` up to the destination; a command may follow. */
  async sshArguments(): Promise<string[]> {
    throw new TsvswitchError('MACHINE_FAILED', `${this.name} does not run`);
  }
}
