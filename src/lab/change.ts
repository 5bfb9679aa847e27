/**
 * Brings a lab to the state of its plan, machine by machine, and records every step.
 *
 * Images, QEMU and memory are checked before anything is stopped. Then machines that the plan does
 * not have, or has otherwise, are stopped; the switch is started if it does not run; every machine
 * gets its port, and those that do not run are started, side by side. A machine that fails does not
 * keep the others from getting ready; all failures are reported together at the end.
 *
 * The record is written right after each process is started. If this process is killed just in
 * between, the next change finds the stray by its mark (machine/detached-process.ts) and ends it
 * first.
 *
 * The caller holds the lock.
 */

import { existsSync } from 'node:fs';
import { rm, rmdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { descendantsOf, end, findMarked, isAlive } from '../machine/detached-process.ts';
import { freePorts } from '../machine/loopback-port.ts';
import { failure, TsvswitchError } from '../model/errors.ts';
import { labKey } from './cloud-init/keys.ts';
import { imageOfDisk } from './disk.ts';
import { labEngines } from './engines.ts';
import type { LabPlan, MachinePlan } from './file/plan.ts';
import { type BaseImage, baseImage } from './image/image.ts';
import { machineReady } from './ready.ts';
import type { LabProgress, LabStage } from './report.ts';
import { folderOf, type StartRequest, startMachine } from './start.ts';
import {
  isRunning,
  type LabRecord,
  type LabState,
  type MachineRecord,
  machineDiffers,
} from './state.ts';
import { stopMachine } from './stop.ts';
import { closePort, closeSwitch, openPort, openSwitch, switchDiffers } from './switch.ts';

export interface Change {
  readonly plan: LabPlan;
  readonly state: LabState;
  readonly record: LabRecord;
  /** Names of the plan's machines that are not in the file. */
  readonly added: ReadonlySet<string>;
  /** The main script of the command, for the switch. */
  readonly command: string;
  readonly progress: LabProgress;
  readonly signal: AbortSignal | undefined;
}

/** Somebody else may take a port between our look and QEMU's. */
const portTriesMax = 3;

/** What is recorded, with no process left that is not. */
export async function settledRecord(state: LabState): Promise<LabRecord> {
  const record = state.begin();
  const recorded = [
    record.switch?.process,
    ...Object.values(record.machines).map(({ life }) =>
      life.state === 'up' ? life.process : undefined,
    ),
  ];
  const running = recorded.flatMap((process) =>
    process && isAlive(process) ? [process, ...descendantsOf(process.pid)] : [],
  );
  const strays = findMarked(state.folder).filter(
    (found) => !running.some((process) => isDeepStrictEqual(process, found)),
  );
  await Promise.all(strays.map(end));
  return record;
}

/**
 * Lets `machines` run as planned, started `anew` if that is wanted, and those in `leaving` not at
 * all.
 */
export async function converge(
  change: Change,
  machines: readonly MachinePlan[],
  { leaving = [], anew = false }: { readonly leaving?: readonly string[]; readonly anew?: boolean },
): Promise<void> {
  const { plan, state, record, command, progress, signal } = change;
  for (const { name } of machines) state.refuseLongPaths(name);
  const isNewSwitch = switchDiffers(record, plan);
  const isAsPlanned = (machine: MachinePlan) => {
    // The driver of User-mode Linux does not come back to a switch that went away.
    if (anew || (isNewSwitch && machine.engine === 'uml')) return false;
    const current = record.machines[machine.name];
    return isRunning(current) && !machineDiffers(current!, machine);
  };
  const starting = machines.filter((machine) => !isAsPlanned(machine));
  const stopping = [...leaving, ...starting.map(({ name }) => name)].filter(
    (name) => record.machines[name]?.life.state === 'up',
  );
  // One that runs but is not ready yet has been left halfway.
  const waiting = machines.filter(
    (machine) => !starting.includes(machine) && !isReady(record, machine),
  );
  const images = await imagesOf(change, [...starting, ...waiting]);
  const engines = await labEngines(
    [...starting, ...waiting.map((machine) => ({ ...machine, memoryMiB: 0 }))],
    stopping.reduce((sum, name) => sum + record.machines[name]!.plan.memoryMiB, 0),
  );
  const { publicKey } = await labKey(state.folder);
  signal?.throwIfAborted();

  await Promise.all(stopping.map((name) => stopRecorded(change, name, true)));
  for (const name of leaving) await closePort(state, record, name);
  const sshPorts = await choosePorts(record, starting);
  if (isNewSwitch) progress({ machine: undefined, stage: 'switch', state: 'running' });
  await using client = await openSwitch(state, record, plan, command);
  for (const { name } of machines) await openPort(state, record, client, name);
  if (isNewSwitch) progress({ machine: undefined, stage: 'switch', state: 'done' });
  signal?.throwIfAborted();

  const request = (machine: MachinePlan, sshPort: number | undefined): StartRequest => ({
    state,
    command,
    machine,
    image: images.get(machine.name)!,
    engines,
    sshPort,
    publicKey,
    folder: folderOf(plan.file),
    progress: (event) => progress({ machine: machine.name, ...event }),
    signal,
  });
  await together(change, [
    ...starting.map((machine, index) => request(machine, sshPorts[index])),
    ...waiting.map((machine) => request(machine, record.machines[machine.name]!.sshPort)),
  ]);
}

/** Stops what is up, then the switch; with `destroy` nothing of the lab is left. */
export async function takeDown(change: Change, destroy: boolean): Promise<void> {
  const { state, record, progress } = change;
  const names = Object.keys(record.machines).filter(
    (name) => record.machines[name]!.life.state === 'up',
  );
  await Promise.all(names.map((name) => stopRecorded(change, name, !destroy)));
  progress({ machine: undefined, stage: 'stop', state: 'running' });
  await closeSwitch(state, record);
  await rm(state.runtimeFolder, { recursive: true, force: true });
  // The folder of all labs goes with the last of them.
  await rmdir(dirname(state.runtimeFolder)).catch(() => {});
  const isEmpty = Object.keys(record.machines).length === 0;
  if (destroy || isEmpty) await rm(state.folder, { recursive: true, force: true });
  progress({ machine: undefined, stage: 'stop', state: 'done' });
}

/** Stops a machine, and forgets it with its disks. */
export async function discard(change: Change, name: string): Promise<void> {
  const { state, record } = change;
  await stopRecorded(change, name, false);
  await closePort(state, record, name);
  await rm(state.filesOf(name).folder, { recursive: true, force: true });
  delete record.machines[name];
  state.save(record);
}

/** Stops a machine if it is up. */
async function stopRecorded(
  { state, record, progress }: Change,
  name: string,
  isGraceful: boolean,
): Promise<void> {
  const current = record.machines[name];
  if (current?.life.state !== 'up') return;
  progress({ machine: name, stage: 'stop', state: 'running' });
  const files = state.filesOf(name);
  const hasDisks = existsSync(files.disk) || current.plan.disks.length > 0;
  await stopMachine(name, files, current.life.process, isGraceful && hasDisks);
  record.machines[name] = { ...current, life: { state: 'down' } };
  state.save(record);
  progress({ machine: name, stage: 'stop', state: 'done' });
}

function isReady(record: LabRecord, { name }: MachinePlan): boolean {
  const life = record.machines[name]?.life;
  return life?.state === 'up' && life.ready;
}

/** Starts what does not run and waits for all of them. */
async function together(change: Change, requests: readonly StartRequest[]): Promise<void> {
  const { progress, signal } = change;
  const results = await Promise.allSettled(
    requests.map(async (request) => {
      let stage: LabStage = 'start';
      const noting: StartRequest['progress'] = (event) => {
        stage = event.stage;
        request.progress(event);
      };
      try {
        await startAndWait(change, { ...request, progress: noting });
      } catch (error) {
        const detail = (error as Error).message.split('\n')[0]!;
        progress({ machine: request.machine.name, stage, state: 'failed', detail });
        throw error;
      }
    }),
  );
  signal?.throwIfAborted();
  const failures = results.flatMap((result) =>
    result.status === 'rejected' ? [result.reason] : [],
  );
  if (failures.length === 1) throw failures[0];
  if (failures.length > 1) {
    const sentences = failures.map(({ message }: Error) => message).join('\n');
    throw failure('several-failed', { sentences }, { cause: failures[0] });
  }
}

async function startAndWait(change: Change, request: StartRequest): Promise<void> {
  const { record, state, added } = change;
  const { machine } = request;
  const note = (sshPort: number | undefined, life: MachineRecord['life']) => {
    const isAdded = added.has(machine.name);
    record.machines[machine.name] = { plan: machine, isAdded, sshPort, life };
    state.save(record);
  };
  let { sshPort } = request;
  if (!isRunning(record.machines[machine.name])) {
    sshPort = await startOnFreePort(request, (process, port) =>
      note(port, { state: 'up', process, ready: false }),
    );
  }
  const life = record.machines[machine.name]!.life;
  if (life.state !== 'up') return;
  await machineReady({ ...request, sshPort }, life.process);
  note(sshPort, { ...life, ready: true });
}

async function startOnFreePort(
  request: StartRequest,
  started: (
    process: Parameters<Parameters<typeof startMachine>[1]>[0],
    sshPort: number | undefined,
  ) => void,
): Promise<number | undefined> {
  for (let sshPort = request.sshPort, tries = 1; ; tries++) {
    try {
      await startMachine({ ...request, sshPort }, (process) => started(process, sshPort));
      return sshPort;
    } catch (error) {
      const isTaken = error instanceof TsvswitchError && error.code === 'LAB_PORT_TAKEN';
      if (!isTaken || request.machine.sshPort !== undefined || tries === portTriesMax) throw error;
      [sshPort] = (await freePorts([undefined])) as [number];
    }
  }
}

async function choosePorts(
  record: LabRecord,
  machines: readonly MachinePlan[],
): Promise<readonly (number | undefined)[]> {
  const reached = machines.filter(({ engine }) => engine !== 'uml');
  const wishes = reached.map(({ name, sshPort }) => sshPort ?? record.machines[name]?.sshPort);
  const ports = await freePorts(wishes);
  for (const [index, { name, sshPort }] of reached.entries()) {
    if (sshPort === undefined || sshPort === ports[index]) continue;
    throw failure('lab-ssh-port-taken', { name, sshPort });
  }
  return machines.map((machine) => ports[reached.indexOf(machine)]);
}

/**
 * By machine: what its disk is on top of already, or what the plan says, each once however many
 * share it.
 */
async function imagesOf(
  { state, progress, signal }: Change,
  machines: readonly MachinePlan[],
): Promise<Map<string, BaseImage>> {
  const images = new Map<string, BaseImage>();
  for (const machine of machines) {
    const kept = imageOfDisk(machine, state.filesOf(machine.name));
    if (kept !== undefined) images.set(machine.name, kept);
  }
  for (const { name, image } of machines) {
    if (images.has(name)) continue;
    const users = machines
      .filter((other) => !images.has(other.name) && isDeepStrictEqual(other.image, image))
      .map((other) => other.name);
    const tell = (state: 'running' | 'done', detail?: { detail?: string; fraction?: number }) => {
      for (const user of users) progress({ machine: user, stage: 'image', state, ...detail });
    };
    tell('running');
    const base = await baseImage(image, {
      progress: ({ phase, fraction }) =>
        tell('running', { detail: phase, ...(fraction === undefined ? {} : { fraction }) }),
      ...(signal === undefined ? {} : { signal }),
    });
    tell('done');
    for (const user of users) images.set(user, base);
  }
  return images;
}
