/**
 * A lab: machines and their switch, as a lab file declares them, brought up and taken down.
 *
 *     await using lab = await Lab.open({ machines: { vm1: {}, vm2: {} } });
 *     await lab.up();
 *     await lab.machine('vm1').check('ping -c 1 192.168.0.2');
 *
 * The machines and the switch are processes of their own: they stay when this one ends, and any
 * process of the same user that opens the same file sees and changes the same lab, one change at a
 * time. Only a lab that this object brought up goes with it, disks and all, when it is disposed of.
 *
 * How it comes about: change.ts. Where things are kept: state.ts. What only some calls need
 * is loaded by those: a lab is asked for its status often, and by commands that do nothing else.
 *
 * @module tsvswitch/lab
 */

import '../runtime/dispose.ts';
import { randomBytes } from 'node:crypto';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bootId, isAlive, type ProcessRecord, uptimeMs } from '../machine/detached-process.ts';
import { failure } from '../model/errors.ts';
import type { Change } from './change.ts';
import { deathOf, readTail } from './death.ts';
import type { LabDefinition, MachineDefinition } from './file/definition.ts';
import { planOfFile } from './file/kept-plan.ts';
import type { LabPlan, MachinePlan } from './file/plan.ts';
import { withLock } from './lock.ts';
import { LabMachine } from './machine.ts';
import type { Measured } from './measure.ts';
import type {
  IperfResult,
  LabProgress,
  LabStatus,
  LabSwitchStatus,
  Life,
  MachineStatus,
  PingMatrix,
} from './report.ts';
import {
  isRunning,
  type LabRecord,
  LabState,
  type MachineRecord,
  machineDiffers,
} from './state.ts';

export type { ExecOptions, ExecResult } from '../machine/ssh.ts';
export type { LabMachine } from './machine.ts';
export type * from './report.ts';
export type { LabDefinition, LabPlan, MachineDefinition, MachinePlan };

/** How a lab is known and run, besides what it is to be. */
export interface LabOptions {
  /** The main script of the command `tsvswitch`; the one of this package unless given. */
  readonly command?: string;
  /**
   * What a lab without a file is known by, in place of its path: who opens it with the same origin
   * opens the same lab. Unless given nobody else does.
   */
  readonly origin?: string;
}

/** What a change of a lab tells, and how it is given up. */
export interface ChangeOptions {
  readonly progress?: LabProgress;
  /**
   * Gives up; what has been started by then stays as it is, and `up` or `down` go on from there.
   */
  readonly signal?: AbortSignal;
}

/** How much of a lab goes. */
export interface DownOptions extends ChangeOptions {
  /** Also removes disks, keys and logs: everything the lab ever made. */
  readonly destroy?: boolean;
}

const iperfSecondsDefault = 3;

/** Machines and their switch, as a lab file or an object declares them. */
export class Lab {
  readonly #filePlan: LabPlan;
  readonly #state: LabState;
  readonly #command: string;
  #isOurs = false;

  private constructor(plan: LabPlan, options: LabOptions) {
    this.#filePlan = plan;
    this.#state = new LabState(plan);
    this.#command = options.command ?? fileURLToPath(new URL('../cli/main.js', import.meta.url));
  }

  /**
   * Reads and checks what a lab is to be, a file or its content as an object. Changes nothing.
   * Throws LAB_INVALID, LAB_FILE_UNREADABLE, LAB_STATE_UNUSABLE.
   */
  static async open(from: string | LabDefinition, options: LabOptions = {}): Promise<Lab> {
    if (typeof from !== 'string') {
      const origin = options.origin ?? `lab-${randomBytes(6).toString('hex')}`;
      const { planOf } = await import('./file/plan.ts');
      return new Lab(planOf(from, { file: resolve(origin) }), options);
    }
    return new Lab(await planOfFile(from), options);
  }

  /** The machines of the file, then those that were added. */
  get plan(): LabPlan {
    return this.#planWith(this.#state.load());
  }

