/**
 * Starts a machine of a lab: its disks and seed, its command line, its QEMU.
 *
 * Disks are made once and then kept (disk.ts). The seed, which tells the machine its name and
 * addresses, is made anew at every start. `started` is called as soon as QEMU runs, so that the
 * caller can record the process.
 *
 * A machine that is User-mode Linux has a process of ours around it, its supervisor
 * (uml-supervisor.ts).
 */

import { existsSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isAlive, type ProcessRecord, startDetached } from '../machine/detached-process.ts';
import { type DirectBoot, type Drive, qemuArguments, qemuProgram } from '../machine/qemu.ts';
import { Qmp } from '../machine/qmp.ts';
import { failure, failureOf } from '../model/errors.ts';
import { tinyGuest } from '../tiny/guest.ts';
import { makeSeed } from './cloud-init/seed.ts';
import { deathOf, shutdownTrace } from './death.ts';
import { openDisks } from './disk.ts';
import type { LabEngines } from './engines.ts';
import type { MachinePlan } from './file/plan.ts';
import type { BaseImage } from './image/image.ts';
import type { LabEvent } from './report.ts';
import type { LabState, MachineFiles } from './state.ts';
import { tinyLabBoot, umlLabBoot } from './tiny-seed.ts';
import type { UmlSupervisorOptions } from './uml-supervisor.ts';

export interface StartRequest {
  readonly state: LabState;
  /** The main script of the command. */
  readonly command: string;
  readonly machine: MachinePlan;
  readonly image: BaseImage;
  readonly engines: LabEngines;
  /** undefined for a machine without ssh. */
  readonly sshPort: number | undefined;
  /** Of the lab; it is let in besides those of the plan. */
  readonly publicKey: string;
  /** Relative paths in QEMU arguments of the user's start here. */
  readonly folder: string;
  readonly progress: (event: Omit<LabEvent, 'machine'>) => void;
  readonly signal: AbortSignal | undefined;
}

const lookPauseMs = 20;
/** QEMU opens its monitor before it makes memory or disks: only a host that hangs takes longer. */
const monitorLimitMs = 60_000;
const umlBootLimitMs = 300_000;

/** Returns once QEMU runs the guest. Throws MACHINE_FAILED with QEMU's words, LAB_PORT_TAKEN. */
export async function startMachine(
  request: StartRequest,
  started: (process: ProcessRecord) => void,
): Promise<void> {
  if (request.machine.engine === 'uml') return startUml(request, started);
  const { state, machine, progress } = request;
  const files = state.filesOf(machine.name);
  await mkdir(files.folder, { recursive: true, mode: 0o700 });
  progress({ stage: 'disk', state: 'running' });
  const drives = await openDisks(machine, request.image, files);
  progress({ stage: 'disk', state: 'done' });
  const { boot, seed } = await identity(request, files);
  progress({ stage: 'start', state: 'running' });
  // Of a QEMU that was killed; it could not be told from the next one's.
  await rm(files.qmpSocket, { force: true });
  const process = await startDetached(
    qemuProgram,
    commandLine(request, files, [...drives, ...seed], boot),
    { log: files.qemuLog, folder: request.folder, mark: state.folder },
  );
  started(process);
  await running(machine, files, process);
  progress({ stage: 'start', state: 'done', detail: `process ${process.pid}` });
}

async function startUml(
  { state, command, machine, engines, folder, progress }: StartRequest,
  started: (process: ProcessRecord) => void,
): Promise<void> {
  const { name, memoryMiB } = machine;
  const { guest, memoryFolder } = engines.uml!;
  const files = state.filesOf(name);
  await mkdir(files.folder, { recursive: true, mode: 0o700 });
  progress({ stage: 'seed', state: 'running' });
  const boot = await umlLabBoot(guest, machine, files.initrd);
  progress({ stage: 'seed', state: 'done' });
  progress({ stage: 'start', state: 'running' });
  const options: UmlSupervisorOptions = {
    uml: { name, memoryMiB, memoryFolder, folder: files.folder, boot, sockets: [files.portSocket] },
    consoleSocket: files.consoleSocket,
    consoleLog: files.consoleLog,
    execSocket: files.execSocket,
    bootLimitMs: umlBootLimitMs,
  };
  await rm(files.execSocket, { force: true });
  const script = join(dirname(command), '..', 'lab', 'uml-supervisor.js');
  const process_ = await startDetached(process.execPath, [script, JSON.stringify(options)], {
    log: files.qemuLog,
    folder,
    mark: state.folder,
  });
  started(process_);
  await opened(name, files, process_, monitorLimitMs, 'uml');
  progress({ stage: 'start', state: 'done', detail: `process ${process_.pid}` });
}

