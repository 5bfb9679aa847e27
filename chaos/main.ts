/**
 * `npm run chaos`: guests, ports, settings and the switch itself come and go under flood, and not a
 * frame is lost, repeated, damaged or given to the wrong guest that should not be. chaos/README.md
 * says what happens and what is asked.
 *
 * A series that breaks something is cut down to a short one that still does, and the last line is
 * the command that replays it.
 */

import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { type ChaosEvent, eventOf } from './event.ts';
import { ownGrowthMiBDefault } from './network.ts';
import { runProgram, UsageError, whole } from './program.ts';
import { type Outcome, type RunOptions, run } from './run.ts';
import { shortest } from './shortest.ts';

const help = `usage: npm run chaos -- [options]

  --seconds S         how long things happen; 60 unless given
  --seed N            what happens; drawn unless given
  --events LIST       only these events of the seed, such as 3,17,40-52, however long they take
  --without-machine   no real machine beside the simulated guests
  --growth MIB        what a switch may add to its own memory in a life,
                      ${ownGrowthMiBDefault} unless given
  --help`;

const secondsMax = 86_400;
const seedMax = 2 ** 31;
const eventsMax = 1_000_000;
const growthMiBMax = 2 ** 20;
/** Runs of parts of a series, to find a short one. */
const triesMax = 60;

type Task =
  | { readonly kind: 'help' }
  | {
      readonly kind: 'run';
      readonly seed: number;
      readonly withMachine: boolean;
      readonly ownGrowthMiBMax: number;
      readonly length: { readonly seconds: number } | { readonly numbers: readonly number[] };
    };

function parse(): Task {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '60' },
      seed: { type: 'string' },
      events: { type: 'string' },
      'without-machine': { type: 'boolean', default: false },
      growth: { type: 'string', default: String(ownGrowthMiBDefault) },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return { kind: 'help' };
  const { seconds, seed, events, growth } = values;
  return {
    kind: 'run',
    seed: seed === undefined ? randomInt(seedMax) : whole('seed', seed, 0, seedMax - 1),
    withMachine: !values['without-machine'],
    ownGrowthMiBMax: whole('growth', growth, 1, growthMiBMax),
    length:
      events === undefined
        ? { seconds: whole('seconds', seconds, 0, secondsMax) }
        : { numbers: numbersOf(events) },
  };
}

/** The numbers of a list such as 3,17,40-52. */
function numbersOf(list: string): number[] {
  return list.split(',').flatMap((part) => {
    const range = /^(\d+)(?:-(\d+))?$/.exec(part);
    const [first, last] = [Number(range?.[1]), Number(range?.[2] ?? range?.[1])];
    if (range === null || last < first || last > eventsMax) {
      throw new UsageError(`--events ${list}: expected numbers and ranges, such as 3,17,40-52`);
    }
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
}

/** The shortest way to write numbers that rise. */
function listOf(numbers: readonly number[]): string {
  const ranges: [number, number][] = [];
  for (const number of numbers) {
    const last = ranges.at(-1);
    if (last !== undefined && number === last[1] + 1) last[1] = number;
    else ranges.push([number, number]);
  }
  return ranges.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join();
}

function report(outcome: Outcome & { readonly kind: 'held' }): void {
  const { events, tally } = outcome;
  const { holdings } = tally;
  const [before, after] = tally.ownBytes.map((bytes) => `${Math.round(bytes / 2 ** 20)} MiB`);
  console.log(
    [
      `${events} events, ${tally.switchLives} lives of the switch: every invariant held`,
      `  ${tally.framesArrived} frames arrived and ${tally.pingsAnswered} pings were answered, ` +
        'in their turn, once and whole',
      `  ${tally.framesLost} were lost and ${tally.framesRepeated} repeated by what happened to ` +
        'them',
      `  the last life began and ended with ${holdings.files.length} fds, ` +
        `${holdings.guestMappings} mappings of guests, ${holdings.threads} threads; ` +
        `${before} and ${after} of its own`,
    ].join('\n'),
  );
}

/** Finds a short series and says how to replay it. */
async function minimise(
  events: readonly ChaosEvent[],
  seed: number,
  { withMachine, ownGrowthMiBMax }: RunOptions,
): Promise<void> {
  console.log(`looking for a shorter series in at most ${triesMax} runs ...`);
  let tries = 0;
  const fails = async (part: readonly ChaosEvent[]) => {
    const outcome = await run(part, { withMachine, ownGrowthMiBMax });
    const told = outcome.kind === 'held' ? 'held' : (outcome.error.message.split('\n')[0] ?? '');
    console.log(`  ${++tries}: ${part.length} events: ${told}`);
    return outcome.kind === 'violated';
  };
  const short = await shortest(events, fails, triesMax);
  const options = withMachine ? '' : ' --without-machine';
  const list = listOf(short.map(({ number }) => number));
  console.log(`replay it with\n  npm run chaos -- --seed ${seed}${options} --events ${list}`);
}

async function main(): Promise<number> {
  const task = parse();
  if (task.kind === 'help') {
    console.log(help);
    return 0;
  }
  const { seed, withMachine, ownGrowthMiBMax, length } = task;
  console.log(`seed ${seed}`);
  const endMs = 'seconds' in length ? performance.now() + length.seconds * 1000 : undefined;
  function* series(): Iterable<ChaosEvent> {
    if ('numbers' in length) {
      for (const number of length.numbers) yield eventOf(seed, number, withMachine);
    } else {
      for (let number = 0; performance.now() < endMs!; number++) {
        yield eventOf(seed, number, withMachine);
      }
    }
  }
  const outcome = await run(series(), { withMachine, ownGrowthMiBMax, say: console.log });
  if (outcome.kind === 'held') {
    report(outcome);
    return 0;
  }
  console.error(outcome.error.message);
  await minimise(outcome.events, seed, { withMachine, ownGrowthMiBMax });
  return 1;
}

await runProgram(main);