  /**
   * Makes what runs what the plan says, changing nothing that is so already, and returns when all
   * machines are ready. Throws MACHINE_FAILED, SWITCH_FAILED, MEMORY_SHORT, PROGRAM_MISSING,
   * PROGRAM_TOO_OLD, LAB_BUSY, LAB_PORT_TAKEN, LAB_STATE_UNUSABLE, and what images throw.
   */
  async up(options: ChangeOptions = {}): Promise<void> {
    await this.#change(options, async (change, { converge }) => {
      const { machines } = change.plan;
      const known = Object.entries(change.record.machines);
      this.#isOurs ||= known.every(([, { life }]) => life.state === 'down');
      const leaving = known.flatMap(([name, { life }]) =>
        life.state === 'up' && !machines.some((machine) => machine.name === name) ? [name] : [],
      );
      await converge(change, machines, { leaving });
    });
  }

  /** Shuts every machine down, then the switch. A lab that is down already is left as it is. */
  async down(options: DownOptions = {}): Promise<void> {
    await this.#change(options, (change, { takeDown }) =>
      takeDown(change, options.destroy ?? false),
    );
    this.#isOurs = false;
  }

  /** The lab as it is now, asked of its processes. */
  async status(): Promise<LabStatus> {
    const record = this.#state.load();
    const plan = this.#planWith(record);
    const gone = Object.entries(record?.machines ?? {}).flatMap(([name, { life, plan: last }]) =>
      life.state === 'up' && !plan.machines.some((machine) => machine.name === name) ? [last] : [],
    );
    return {
      name: plan.name,
      id: plan.id,
      file: plan.file,
      folder: this.#state.folder,
      exists: record !== undefined,
      switch: await this.#switchStatus(record),
      machines: [
        ...plan.machines.map((machine) => this.#machineStatus(machine, record)),
        ...gone.map((machine) => ({ ...this.#machineStatus(machine, record), differs: true })),
      ],
    };
  }

  /** Shuts a machine down and starts it again, with the disks it has. */
  async restart(name: string, options: ChangeOptions = {}): Promise<void> {
    await this.#change(options, async (change, { converge }) => {
      await converge(change, [this.#planned(change.plan, name)], { anew: true });
    });
  }

  /**
   * Adds a machine to the lab, and brings both up if need be. It stays, as if it were in the file,
   * until it is removed or the lab destroyed.
   */
  async add(
    name: string,
    definition: MachineDefinition,
    options: ChangeOptions = {},
  ): Promise<void> {
    await this.#change(options, async (change, { converge }) => {
      const { plannedAddition } = await import('./addition.ts');
      const machine = plannedAddition(change.plan, name, definition);
      const added = new Set([...change.added, name]);
      await converge({ ...change, added }, [machine], {});
    });
  }

  /**
   * Ends a machine and removes its disks. One that is in the file comes back with the next `up`,
   * new.
   */
  async remove(name: string, options: ChangeOptions = {}): Promise<void> {
    await this.#change(options, async (change, { discard }) => {
      this.#planned(change.plan, name);
      await discard(change, name);
    });
  }

  /** The machine called `name`. Throws NO_SUCH_MACHINE. */
  machine(name: string): LabMachine {
    this.#planned(this.plan, name);
    return new LabMachine(name, this.#state);
  }

  /** Every machine that runs to every other one. */
  async ping(): Promise<PingMatrix> {
    const record = this.#state.load();
    const running = this.plan.machines
      .filter(({ name, addresses }) => addresses.length > 0 && isRunning(record?.machines[name]))
      .map((plan) => this.#measured(plan));
    const { pingsFrom } = await import('./measure.ts');
    const pings = await Promise.all(
      running.map((from) =>
        pingsFrom(
          from,
          running.filter((to) => to !== from),
        ),
      ),
    );
    return { machines: running.map(({ plan }) => plan.name), pings: pings.flat() };
  }

  /** TCP from one machine to another, for some seconds. */
  async iperf(
    from: string,
    to: string,
    options: { readonly seconds?: number } = {},
  ): Promise<IperfResult> {
    const [sender, receiver] = [from, to].map((name) =>
      this.#measured(this.#planned(this.plan, name)),
    ) as [Measured, Measured];
    const { iperfBetween } = await import('./measure.ts');
    return iperfBetween(sender, receiver, options.seconds ?? iperfSecondsDefault);
  }

  /** Takes the lab down with all it made if it was this object that brought it up. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isOurs) await this.down({ destroy: true });
  }

  async #change(
    options: ChangeOptions,
    work: (change: Change, changes: typeof import('./change.ts')) => Promise<void>,
  ): Promise<void> {
    const changes = await import('./change.ts');
    await withLock(this.#filePlan.name, this.#state.folder, async () => {
      const record = await changes.settledRecord(this.#state);
      const plan = this.#planWith(record);
      const change: Change = {
        plan,
        state: this.#state,
        record,
        added: new Set(plan.machines.slice(this.#filePlan.machines.length).map(({ name }) => name)),
        command: this.#command,
        progress: options.progress ?? (() => {}),
        signal: options.signal,
      };
      await work(change, changes);
    });
  }

  #planWith(record: LabRecord | undefined): LabPlan {
    const { machines } = this.#filePlan;
    const added = Object.values(record?.machines ?? {}).flatMap(({ isAdded, plan }) =>
      isAdded && !machines.some(({ name }) => name === plan.name) ? [plan] : [],
    );
    return { ...this.#filePlan, machines: [...machines, ...added] };
  }

  #planned(plan: LabPlan, name: string): MachinePlan {
    const machine = plan.machines.find((candidate) => candidate.name === name);
    if (machine !== undefined) return machine;
    const names = plan.machines.map((candidate) => candidate.name).join(', ');
    throw failure('machine-unknown', { lab: plan.name, name, machines: names || 'none' });
  }

  #measured(plan: MachinePlan): Measured {
    return { plan, machine: new LabMachine(plan.name, this.#state) };
  }

  #machineStatus(machine: MachinePlan, record: LabRecord | undefined): MachineStatus {
    const current = record?.machines[machine.name];
    return {
      name: machine.name,
      ...this.#machineLife(machine.name, current),
      engine: machine.engine,
      sshPort: machine.engine === 'uml' ? undefined : (current?.sshPort ?? machine.sshPort),
      user: machine.user,
      mac: machine.mac,
      addresses: machine.addresses,
      differs: current !== undefined && machineDiffers(current, machine),
    };
  }

  #machineLife(name: string, record: MachineRecord | undefined): Life {
    if (record?.life.state !== 'up') return { state: 'stopped' };
    const { process, ready } = record.life;
    const life = lifeOf(process);
    if (life.state === 'running') return ready ? life : { state: 'starting', pid: process.pid };
    if (life.state === 'stopped') return life;
    const { isShutdown, told } = deathOf(name, this.#state.filesOf(name), record.plan.engine);
    return isShutdown ? { state: 'stopped' } : { state: 'crashed', log: told.sentence };
  }

  async #switchStatus(record: LabRecord | undefined): Promise<LabSwitchStatus> {
    const { switch: planned } = this.#filePlan;
    if (planned.type === 'attach') {
      const { control } = planned;
      return { type: 'attach', control, ...(await lifeOfOther(control)) };
    }
    const { control } = this.#state;
    const current = record?.switch?.process;
    if (current === undefined) return { type: 'own', control, state: 'stopped' };
    const life = lifeOf(current);
    const log = readTail(this.#state.switchLog).join('\n');
    return { type: 'own', control, ...(life.state === 'crashed' ? { ...life, log } : life) };
  }
}

/** Of a switch that somebody else started. */
async function lifeOfOther(control: string): Promise<Life> {
  try {
    const { ControlClient } = await import('../control/client.ts');
    await using client = await ControlClient.connect(control);
    const { pid, uptimeSeconds } = await client.status();
    return { state: 'running', pid, uptimeMs: uptimeSeconds * 1000 };
  } catch {
    return { state: 'stopped' };
  }
}

/** `log` is the caller's to find. */
function lifeOf(process: ProcessRecord): Life {
  if (isAlive(process)) {
    return { state: 'running', pid: process.pid, uptimeMs: uptimeMs(process) };
  }
  // Nobody crashed if all of the host has been started anew.
  return process.bootId === bootId() ? { state: 'crashed', log: '' } : { state: 'stopped' };
}
