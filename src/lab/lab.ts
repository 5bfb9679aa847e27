/** A lab: machines and their switch, as a lab file declares them. */

import { TsvswitchError } from '../errors.ts';
import type { LabPlan } from './file/plan.ts';
import type { LabMachine } from './lab-machine.ts';
import type { IperfResult, LabProgress, LabStatus, PingMatrix } from './lab-report.ts';

/** What a lab file holds, as an object. */
export type LabDefinition = Readonly<Record<string, unknown>>;
export type MachineDefinition = Readonly<Record<string, unknown>>;

export interface LabOptions {
  /** The main script of the command `tsvswitch`; the one of this package unless given. */
  readonly command?: string;
  /** What a lab without a file is known by, in place of its path: the same again is the same lab. */
  readonly origin?: string;
}

export interface ChangeOptions {
  readonly progress?: LabProgress;
  /** Gives up; what has been started by then stays as it is, and `up` or `down` go on from there. */
  readonly signal?: AbortSignal;
}

export interface DownOptions extends ChangeOptions {
  /** Also removes disks, keys and logs: everything the lab ever made. */
  readonly destroy?: boolean;
}

export class Lab {
  readonly plan: LabPlan;

  private constructor(plan: LabPlan) {
    this.plan = plan;
  }

  /** Reads and checks what a lab is to be, a file or its content as an object. Changes nothing. */
  static async open(_from: string | LabDefinition, _options: LabOptions = {}): Promise<Lab> {
    throw new TsvswitchError('CLOSED', 'a lab cannot be opened yet');
  }

  /** Makes what runs what the plan says, changing nothing that is so already, and waits for every machine. */
  async up(_options: ChangeOptions = {}): Promise<void> {}

  /** Shuts every machine down, then the switch. */
  async down(_options: DownOptions = {}): Promise<void> {}

  async status(): Promise<LabStatus> {
    throw new TsvswitchError('CLOSED', 'a lab cannot be opened yet');
  }

  /** Shuts a machine down and starts it again, with the disk it has. */
  async restart(_name: string, _options: ChangeOptions = {}): Promise<void> {}

  /** Adds a machine to the running lab. It stays until it is removed or the lab goes down. */
  async add(
    _name: string,
    _definition: MachineDefinition,
    _options: ChangeOptions = {},
  ): Promise<void> {}

  /** Takes a machine out of the running lab, and its disk with it. */
  async remove(_name: string, _options: ChangeOptions = {}): Promise<void> {}

  machine(name: string): LabMachine {
    throw new TsvswitchError('BAD_OPTION', `${this.plan.name} has no machine ${name}`);
  }

  /** Every machine to every other one. */
  async ping(_options: { readonly signal?: AbortSignal } = {}): Promise<PingMatrix> {
    throw new TsvswitchError('CLOSED', 'a lab cannot be opened yet');
  }

  /** TCP from one machine to another. */
  async iperf(
    _from: string,
    _to: string,
    _options: { readonly seconds?: number } = {},
  ): Promise<IperfResult> {
    throw new TsvswitchError('CLOSED', 'a lab cannot be opened yet');
  }

  /** Takes the lab down with all it made if it was this object that brought it up. */
  async [Symbol.asyncDispose](): Promise<void> {}
}
