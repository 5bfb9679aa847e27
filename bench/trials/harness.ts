/**
 * What a test of a network can count on: how soon a switch is there, how many frames a second this
 * process can send, receive and record, how many steps it can make, and what an impaired port costs
 * the others. All in this process, through the public API; bench/README.md says what is wanted.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Impairment,
  type ProcessPort,
  Switch,
  type WrittenSettings,
} from '#tsvswitch/index.js';
import { TestGuest } from '#tsvswitch/testing/index.js';
import { flood, workerCpu } from '../client.ts';
import { spread } from '../statistics.ts';
import type { Measure, Trial } from './trial.ts';

const batchFrames = 256;
const frameBytes = 64;

function frameOf(from: number, to: number): Buffer {
  const address = (index: number) => Buffer.from([0x52, 0x54, 0, 0, 0, index]);
  return Buffer.concat([address(to), address(from), Buffer.alloc(frameBytes - 12, 0xb5)]);
}

const batchOf = (from: number, to: number): Buffer[] =>
  Array.from({ length: batchFrames }, () => frameOf(from, to));

/** A trial that starts all it needs itself, with a folder for its sockets. */
export function ownTrial(
  measures: readonly Measure[],
  run: (folder: string, seconds: number) => Promise<readonly number[]>,
): Trial {
  return {
    name: `harness: ${measures[0]!.name}`,
    ports: 0,
    measures,
    run: async ({ quiet, seconds }) => {
      const { result, ...verdict } = await quiet.measure(undefined, async () => {
        const folder = mkdtempSync(join(tmpdir(), 'bench-harness-'));
        try {
          return await run(folder, seconds);
        } finally {
          rmSync(folder, { recursive: true });
        }
      });
      return { values: result, ...verdict };
    },
  };
}

const rate = (name: string): Measure => ({ name, unit: 'kfps', decimals: 0, better: 'higher' });

/** Two guests on a switch that is there for as long as `use` takes. */
async function withGuests<Result>(
  folder: string,
  use: (a: TestGuest, b: TestGuest) => Promise<Result>,
): Promise<Result> {
  await using vswitch = Switch.open();
  const paths = ['a', 'b'].map((name) => join(folder, `${name}.sock`));
  for (const path of paths) vswitch.addPort({ path });
  await using a = await TestGuest.connect({ path: paths[0]! });
  await using b = await TestGuest.connect({ path: paths[1]! });
  return await use(a, b);
}

const firstFrame = ownTrial(
  [
    { name: 'open to first frame, the first time', unit: 'ms', decimals: 1, better: 'lower' },
    { name: 'open to first frame, from then on', unit: 'ms', decimals: 1, better: 'lower' },
  ],
  async (folder) => {
    const timesMs: number[] = [];
    for (let i = 0; i < 10; i += 1) {
      const openedMs = performance.now();
      await withGuests(folder, async (a, b) => {
        await a.send(frameOf(0, 1));
        await b.receive();
        timesMs.push(performance.now() - openedMs);
      });
    }
    const [first, ...others] = timesMs;
    return [first!, spread(others).median];
  },
);

/** Both guests send and receive at once: each does in a second what the measure says, each way. */
const guests = ownTrial([rate('two TestGuests, each sends and receives')], (folder, seconds) =>
  withGuests(folder, async (a, b) => {
    const endMs = performance.now() + seconds * 1000;
    const startedMs = performance.now();
    const pass = async (from: TestGuest, to: TestGuest, frames: readonly Buffer[]) => {
      let arrived = 0;
      while (performance.now() < endMs) {
        await from.sendAll(frames);
        for (let left = frames.length; left > 0; ) left -= (await to.receiveAll()).length;
        arrived += frames.length;
      }
      return arrived;
    };
    const counts = await Promise.all([pass(a, b, batchOf(0, 1)), pass(b, a, batchOf(1, 0))]);
    return [Math.min(...counts) / (performance.now() - startedMs)];
  }),
);

const processPorts = ownTrial(
  [rate('process port to process port, in ' + 'batches')],
  async (_, seconds) => {
    await using vswitch = Switch.open();
    const [a, b] = twoPorts(vswitch);
    const frames = batchOf(0, 1);
    const startedMs = performance.now();
    let arrived = 0;
    let underWay = 0;
    while (performance.now() < startedMs + seconds * 1000) {
      // Two batches at a time keep the worker busy while this thread copies.
      while (underWay < 2 * batchFrames) underWay += a.send(frames);
      const taken = (await b.receive()).length;
      underWay -= taken;
      arrived += taken;
    }
    return [arrived / (performance.now() - startedMs)];
  },
);

/** Process ports a and b, which know each other. */
function twoPorts(vswitch: Switch): [ProcessPort, ProcessPort] {
  return [vswitch.addPort({ process: 'a' }), vswitch.addPort({ process: 'b' })];
}

const steps = ownTrial(
  [{ name: 'manual clock, a frame a step', unit: 'ksteps/s', decimals: 0, better: 'higher' }],
  async (_, seconds) => {
    await using vswitch = Switch.open({ clock: 'manual' });
    const [a, b] = twoPorts(vswitch);
    const frame = frameOf(0, 1);
    const startedMs = performance.now();
    let count = 0;
    while (performance.now() < startedMs + seconds * 1000) {
      for (let i = 0; i < 100; i += 1) {
        a.send(frame);
        vswitch.step();
        count += b.take().length;
      }
    }
    return [count / (performance.now() - startedMs)];
  },
);

