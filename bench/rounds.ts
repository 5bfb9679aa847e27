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
import { type Driver, misfit } from './drivers/driver.ts';
import type { Plan } from './plan.ts';
import { QuietMachine } from './quiet.ts';
import type { Sample, Trial } from './trials/trial.ts';

/** A switch that cannot take part in a trial is absent, with the reason, in its first round. */
export type Outcome = Sample | { readonly failed: string } | { readonly absent: string };

export interface Run {
  readonly trial: Trial;
  readonly driver: Driver;
  readonly round: number;
  readonly outcome: Outcome;
}

export interface Rounds {
  readonly runs: readonly Run[];
  readonly nearestCoreDistanceNs: number;
}

type Turn = Omit<Run, 'outcome'>;

function turns({ trials, rounds, drivers }: Plan): Turn[] {
  return Array.from({ length: rounds }, (_, round) =>
    trials
      .filter(({ roundsMax = rounds }) => round < roundsMax)
      .flatMap((trial) =>
        drivers.map((_, turn) => {
          return { trial, round, driver: drivers[(turn + round) % drivers.length]! };
        }),
      ),
  ).flat();
}

export async function runRounds(
  plan: Plan,
  memory: GuestMemory,
  onProgress: (done: number, of: number, what: string) => void,
): Promise<Rounds> {
  const quiet = new QuietMachine(plan.patience);
  onProgress(0, 1, 'looking how far apart the cores are');
  await quiet.calibrate();
  const runs: Run[] = [];
  const planned = turns(plan);
  for (const [done, turn] of planned.entries()) {
    const { driver, trial, round } = turn;
    onProgress(done, planned.length, `${driver.name}: ${trial.name}`);
    const reason = misfit(driver, trial);
    if (reason === undefined) {
      const outcome = await runOnce(plan, turn, memory, quiet).catch((error: Error) => ({
        failed: error.message,
      }));
      runs.push({ ...turn, outcome });
    } else if (round === 0) {
      runs.push({ ...turn, outcome: { absent: reason } });
    }
  }
  return { runs, nearestCoreDistanceNs: quiet.nearestNs };
}

async function runOnce(
  { warmupS, seconds }: Plan,
  { trial, driver }: Turn,
  memory: GuestMemory,
  quiet: QuietMachine,
): Promise<Sample> {
  const base = mkdtempSync(join(tmpdir(), 'bench-'));
  const folder = join(base, 'switch');
  mkdirSync(folder);
  const sockets = Array.from({ length: trial.ports }, (_, i) => join(folder, `${i + 1}.sock`));
  const conditions = { memory, warmupS, seconds, quiet };
  try {
    const reference = (await trial.reference?.(conditions)) ?? 0;
    const needs = trial.needs ?? [];
    const subject = await driver.start({
      folder,
      sockets,
      mainCpu: clientCpu,
      workerCpu,
      needs,
    });
    try {
      return await trial.run({ subject, reference, folder: base, ...conditions });
    } finally {
      await subject.stop();
    }
  } finally {
    rmSync(base, { recursive: true, force: true });
  }
}
