/**
 * Measures the network between the machines of a lab, with ping and iperf3 that run in them.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { failure, type TsvswitchError } from '../model/errors.ts';
import type { MachinePlan } from './file/plan.ts';
import type { LabMachine } from './machine.ts';
import type { IperfResult, Ping } from './report.ts';

export interface Measured {
  readonly plan: MachinePlan;
  readonly machine: LabMachine;
}

/** The first round trip includes finding the other one; the second is the shorter one. */
const pingCount = 2;
const pingLimitS = 3;
/** Beyond the duration of what is measured, for a login and an emulated guest. */
const marginMs = 30_000;
const serverPauseMs = 200;
const serverTriesMax = 50;
/** iperf3's own, and some more, so that two measurements at once do not meet. */
const firstPort = 5201;
const ports = 1000;

/** From one machine to all the others. */
export async function pingsFrom(from: Measured, others: readonly Measured[]): Promise<Ping[]> {
  const targets = others.map(({ plan }) => ({ to: plan.name, address: addressOf(plan) }));
  // A line between the answers of two pings, whatever they write.
  const command = targets
    .map(({ address }) => `ping -c ${pingCount} -W ${pingLimitS} ${address}; echo @@`)
    .join('; ');
  const limitMs = targets.length * pingCount * (pingLimitS + 1) * 1000 + marginMs;
  const { stdout } = await from.machine.exec(command, { limitMs });
  const answers = stdout.split('@@\n');
  return targets.map(({ to, address }, index) => {
    const times = Array.from((answers[index] ?? '').matchAll(/time[=<]([\d.]+) ms/g), (match) =>
      Number(match[1]),
    );
    const roundTripMs = times.length === 0 ? undefined : Math.min(...times);
    return { from: from.plan.name, to, address, roundTripMs };
  });
}

/** TCP as fast as it goes. Throws MACHINE_FAILED if nothing arrives. */
export async function iperfBetween(
  from: Measured,
  to: Measured,
  seconds: number,
): Promise<IperfResult> {
  const port = firstPort + Math.floor(Math.random() * ports);
  const limitMs = seconds * 1000 + marginMs;
  // It ends after one test, and if there is none by itself.
  const server = `timeout ${limitMs / 1000} iperf3 --server --one-off --port ${port}`;
  const failed = to.machine.exec(server, { limitMs }).then(({ stdout, stderr, status }) => {
    if (status !== 0) throw iperfFailure(to, stdout + stderr);
    return new Promise<never>(() => {});
  });
  // Until the client has something to say nobody listens.
  failed.catch(() => {});
  const client = `iperf3 --client ${addressOf(to.plan)} --port ${port} --time ${seconds} --json`;
  for (let tries = 1; ; tries++) {
    const run = from.machine.exec(client, { limitMs });
    const { stdout, stderr } = await Promise.race([run, failed]);
    const report = reportOf(stdout);
    if (report?.end?.sum_received?.bytes > 0) {
      const { bytes, bits_per_second: bitsPerSecond } = report.end.sum_received;
      return { from: from.plan.name, to: to.plan.name, seconds, bytes, bitsPerSecond };
    }
    const said: string = report?.error ?? (stdout + stderr).trim();
    if (!said.includes('refused') || tries === serverTriesMax) throw iperfFailure(from, said);
    await sleep(serverPauseMs);
  }
}

function addressOf({ name, addresses }: MachinePlan): string {
  const [first] = addresses;
  if (first === undefined) {
    throw failure('machine-without-address', { name });
  }
  return first.split('/')[0]!;
}

// biome-ignore lint/suspicious/noExplicitAny: iperf3's report, looked at field by field
function reportOf(text: string): any {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function iperfFailure({ plan }: Measured, said: string): TsvswitchError {
  return failure('iperf-failed', { name: plan.name, cause: said });
}