/**
 * On a manual clock, so that all of it is work of one thread: moving frames, then recording them.
 */
const recording = ownTrial(
  [rate('recorded to a file'), rate('recorded to memory')],
  async (folder, seconds) => {
    const rates: number[] = [];
    for (const to of [join(folder, 'bench.pcapng'), undefined]) {
      await using vswitch = Switch.open({ clock: 'manual' });
      const [a, b] = twoPorts(vswitch);
      const frames = batchOf(0, 1);
      let spentMs = 0;
      let recorded = 0;
      const startedMs = performance.now();
      while (performance.now() < startedMs + seconds * 1000) {
        // Begun anew before a file gets large, or memory full.
        await using capture = vswitch.capture({ port: b, ...(to === undefined ? {} : { to }) });
        for (let i = 0; i < 1000; i += 1) {
          a.send(frames);
          const stepMs = performance.now();
          vswitch.step(batchFrames);
          spentMs += performance.now() - stepMs;
          recorded += b.take().length;
        }
        if (capture.dropped > 0) throw new Error(`${capture.dropped} frames were not recorded`);
      }
      rates.push(recorded / spentMs);
    }
    return rates;
  },
);

/** Sockets of machines, and one setting of one of them; each figure is one call of apply(). */
const settings = ownTrial(
  [
    { name: 'apply() of 500 ports that come', unit: 'ms', decimals: 1, better: 'lower' },
    { name: 'apply() of one changed port among 500', unit: 'ms', decimals: 2, better: 'lower' },
    {
      name: 'apply() of 500 ports of which none changed',
      unit: 'ms',
      decimals: 2,
      better: 'lower',
    },
    { name: 'apply() of 500 ports that go', unit: 'ms', decimals: 1, better: 'lower' },
  ],
  async (folder) => {
    const ports = Object.fromEntries(
      Array.from({ length: 500 }, (_, i) => [`p${i}`, { path: join(folder, `${i}.sock`) }]),
    );
    const timesMs: number[][] = [[], [], [], []];
    for (let round = 0; round < 10; round += 1) {
      await using vswitch = Switch.open();
      const empty = vswitch.settings;
      const timed = (at: number, wanted: WrittenSettings) => {
        const startedMs = performance.now();
        vswitch.apply(wanted);
        timesMs[at]!.push(performance.now() - startedMs);
      };
      timed(0, { ports });
      for (let i = 0; i < 10; i += 1) {
        const changed = { ...ports.p250!, mtu: 1000 + i };
        timed(1, { ports: { ...ports, p250: changed } });
        timed(2, { ports: { ...ports, p250: changed } });
      }
      timed(3, empty);
    }
    return timesMs.map((times) => spread(times).median);
  },
);

/**
 * Two pairs that are as busy as they can be on one worker; again and again the one gets a bad link
 * and loses it, and the other one's frames are counted.
 */
function bystandersOf(name: string, impairment: Impairment): Trial {
  const ports = 4;
  const settleMs = 30;
  const lookMs = 100;
  return {
    name: `harness: bystanders of ${name}`,
    ports: 0,
    measures: [
      { name: `bystanders' rate beside ${name}`, unit: '%', decimals: 1, better: 'higher' },
    ],
    run: async ({ quiet, folder, memory, warmupS, seconds }) => {
      const { result, ...verdict } = await quiet.measure(undefined, async () => {
        await using vswitch = Switch.open({ cpus: [workerCpu] });
        const paths = Array.from({ length: ports }, (_, i) => join(folder, `${i}.sock`));
        const [a, b, c] = paths.map((path) => vswitch.addPort({ path }));
        const delivered = () => a!.counters.toGuest.frames + b!.counters.toGuest.frames;
        const rates = { whole: [] as number[], impaired: [] as number[] };
        let over = false;
        const span = { memory, warmupS, seconds: Math.max(seconds, 2) };
        const client = flood({ kind: 'sockets', paths }, { frame: frameBytes }, span);
        const ended = () => {
          over = true;
        };
        client.then(ended, ended);
        while (delivered() === 0 && !over) await sleep(settleMs);
        while (!over) {
          for (const [state, next] of [
            ['whole', {}],
            ['impaired', impairment],
          ] as const) {
            // What is held back would be overtaken on a whole link, which the client takes for a
            // fault.
            vswitch.impair({ port: c! }, { blackhole: true });
            await sleep(settleMs);
            vswitch.impair({ port: c! }, next);
            await sleep(settleMs);
            const [before, startedMs] = [delivered(), performance.now()];
            await sleep(lookMs);
            const framesPerMs = (delivered() - before) / (performance.now() - startedMs);
            if (!over) rates[state].push(framesPerMs);
          }
        }
        await client;
        return (spread(rates.impaired).median / spread(rates.whole).median) * 100;
      });
      return { values: [result], ...verdict };
    },
  };
}

export const harnessTrials: readonly Trial[] = [
  firstFrame,
  guests,
  processPorts,
  steps,
  recording,
  settings,
  bystandersOf('a port that loses 1 %', { loss: 0.01 }),
  bystandersOf('a port a millisecond away', { delayMs: 1 }),
];
