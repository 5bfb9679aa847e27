/**
 * Runs trials x switches, round after round, each in a fresh process of the switch.
 *
 * Switches take turns within a trial, and the order is turned by one each round, so that what
 * drifts on the machine hits all of them alike. A trial that fails is recorded with its sentence
 * and does not end the run.
 */

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { clientCpu, type GuestMemory, workerCpu } from './client.ts';
import type { Driver } from './drivers/driver.ts';
import type { Plan } from './plan.ts';
import { QuietMachine } from './quiet.ts';
import type { Sample, Trial } from './trials/trial.ts';

export interface Run {
  readonly trial: Trial;
  readonly driver: Driver;
  readonly round: number;
  readonly outcome: Sample | { readonly failed: string };
}

export interface Rounds {
  readonly runs: readonly Run[];
  readonly nearestCoreDistanceNs: number;
}

export async function runRounds(
  plan: Plan,
  drivers: readonly Driver[],
  memory: GuestMemory,
  onProgress: (done: number, of: number, what: string) => void,
): Promise<Rounds> {
  const quiet = new QuietMachine(plan.patience);
  onProgress(0, 1, 'looking how far apart the cores are');
  await quiet.calibrate();
  const runs: Run[] = [];
  const total = plan.rounds * plan.trials.length * drivers.length;
  for (let round = 0; round < plan.rounds; round += 1) {
    for (const trial of plan.trials) {
      for (let turn = 0; turn < drivers.length; turn += 1) {
        const driver = drivers[(turn + round) % drivers.length]!;
        onProgress(runs.length, total, `${driver.name}: ${trial.name}`);
        const outcome = await runOnce(plan, trial, driver, memory, quiet).catch((error: Error) => ({
          failed: error.message,
        }));
        runs.push({ trial, driver, round, outcome });
      }
    }
  }
  return { runs, nearestCoreDistanceNs: quiet.nearestNs };
}

async function runOnce(
  { warmupS, seconds }: Plan,
  trial: Trial,
  driver: Driver,
  memory: GuestMemory,
  quiet: QuietMachine,
): Promise<Sample> {
  const base = mkdtempSync(join(tmpdir(), 'bench-'));
  const folder = join(base, 'switch');
  mkdirSync(folder);
  const sockets = Array.from({ length: trial.ports }, (_, i) => join(folder, `${i + 1}.sock`));
  try {
    const subject = await driver.start({ folder, sockets, mainCpu: clientCpu, workerCpu });
    try {
      return await trial.run({ subject, sockets, memory, folder: base, quiet, warmupS, seconds });
    } finally {
      await subject.stop();
    }
  } finally {
    rmSync(base, { recursive: true, force: true });
  }
}
