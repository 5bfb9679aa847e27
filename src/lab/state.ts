/**
 * The state of a lab between two commands: its record and its folders.
 *
 * The state folder ($XDG_STATE_HOME/tsvswitch/labs/ID) holds the record, keys, disks and logs; the
 * runtime folder ($XDG_RUNTIME_DIR or /tmp, /tsvswitch-UID/ID) holds sockets, whose paths have to
 * be short, and is gone after a reboot. The record says which processes were started, with which
 * plan. The kernel is asked every time whether they still run, so the answer is true after any
 * crash.
 *
 * The record is replaced by renaming, so a reader never sees half of one, and only under the lock
 * (lock.ts). The folders belong to one user: disks and keys are nobody else's to read.
 *
 * Source: XDG Base Directory Specification.
 */

import { existsSync, lstatSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { isAlive, otherMark, type ProcessRecord } from '../machine/detached-process.ts';
import { socketPathBytesMax } from '../machine/short-folder.ts';
import { failure, type TsvswitchError } from '../model/errors.ts';
import type { LabPlan, MachinePlan, SwitchPlan } from './file/plan.ts';

/** Of what is in state.json; raised when an older one cannot be read any more. */
export const recordVersion = 1;
/** In the folder of a lab. */
export const recordFile = 'state.json';

export interface LabRecord {
  readonly version: typeof recordVersion;
  readonly name: string;
  readonly file: string;
  readonly runtimeFolder: string;
  switch: SwitchRecord | undefined;
  machines: Record<string, MachineRecord>;
}

export interface SwitchRecord {
  readonly plan: SwitchPlan;
  readonly control: string;
  /** undefined for one that is somebody else's. */
  readonly process: ProcessRecord | undefined;
}

export interface MachineRecord {
  /** What it was last started with. */
  readonly plan: MachinePlan;
  /** It is not in the file, and stays until it is removed or the lab destroyed. */
  readonly isAdded: boolean;
  /** Stays the same for as long as nobody else takes it; undefined for a machine without ssh. */
  readonly sshPort: number | undefined;
  /** `up` means that it was started and not stopped since, not that it runs. */
  readonly life:
    | { readonly state: 'down' }
    | { readonly state: 'up'; readonly process: ProcessRecord; readonly ready: boolean };
}

/** The files of a machine. */
export interface MachineFiles {
  readonly folder: string;
  readonly disk: string;
  readonly diskOrigin: string;
  readonly seed: string;
  readonly initrd: string;
  readonly consoleLog: string;
  readonly qemuLog: string;
  readonly consoleSocket: string;
  readonly qmpSocket: string;
  /** Of User-mode Linux, see uml-exec.ts. */
  readonly execSocket: string;
  readonly portSocket: string;
}

/** What a folder for sockets may have to be moved by. */
const runtimeVariable = 'XDG_RUNTIME_DIR';

export class LabState {
  readonly id: string;
  readonly folder: string;
  readonly runtimeFolder: string;
  readonly #plan: LabPlan;

  constructor(plan: LabPlan, environment: NodeJS.ProcessEnv = process.env) {
    this.#plan = plan;
    this.id = plan.id;
    this.folder = join(labsFolder(environment), plan.id);
    // A lab that is up has its sockets where it was brought up, perhaps in a session of another
    // kind.
    const recorded = this.load()?.runtimeFolder;
    this.runtimeFolder =
      recorded !== undefined && existsSync(recorded)
        ? recorded
        : join(runtimeRoot(environment), plan.id);
  }

  get control(): string {
    return join(this.runtimeFolder, 'control');
  }

  get switchLog(): string {
    return join(this.folder, 'switch.log');
  }

  filesOf(machine: string): MachineFiles {
    const folder = join(this.folder, 'machines', machine);
    const socket = (suffix: string) => join(this.runtimeFolder, `${machine}.${suffix}`);
    return {
      folder,
      disk: join(folder, 'disk.qcow2'),
      diskOrigin: join(folder, 'disk.json'),
      seed: join(folder, 'seed.iso'),
      initrd: join(folder, 'initrd'),
      consoleLog: join(folder, 'console.log'),
      qemuLog: join(folder, 'qemu.log'),
      consoleSocket: socket('console'),
      qmpSocket: socket('qmp'),
      execSocket: socket('exec'),
      portSocket: socket('port'),
    };
  }

  /** undefined if the lab was never up, or was destroyed. */
  load(): LabRecord | undefined {
    const path = join(this.folder, recordFile);
    let text: string;
    try {
      text = readFileSync(path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw stateUnusable(this.folder, error);
    }
    try {
      const record: LabRecord = JSON.parse(text);
      if (record.version !== recordVersion) {
        throw new Error(`version ${record.version}, not ${recordVersion}`);
      }
      return record;
    } catch (cause) {
      throw failure(
        'lab-state-foreign',
        { path, cause: (cause as Error).message, folder: this.folder },
        { cause },
      );
    }
  }

  /**
   * The record to change, of a new lab if there is none; makes the folders. Throws
   * LAB_STATE_UNUSABLE.
   */
  begin(): LabRecord {
    this.#refuseOthers();
    ownFolder(this.folder);
    ownFolder(this.runtimeFolder);
    const { name, file } = this.#plan;
    const nothing = { switch: undefined, machines: {} };
    const { runtimeFolder } = this;
    return { version: recordVersion, ...nothing, ...this.load(), name, file, runtimeFolder };
  }

  /** Throws SOCKET_PATH_TOO_LONG if `machine` cannot have its sockets here. */
  refuseLongPaths(machine: string): void {
    const { consoleSocket } = this.filesOf(machine);
    const excess = Buffer.byteLength(consoleSocket) - socketPathBytesMax;
    if (excess <= 0) return;
    // Names have an upper limit that always leaves room below /tmp and /run/user/UID.
    const root = dirname(dirname(this.runtimeFolder));
    throw failure('lab-socket-path-too-long', {
      max: socketPathBytesMax,
      path: consoleSocket,
      excess,
      variable: runtimeVariable,
      root,
    });
  }

  /** The sockets of a lab that runs from another state folder are not this one's to touch. */
  #refuseOthers(): void {
    const other = otherMark(this.folder, this.runtimeFolder);
    if (other === undefined) return;
    throw failure('lab-state-elsewhere', { name: this.#plan.name, other, folder: this.folder });
  }

  save(record: LabRecord): void {
    const path = join(this.folder, recordFile);
    try {
      writeFileSync(`${path}.new`, `${JSON.stringify(record, undefined, 2)}\n`, { mode: 0o600 });
      renameSync(`${path}.new`, path);
    } catch (error) {
      throw stateUnusable(this.folder, error);
    }
  }
}

/** Whether a machine was started with another plan than this. */
export function machineDiffers(record: MachineRecord, machine: MachinePlan): boolean {
  // What is undefined is left out of a record.
  return !isDeepStrictEqual(record.plan, JSON.parse(JSON.stringify(machine)));
}

export function isRunning(record: MachineRecord | undefined): boolean {
  return record?.life.state === 'up' && isAlive(record.life.process);
}

/** Of all labs, which have a folder in it each. */
export function labsFolder(environment: NodeJS.ProcessEnv): string {
  const base = environment.XDG_STATE_HOME;
  // The specification says to ignore a relative value.
  const root = base?.startsWith('/')
    ? base
    : join(environment.HOME || homedir(), '.local', 'state');
  return join(root, 'tsvswitch', 'labs');
}

function runtimeRoot(environment: NodeJS.ProcessEnv): string {
  const base = environment[runtimeVariable];
  return join(base?.startsWith('/') ? base : '/tmp', `tsvswitch-${process.getuid!()}`);
}

/**
 * Makes a folder for this user alone, with what is missing above it; /tmp is everybody's to squat
 * in.
 */
function ownFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw stateUnusable(folder, error);
  }
  for (const path of [folder, join(folder, '..')]) {
    const { uid } = lstatSync(path);
    if (uid !== process.getuid!()) {
      throw failure('lab-state-of-other-user', { path, uid });
    }
  }
}

/** Why a lab cannot be kept in `folder`, for the operator. */
export function stateUnusable(folder: string, cause: unknown): TsvswitchError {
  return failure('lab-state-unwritable', { folder, cause: (cause as Error).message }, { cause });
}
