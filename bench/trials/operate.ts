/**
 * What an operator waits for, and what watching costs: a switch of 500 idle ports, and a flood of
 * one pair of ports that is scraped once a second while the API is asked. bench/README.md says what
 * is wanted.
 */

import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { flood, workerCpu } from '../client.ts';
import { Child, run } from '../process.ts';
import { spread } from '../statistics.ts';
import type { Measure, Trial, TrialContext } from './trial.ts';

const command = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url));
const limitMs = 60_000;
const scrapeIntervalMs = 1000;
/** Somebody who asks about a port as soon as the last answer is there, and a little time passed. */
const thinkMs = 3;

interface Watched {
  readonly pid: number;
  readonly startMs: number;
  readonly control: string;
  readonly sockets: readonly string[];
  /** All of its metrics, once. */
  readonly scrape: () => Promise<void>;
}

/** A switch as a service is: with a control socket, metrics, and as many ports. */
async function withSwitch<Result>(
  ports: number,
  use: (watched: Watched) => Promise<Result>,
): Promise<Result> {
  const folder = mkdtempSync(join(tmpdir(), 'bench-operate-'));
  const sockets = Array.from({ length: ports }, (_, i) => join(folder, `p${i}.sock`));
  const control = join(folder, 'control');
  const listen = ['--control', control, '--metrics', '127.0.0.1:0', '--cpus', String(workerCpu)];
  const startedMs = performance.now();
  const child = new Child(
    process.execPath,
    [command, ...sockets.flatMap((path) => ['--socket', path]), ...listen],
    { logFile: join(folder, 'log') },
  );
  try {
    const place = /metrics are on port (\d+)/;
    await child.until('metrics', () => place.test(child.log), limitMs);
    const startMs = performance.now() - startedMs;
    const url = `http://127.0.0.1:${place.exec(child.log)![1]}/metrics`;
    const scrape = async () => void (await (await fetch(url)).text());
    return await use({ pid: child.pid, startMs, control, sockets, scrape });
  } finally {
    await child.stop();
    rmSync(folder, { recursive: true });
  }
}

/** Milliseconds of each answer while `work` goes on. */
async function askedWhile({ control }: Watched, work: Promise<unknown>): Promise<number[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const times: number[] = [];
  let isOver = false;
  const end = () => {
    isOver = true;
  };
  work.then(end, end);
  while (!isOver) {
    const askedMs = performance.now();
    const outgoing = request({ socketPath: control, path: '/v1/ports/p0', agent }).end();
    const [response] = await once(outgoing, 'response');
    response.resume();
    await once(response, 'end');
    times.push(performance.now() - askedMs);
    await sleep(thinkMs);
  }
  agent.destroy();
  return times;
}

/** Scrapes once a second while `work` goes on. */
async function scrapedWhile<Result>(watched: Watched, work: Promise<Result>): Promise<Result> {
  const timer = setInterval(() => void watched.scrape().catch(() => {}), scrapeIntervalMs);
  try {
    return await work;
  } finally {
    clearInterval(timer);
  }
}

function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!;
}

function residentMegabytes(pid: number): number {
  const [, kibibytes] = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))!;
  return (Number(kibibytes) * 1024) / 1e6;
}

function trial(
  name: string,
  measures: readonly Measure[],
  take: (context: TrialContext) => Promise<readonly number[]>,
): Trial {
  return {
    name: `operate: ${name}`,
    ports: 0,
    measures,
    run: async (context) => {
      const { result, ...verdict } = await context.quiet.measure(undefined, () => take(context));
      return { values: result, ...verdict };
    },
  };
}

const ms = (name: string): Measure => ({ name, unit: 'ms', decimals: 1, better: 'lower' });
const idlePorts = 500;

const idle = trial(
  `${idlePorts} idle ports`,
  [
    ms(`${idlePorts} idle ports, started`),
    { name: 'resident memory', unit: 'MB', decimals: 0, better: 'lower' },
    ms('`show ports`'),
    ms('a request, p50'),
    ms('a request, p99'),
    ms('a request beside a scrape a second, p50'),
    ms('a request beside a scrape a second, p99'),
  ],
  ({ seconds }) =>
    withSwitch(idlePorts, async (watched) => {
      const { pid, startMs, control } = watched;
      const askedMs = performance.now();
      await run(process.execPath, [command, 'show', 'ports', '--control', control], { limitMs });
      const showMs = performance.now() - askedMs;
      const spanMs = Math.max(5, seconds) * 1000;
      const alone = await askedWhile(watched, sleep(spanMs));
      const beside = await askedWhile(watched, scrapedWhile(watched, sleep(spanMs)));
      return [
        ...[startMs, residentMegabytes(pid), showMs],
        ...[alone, beside].flatMap((times) => [percentile(times, 0.5), percentile(times, 0.99)]),
      ];
    }),
);

const roundsOfFlood = 5;

/** In turns, so that a machine that becomes slower does so for both. */
const scraped = trial(
  'a flood that is watched',
  [
    {
      name: 'rate of a flood that is scraped each second, of one that is not',
      ...{ unit: '%', decimals: 1, better: 'higher' },
    },
    ms('a request during the flood, p50'),
    ms('a request during the flood, p99'),
  ],
  ({ memory, warmupS, seconds }) =>
    withSwitch(2, async (watched) => {
      const attachment = { kind: 'sockets', paths: watched.sockets } as const;
      // Two scrapes at least.
      const span = { memory, warmupS, seconds: Math.max(2.5, seconds) };
      const once = () => flood(attachment, { frame: 64, touch: 'headers' }, span);
      const ratios: number[] = [];
      for (let i = 0; i < roundsOfFlood; i++) {
        const alone = await once();
        const beside = await scrapedWhile(watched, once());
        ratios.push((100 * beside.deliveredMpps) / alone.deliveredMpps);
      }
      const times = await askedWhile(watched, scrapedWhile(watched, once()));
      return [spread(ratios).median, percentile(times, 0.5), percentile(times, 0.99)];
    }),
);

export const operateTrials: readonly Trial[] = [idle, scraped];
