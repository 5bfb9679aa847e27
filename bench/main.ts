/**
 * `npm run bench`: this switch and its peers, measured by one client in one run.
 *
 * Prints a table and keeps everything in bench/results. bench/README.md says what is measured, how
 * each switch is started, and how to read a ratio. Changes no setting of the machine.
 */

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { writeCharts } from './charts.ts';
import { type GuestMemory, guestHugePageBytes } from './client.ts';
import { type Driver, missingHugePages, peerHugePageBytes } from './drivers/driver.ts';
import { describeMachine } from './machine.ts';
import { fullPlan, harnessPlan, noPatience, operatePlan, type Plan, quickPlan } from './plan.ts';
import { preamble, table } from './report.ts';
import { collect, type Results, readResults, type Skipped } from './results.ts';
import { runRounds } from './rounds.ts';

const [quick, full] = [quickPlan.rounds, fullPlan.rounds];

const help = `usage: npm run bench -- [options]

  --quick            fewer trials, switches and rounds: under two minutes
  --harness          what a switch inside a test does, without peers: half a minute
  --operate          what operators wait for, and what watching costs: four minutes
  --rounds N         how often each trial is repeated (${quick} with --quick, else ${full})
  --seconds S        length of each measurement
  --switches A,B     only these: ${fullPlan.drivers.map(({ name }) => name).join(', ')}
  --trials WORDS     only trials whose name contains this
  --hasty            neither wait for a quiet machine nor repeat what was disturbed
  --charts FOLDER    write the charts there as well, under names that stay the same
  --from FILE        measure nothing; the table and charts of an earlier results file
  --help`;

const resultsFolder = fileURLToPath(new URL('../../bench/results/', import.meta.url));
const cpusNeeded = 2;

class UsageError extends Error {}

type Task =
  | { readonly kind: 'help' }
  | { readonly kind: 'show'; readonly from: string; readonly charts: string | undefined }
  | { readonly kind: 'measure'; readonly plan: Plan; readonly charts: string | undefined };

function parse(): Task {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      harness: { type: 'boolean', default: false },
      operate: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      switches: { type: 'string' },
      trials: { type: 'string' },
      hasty: { type: 'boolean', default: false },
      charts: { type: 'string' },
      from: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  const { charts, from } = values;
  if (values.help) return { kind: 'help' };
  if (from !== undefined) return { kind: 'show', from, charts };
  const base = basePlan(values);
  const words = (values.trials ?? '').toLowerCase();
  const trials = base.trials.filter(({ name }) => name.toLowerCase().includes(words));
  if (trials.length === 0) {
    const names = base.trials.map(({ name }) => `\n  ${name}`).join('');
    throw new UsageError(`--trials ${values.trials}: no such trial; there are${names}`);
  }
  const plan = {
    ...base,
    drivers: values.switches === undefined ? base.drivers : driversNamed(values.switches),
    trials,
    rounds: Math.ceil(positive('rounds', values.rounds, base.rounds)),
    seconds: positive('seconds', values.seconds, base.seconds),
    patience: values.hasty ? noPatience : base.patience,
  };
  return { kind: 'measure', plan, charts };
}

function basePlan(asked: { harness: boolean; operate: boolean; quick: boolean }): Plan {
  if (asked.harness) return harnessPlan;
  if (asked.operate) return operatePlan;
  return asked.quick ? quickPlan : fullPlan;
}

function driversNamed(list: string): Driver[] {
  const names = list.split(',');
  const unknown = names.find((name) => !fullPlan.drivers.some((driver) => driver.name === name));
  if (unknown !== undefined) throw new UsageError(`--switches ${unknown}: no such switch`);
  return fullPlan.drivers.filter(({ name }) => names.includes(name));
}

function positive(name: string, text: string | undefined, otherwise: number): number {
  if (text === undefined) return otherwise;
  const value = Number(text);
  if (!(value > 0 && value <= 3600)) {
    throw new UsageError(`--${name} ${text}: expected a number above 0, at most 3600`);
  }
  return value;
}

/** The same for all switches: huge pages if there are enough for the guests beside any peer. */
function chooseMemory(freeHugePageBytes: number): GuestMemory {
  return freeHugePageBytes >= peerHugePageBytes + guestHugePageBytes ? 'hugetlbfs' : 'memfd';
}

function showProgress(done: number, of: number, what: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K[${done}/${of}] ${what}`);
}

/** What is there of the wanted switches, and why the others are not. */
function present(wanted: readonly Driver[]): { drivers: Driver[]; skipped: Skipped[] } {
  const skipped = wanted.flatMap((driver) => {
    const reason = driver.unavailable();
    return reason === undefined ? [] : [{ name: driver.name, reason }];
  });
  const drivers = wanted.filter(({ name }) => !skipped.some((skip) => skip.name === name));
  return { drivers, skipped };
}

/** Undefined if there is nothing to measure or nothing to measure it with, which was said then. */
async function measure(wanted: Plan): Promise<Results | undefined> {
  const machine = describeMachine();
  if (machine.cpus < cpusNeeded) {
    console.error(`the benchmark needs ${cpusNeeded} CPUs, this machine has ${machine.cpus}`);
    return undefined;
  }
  const { drivers, skipped } = present(wanted.drivers);
  const lacking = missingHugePages();
  if (skipped.some(({ reason }) => reason === lacking)) {
    console.error(
      'The peers need huge pages: as root, echo 512 > /proc/sys/vm/nr_hugepages && ' +
        'mkdir -p /dev/hugepages && mount -t hugetlbfs none /dev/hugepages',
    );
  }
  if (drivers.length === 0) {
    for (const { name, reason } of skipped) console.error(`${name} skipped: ${reason}`);
    return undefined;
  }
  const versions = new Map<Driver, string>();
  for (const driver of drivers) versions.set(driver, await driver.version());

  const plan = { ...wanted, drivers };
  const memory = chooseMemory(machine.freeHugePageBytes);
  const rounds = await runRounds(plan, memory, showProgress);
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  return collect(plan, rounds, machine, memory, versions, skipped);
}

function show(results: Results): void {
  console.log(`${preamble(results)}\n\n${table(results)}`);
}

/** The results with their charts beside them. */
function keep(results: Results): void {
  const name = results.takenAt.replaceAll(':', '-');
  mkdirSync(resultsFolder, { recursive: true });
  const file = join(resultsFolder, `${name}.json`);
  writeFileSync(file, `${JSON.stringify(results, undefined, 2)}\n`);
  console.log(`\nall of it: ${file}`);
  drawInto(results, join(resultsFolder, name));
}

function drawInto(results: Results, folder: string): void {
  for (const file of writeCharts(results, folder)) console.log(`chart: ${file}`);
}

async function main(): Promise<number> {
  const task = parse();
  switch (task.kind) {
    case 'help':
      console.log(help);
      return 0;
    case 'show': {
      const results = readResults(task.from);
      show(results);
      if (task.charts !== undefined) drawInto(results, task.charts);
      return 0;
    }
    case 'measure': {
      const results = await measure(task.plan);
      if (results === undefined) return 1;
      show(results);
      keep(results);
      if (task.charts !== undefined) drawInto(results, task.charts);
      const failed = results.trials.some(({ runs }) => runs.some((run) => 'failed' in run));
      return failed ? 1 : 0;
    }
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  const isUsage =
    error instanceof UsageError || (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS');
  if (!isUsage) throw error;
  console.error((error as Error).message);
  process.exitCode = 2;
}
