/**
 * The switch of a lab: a detached process of its own, or one that somebody else runs.
 *
 * Either way machines are attached through its control socket, a port each, so that they come and
 * go while it runs. If it has died or its settings have changed it is started again: machines find
 * back to it by themselves, since their sockets have the same names and QEMU keeps trying.
 */

import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { ControlClient } from '../control/client.ts';
import { end, isAlive, type ProcessRecord, startDetached } from '../machine/detached-process.ts';
import { failure, TsvswitchError } from '../model/errors.ts';
import { readTail } from './death.ts';
import type { LabPlan } from './file/plan.ts';
import type { LabRecord, LabState, SwitchRecord } from './state.ts';

const startLimitMs = 60_000;
const lookPauseMs = 20;
/** The folder of the socket is closed to other users, and the switch may be another user's. */
const portSocketMode = '666';

/** Whether the switch that is recorded is there and as the plan has it. */
export function switchDiffers(record: LabRecord, plan: LabPlan): boolean {
  const current = record.switch;
  if (current === undefined || !isDeepStrictEqual(current.plan, plan.switch)) return true;
  return current.process !== undefined && !isAlive(current.process);
}

/** The switch of the plan, started if need be. Throws SWITCH_FAILED, CONTROL_UNREACHABLE. */
export async function openSwitch(
  state: LabState,
  record: LabRecord,
  plan: LabPlan,
  command: string,
): Promise<ControlClient> {
  if (switchDiffers(record, plan)) {
    await closeSwitch(state, record);
    record.switch = await startSwitch(state, plan, command);
    state.save(record);
  }
  const { control, process } = record.switch!;
  return process === undefined
    ? ControlClient.connect(control)
    : firstAnswer(control, process, state.switchLog);
}

/** Ends a switch of our own, and takes our ports from another one's. */
export async function closeSwitch(state: LabState, record: LabRecord): Promise<void> {
  const current = record.switch;
  if (current === undefined) return;
  if (current.process !== undefined) {
    await end(current.process);
  } else {
    const names = Object.keys(record.machines);
    await withoutPorts(
      current,
      names.map((name) => portName(state, current, name)),
    );
  }
  record.switch = undefined;
  state.save(record);
}

/** The port of a machine, added if it is not there. */
export async function openPort(
  state: LabState,
  record: LabRecord,
  client: ControlClient,
  machine: string,
): Promise<void> {
  const name = portName(state, record.switch!, machine);
  const path = state.filesOf(machine).portSocket;
  const { bridge } = record.switch!.plan;
  const { ports } = await client.status();
  const there = ports.find((port) => port.name === name);
  const isOurs = there?.kind === 'vhost-user' && there.path === path && there.bridge === bridge;
  if (isOurs && existsSync(path)) return;
  // Of a lab whose sockets were elsewhere, or have been removed.
  if (there !== undefined) await client.removePort(name);
  await client.addPort({ name, bridge, path, mode: portSocketMode });
}

/** Takes away the port of a machine that is gone, if there is still a switch to take it from. */
export async function closePort(
  state: LabState,
  record: LabRecord,
  machine: string,
): Promise<void> {
  if (record.switch === undefined) return;
  await withoutPorts(record.switch, [portName(state, record.switch, machine)]);
}

async function withoutPorts({ control }: SwitchRecord, names: readonly string[]): Promise<void> {
  try {
    await using client = await ControlClient.connect(control);
    const { ports } = await client.status();
    for (const name of names.filter((name) => ports.some((port) => port.name === name))) {
      await client.removePort(name);
    }
  } catch (error) {
    // A switch that is gone has no ports.
    if (!(error instanceof TsvswitchError && error.code === 'CONTROL_UNREACHABLE')) throw error;
  }
}

/** On a switch that others use too, the port says whose it is. */
function portName(state: LabState, { process }: SwitchRecord, machine: string): string {
  return process === undefined ? `${state.id}-${machine}` : machine;
}

async function startSwitch(state: LabState, plan: LabPlan, command: string): Promise<SwitchRecord> {
  if (plan.switch.type === 'attach') {
    return { plan: plan.switch, control: plan.switch.control, process: undefined };
  }
  const { workers, cpus } = plan.switch;
  const process_ = await startDetached(
    process.execPath,
    [
      command,
      ...['--control', state.control],
      ...['--workers', String(workers)],
      ...(cpus.length > 0 ? ['--cpus', cpus.join(',')] : []),
    ],
    { log: state.switchLog, folder: state.folder, mark: state.folder },
  );
  return { plan: plan.switch, control: state.control, process: process_ };
}

async function firstAnswer(
  control: string,
  process: ProcessRecord,
  log: string,
): Promise<ControlClient> {
  const giveUpMs = performance.now() + startLimitMs;
  for (;;) {
    try {
      return await ControlClient.connect(control);
    } catch (error) {
      const said = readTail(log).join('\n');
      if (!isAlive(process)) {
        throw failure('switch-not-started', { said });
      }
      if (performance.now() > giveUpMs) {
        const late = `the switch does not answer on ${control} within ${startLimitMs / 1000} s`;
        throw failure('switch-late', { what: late, said }, { cause: error });
      }
    }
    await sleep(lookPauseMs);
  }
}
