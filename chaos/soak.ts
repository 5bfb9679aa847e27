/**
 * `npm run soak`: a switch under mixed load for a long time, which has to stay as it is. Frames of
 * all lengths flood, packets of 60 KB pass whole and cut, one port after the other is recorded,
 * guests come and go, links get bad and good again, memory is plugged: all that chaos does but what
 * ends the switch or lets it hold more.
 *
 * Samples are taken where all is settled. The first fifth of them is left out, in which Node's heap
 * finds its size; through the others goes a line (trend.ts), and the verdict is whether it rises.
 */

import { parseArgs } from 'node:util';
import { BulkPair } from './bulk-pair.ts';
import { eventOf, guests } from './event.ts';
import { ChaosNetwork, type Sample } from './network.ts';
import { runProgram, whole } from './program.ts';
import { grows, type Trend, trendOf } from './trend.ts';

const help = `usage: npm run soak -- [options]

  --minutes M   how long; 30 unless given
  --seed N      what happens; 1 unless given
  --help`;

const minutesMax = 10_000;
const secondsPerSample = 10;
const seedMax = 2 ** 31 - 1;
/** Pairs of packets that pass between two events. */
const exchanges = 5;

interface Row extends Sample {
  readonly minute: number;
  readonly framesPerSecond: number;
  readonly latencyMs: number;
}

/** What has to stay as it is: by how much it may rise over the run, from what it is on average. */
const measures: readonly {
  readonly name: string;
  readonly of: (row: Row) => number;
  readonly digits: number;
  readonly allowed: (mean: number) => number;
}[] = [
  { name: 'fds', of: ({ fds }) => fds, digits: 0, allowed: () => 0 },
  { name: 'threads', of: ({ threads }) => threads, digits: 0, allowed: () => 0 },
  { name: 'mappings', of: ({ guestMappings }) => guestMappings, digits: 0, allowed: () => 0 },
  // What Node takes and gives back as it likes.
  { name: 'MiB', of: ({ ownBytes }) => ownBytes / 2 ** 20, digits: 1, allowed: () => 16 },
  { name: 'latency, ms', of: ({ latencyMs }) => latencyMs, digits: 2, allowed: (mean) => mean / 2 },
];

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

function line(cells: readonly (string | number)[]): string {
  return cells.map((cell) => String(cell).padStart(12)).join('');
}

function tell(row: Row): void {
  const values = measures.map(({ of, digits }) => of(row).toFixed(digits));
  console.log(line([row.minute.toFixed(1), Math.round(row.framesPerSecond), ...values]));
}

/** Lets things happen until the time is over, and samples. */
async function soak(network: ChaosNetwork, pair: BulkPair, seed: number, minutes: number) {
  const rows: Row[] = [];
  const latenciesMs: number[] = [];
  let recordedBytes = 0;
  const beganMs = performance.now();
  const endMs = beganMs + minutes * 60_000;
  let last = { atMs: beganMs, frames: network.framesArrived };
  for (let number = 0; performance.now() < endMs; number++) {
    const event = eventOf(seed, number, false);
    const actions = event.actions.filter(({ kind }) => !['restart', 'add-worker'].includes(kind));
    await network.perform({ ...event, actions });
    recordedBytes += await network.recorded(number % guests, async () => {
      for (let i = 0; i < exchanges; i++) latenciesMs.push(...(await pair.exchange()));
    });
    const nowMs = performance.now();
    if (nowMs - last.atMs < secondsPerSample * 1000) continue;
    const frames = network.framesArrived;
    const row = {
      ...(await network.sample()),
      minute: (nowMs - beganMs) / 60_000,
      framesPerSecond: ((frames - last.frames) / (nowMs - last.atMs)) * 1000,
      latencyMs: median(latenciesMs.splice(0)),
    };
    last = { atMs: nowMs, frames };
    rows.push(row);
    tell(row);
  }
  console.log(`captures of ${Math.round(recordedBytes / 2 ** 20)} MiB`);
  return rows;
}

/** Says of every measure how it has gone; whether all have stayed as they were. */
function judge(rows: readonly Row[]): boolean {
  const settled = rows.slice(Math.floor(rows.length / 5));
  if (settled.length < 3) {
    console.log('too few samples for a verdict; let it run for a minute or more');
    return false;
  }
  const verdicts = measures.map(({ name, of, digits, allowed }) => {
    const trend: Trend = trendOf(settled.map(of));
    const isFlat = !grows(trend, allowed(trend.mean));
    const [mean, rise, error] = [trend.mean, trend.rise, 2 * trend.standardError].map((value) =>
      value.toFixed(digits + 1),
    );
    console.log(
      `${isFlat ? 'flat ' : 'GROWS'} ${name}: ${mean} on average, ${rise} ± ${error} more at the ` +
        'end',
    );
    return isFlat;
  });
  return verdicts.every((isFlat) => isFlat);
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: '30' },
      seed: { type: 'string', default: '1' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(help);
    return 0;
  }
  const minutes = whole('minutes', values.minutes, 1, minutesMax);
  const seed = whole('seed', values.seed, 1, seedMax);
  const network = await ChaosNetwork.open(false);
  try {
    const ports = ['bulk1', 'bulk2'] as const;
    const paths = [
      await network.addPort(ports[0], 'bulk'),
      await network.addPort(ports[1], 'bulk'),
    ] as const;
    const pair = await BulkPair.connect(paths);
    console.log(line(['minute', 'frames/s', ...measures.map(({ name }) => name)]));
    const rows = await soak(network, pair, seed, minutes).finally(() => pair.close());
    for (const port of ports) await network.removePort(port);
    // Holds the switch to all that chaos does.
    await network.finish();
    return judge(rows) ? 0 : 1;
  } finally {
    await network.close();
  }
}

await runProgram(main);