/** What tells the guest who it is. */
async function identity(
  request: StartRequest,
  files: MachineFiles,
): Promise<{ readonly boot: DirectBoot | undefined; readonly seed: readonly Drive[] }> {
  const { machine, image, publicKey, progress, signal } = request;
  progress({ stage: 'seed', state: 'running' });
  if (image.type === 'tiny') {
    const boot = await tinyLabBoot(await tinyGuest(), machine, [publicKey], files.initrd);
    progress({ stage: 'seed', state: 'done' });
    return { boot, seed: [] };
  }
  await makeSeed(machine, [publicKey], files.seed, signal);
  progress({ stage: 'seed', state: 'done' });
  return { boot: image.boot, seed: [{ path: files.seed, format: 'raw', readOnly: true }] };
}

function commandLine(
  { machine, engines: { qemu }, sshPort }: StartRequest,
  files: MachineFiles,
  drives: readonly Drive[],
  boot: DirectBoot | undefined,
): string[] {
  return qemuArguments({
    name: machine.name,
    cpus: machine.cpus,
    memoryMiB: machine.memoryMiB,
    memory: qemu!.memory,
    accelerator: qemu!.accelerator,
    ...(boot === undefined ? {} : { boot }),
    drives,
    cards: [
      { type: 'user', sshPort: sshPort!, mac: machine.managementMac },
      {
        type: 'vhost-user',
        socket: files.portSocket,
        mac: machine.mac,
        deviceOptions: machine.deviceOptions,
        reconnect: qemu!.reconnect,
      },
    ],
    consoleSocket: files.consoleSocket,
    consoleLog: files.consoleLog,
    qmpSocket: files.qmpSocket,
    extraArguments: [...shutdownTrace, '-device', 'pvpanic', ...machine.qemuArguments],
  });
}

/** QEMU has made its devices when it answers on its monitor. */
async function running(
  machine: MachinePlan,
  files: MachineFiles,
  process: ProcessRecord,
): Promise<void> {
  await monitorOpen(machine.name, files, process, monitorLimitMs);
  try {
    (await Qmp.connect(machine.name, files.qmpSocket)).close();
  } catch (error) {
    failIfDead(machine.name, files, process, machine.engine);
    throw error;
  }
}

/**
 * Returns once QEMU has opened its monitor. Throws as failIfDead does, and MACHINE_FAILED if it
 * takes too long.
 */
export function monitorOpen(
  name: string,
  files: MachineFiles,
  process: ProcessRecord,
  limitMs: number,
): Promise<void> {
  return opened(name, files, process, limitMs, 'qemu');
}

/** What is opened first of all, and by whom. */
const firstOpened = {
  qemu: { who: 'QEMU', what: 'its monitor', socket: 'qmpSocket' },
  uml: {
    who: 'the supervisor of User-mode Linux',
    what: 'its socket for commands',
    socket: 'execSocket',
  },
} as const;

async function opened(
  name: string,
  files: MachineFiles,
  process: ProcessRecord,
  limitMs: number,
  engine: MachinePlan['engine'],
): Promise<void> {
  const { who, what, socket } = firstOpened[engine];
  const giveUpMs = performance.now() + limitMs;
  while (!existsSync(files[socket])) {
    failIfDead(name, files, process, engine);
    if (performance.now() >= giveUpMs) {
      const late = { name, who, pid: process.pid, what, seconds: limitMs / 1000 };
      throw failure('machine-socket-late', { ...late, log: files.qemuLog });
    }
    await sleep(lookPauseMs);
  }
}

/** Throws MACHINE_FAILED, or LAB_PORT_TAKEN, if its process has ended. */
export function failIfDead(
  name: string,
  files: MachineFiles,
  process: ProcessRecord,
  engine: MachinePlan['engine'],
): void {
  if (isAlive(process)) return;
  throw failureOf(deathOf(name, files, engine).told);
}

/** Where relative paths of a lab's file start, if that is still there. */
export function folderOf(file: string): string {
  return existsSync(dirname(file)) ? dirname(file) : '/';
}
