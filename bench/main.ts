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
import { type GuestMemory, guestHugePageBytes } from './client.ts';
import { type Driver, peerHugePageBytes } from './drivers/driver.ts';
import { describeMachine } from './machine.ts';
import { drivers, fullPlan, type Plan, quickPlan } from './plan.ts';
import { results, type Skipped, table } from './report.ts';
import { runRounds } from './rounds.ts';

const help = `usage: npm run bench -- [options]

  --quick            fewer trials and shorter ones: under two minutes
  --rounds N         how often each trial is repeated (3 with --quick, else 5)
  --seconds S        length of each measurement
  --switches A,B     only these: ${drivers.map(({ name }) => name).join(', ')}
  --trials WORDS     only trials whose name contains this
  --help`;

const resultsFolder = fileURLToPath(new URL('../../bench/results/', import.meta.url));
const cpusNeeded = 2;

class UsageError extends Error {}

interface Selection {
  readonly plan: Plan;
  readonly wanted: readonly Driver[];
}

function select(): Selection | 'help' {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      switches: { type: 'string' },
      trials: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return 'help';
  const base = values.quick ? quickPlan : fullPlan;
  const trials = base.trials.filter(({ name }) => name.includes(values.trials ?? ''));
  if (trials.length === 0) {
    const names = base.trials.map(({ name }) => `\n  ${name}`).join('');
    throw new UsageError(`--trials ${values.trials}: no such trial; there are${names}`);
  }
  const names = values.switches?.split(',') ?? drivers.map(({ name }) => name);
  const unknown = names.find((name) => !drivers.some((driver) => driver.name === name));
  if (unknown !== undefined) throw new UsageError(`--switches ${unknown}: no such switch`);
  return {
    plan: {
      ...base,
      trials,
      rounds: positive('rounds', values.rounds, base.rounds),
      seconds: positive('seconds', values.seconds, base.seconds),
    },
    wanted: drivers.filter(({ name }) => names.includes(name)),
  };
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

async function main(): Promise<number> {
  const selection = select();
  if (selection === 'help') {
    console.log(help);
    return 0;
  }
  const { plan, wanted } = selection;
  const machine = describeMachine();
  if (machine.cpus < cpusNeeded) {
    console.error(`the benchmark needs ${cpusNeeded} CPUs, this machine has ${machine.cpus}`);
    return 1;
  }
  const skipped: Skipped[] = wanted.flatMap((driver) => {
    const reason = driver.unavailable();
    return reason === undefined ? [] : [{ driver, reason }];
  });
  const present = wanted.filter((driver) => !skipped.some((skip) => skip.driver === driver));
  if (skipped.some(({ reason }) => reason.includes('huge pages'))) {
    console.error(
      'The peers need huge pages: as root, echo 512 > /proc/sys/vm/nr_hugepages && ' +
        'mkdir -p /dev/hugepages && mount -t hugetlbfs none /dev/hugepages',
    );
  }
  if (present.length === 0) {
    for (const { driver, reason } of skipped) console.error(`${driver.name} skipped: ${reason}`);
    return 1;
  }
  const versions = new Map<Driver, string>();
  for (const driver of present) versions.set(driver, await driver.version());

  const memory = chooseMemory(machine.freeHugePageBytes);
  const rounds = await runRounds(plan, present, memory, showProgress);
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');

  const { cpuModel, cpus, kernel, node } = machine;
  console.log(`${cpuModel}, ${cpus} CPUs, Linux ${kernel}, Node ${node}`);
  console.log(`${[...versions.values()].join(', ')}; ${memory} guests; ${plan.rounds} rounds\n`);
  console.log(table(plan, rounds, present, skipped));

  const kept = results(plan, rounds, machine, versions, skipped);
  const file = join(resultsFolder, `${new Date().toISOString().replaceAll(':', '-')}.json`);
  mkdirSync(resultsFolder, { recursive: true });
  writeFileSync(file, `${JSON.stringify(kept, undefined, 2)}\n`);
  console.log(`\nall of it: ${file}`);
  return rounds.runs.some(({ outcome }) => 'failed' in outcome) ? 1 : 0;
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
