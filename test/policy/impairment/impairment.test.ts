/**
 * Networks that are bad on purpose: what a program may ask for, that it gets that and the same
 * again, and what happens over time. The arithmetic of links is tested where it is
 * (native/test/policy/link_test.cc).
 */

import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { Impairment, Link, ScheduleStep } from '../../../src/index.ts';
import { Switch } from '../../../src/index.ts';
import type { ProcessPort } from '../../../src/port/process/process-port.ts';
import { broadcast, ethernetFrame, frameBetween, macOf, numberOf } from '../../support/ethernet.ts';

const codeOf = (code: string) => expect.objectContaining({ code });

interface Network {
  readonly vswitch: Switch;
  readonly ports: readonly ProcessPort[];
  [Symbol.dispose](): void;
}

/**
 * Ports of this process, p0, p1 and so on, which know each other's addresses, and a clock that
 * stands still.
 */
function open(count: number, seed = 1): Network {
  const vswitch = Switch.open({ clock: 'manual', seed });
  const ports = Array.from({ length: count }, (_, i) => vswitch.addPort({ process: `p${i}` }));
  for (const [i, port] of ports.entries()) {
    port.send(ethernetFrame({ from: macOf(i), to: broadcast }));
  }
  vswitch.step(count);
  for (const port of ports) port.take();
  return { vswitch, ports, [Symbol.dispose]: () => vswitch.close() };
}

/** Sends numbered frames from p0 to p1, one a millisecond; returns the numbers as they arrive. */
function pass({ vswitch, ports: [from, to] }: Network, count: number): number[] {
  const arrived: number[] = [];
  for (let i = 0; i < count; i++) {
    from!.send(frameBetween(0, 1, i, 200));
    vswitch.advance(1);
    arrived.push(...to!.take().map(numberOf));
  }
  vswitch.advance(10_000);
  return [...arrived, ...to!.take().map(numberOf)];
}

const ascending = (count: number) => Array.from({ length: count }, (_, i) => i);

describe('an impairment', () => {
  test.each<[string, Link, Impairment, (ports: readonly ProcessPort[]) => number]>([
    ['lost', { port: 'p1' }, { loss: 1 }, ([, to]) => to!.counters.drops.lost!],
    [
      'lost on its way from the guest',
      { port: 'p0', direction: 'fromGuest' },
      { loss: { turnsBad: 1, turnsGood: 0 } },
      ([from]) => from!.counters.drops.lost!,
    ],
    [
      'swallowed',
      { from: 'p0', to: 'p1' },
      { blackhole: true },
      ([, to]) => to!.counters.drops.blackhole!,
    ],
    [
      'too long',
      { between: ['p1', 'p0'] },
      { mtuBytes: 185 },
      ([, to]) => to!.counters.drops.overMtu!,
    ],
    [
      'too many',
      { port: 'p1', direction: 'toGuest' },
      { rate: { bitsPerSecond: 300, queueBytes: 0 } },
      ([, to]) => to!.counters.drops.overRate! + 1,
    ],
  ])('counts every frame that is %s', (_, link, impairment, dropped) => {
    using network = open(3);
    network.vswitch.impair(link, impairment);
    network.ports[2]!.send(frameBetween(2, 0, 1, 60));
    network.vswitch.step();
    expect(network.ports[0]!.take()).toHaveLength(1);
    for (let i = 0; i < 10; i++) network.ports[0]!.send(frameBetween(0, 1, i, 200));
    network.vswitch.step(10);
    expect(network.ports[1]!.take()).toEqual([]);
    expect(dropped(network.ports)).toBe(10);
  });

  test('of two directions or of one is what the link says', () => {
    using network = open(2);
    const { vswitch, ports } = network;
    const roundTripMs = (link: Link, delayMs: number) => {
      vswitch.impair(link, { delayMs });
      ports[0]!.send(frameBetween(0, 1));
      vswitch.step();
      let ms = 0;
      for (; ports[1]!.take().length === 0; ms++) vswitch.advance(1);
      ports[1]!.send(frameBetween(1, 0));
      vswitch.step();
      for (; ports[0]!.take().length === 0; ms++) vswitch.advance(1);
      vswitch.impair(link, {});
      return ms;
    };
    expect(roundTripMs({ port: 'p0' }, 10)).toBe(20);
    expect(roundTripMs({ port: ports[0]!, direction: 'toGuest' }, 10)).toBe(10);
    expect(roundTripMs({ between: ['p0', ports[1]!] }, 10)).toBe(20);
    expect(roundTripMs({ from: 'p1', to: 'p0' }, 10)).toBe(10);
  });

  test('is gone with {}, while what it held back still arrives in its time', () => {
    using network = open(2);
    const { vswitch, ports } = network;
    vswitch.impair({ port: 'p1' }, { delayMs: 5 });
    ports[0]!.send(frameBetween(0, 1, 1));
    vswitch.step();
    vswitch.impair({ port: 'p1' }, {});
    ports[0]!.send(frameBetween(0, 1, 2));
    vswitch.step();
    expect(ports[1]!.take().map(numberOf)).toEqual([2]);
    vswitch.advance(5);
    expect(ports[1]!.take().map(numberOf)).toEqual([1]);
  });

  test('holds to the machine’s clock too, and no longer than it must', async () => {
    await using vswitch = Switch.open();
    const [a, b] = ['a', 'b'].map((name) => vswitch.addPort({ process: name })) as [
      ProcessPort,
      ProcessPort,
    ];
    vswitch.impair({ from: 'a', to: 'b' }, { delayMs: 30 });
    const begunMs = performance.now();
    for (let i = 0; i < 3; i++) {
      a.send(frameBetween(0, 1, i));
      expect((await b.receive()).map(numberOf)).toEqual([i]);
    }
    expect(performance.now() - begunMs).toBeGreaterThanOrEqual(90);
  });

  test('counts what it does besides dropping', () => {
    using network = open(2);
    network.vswitch.impair(
      { from: 'p0', to: 'p1' },
      { delayMs: 1, duplicate: 1, corrupt: 1, reorder: { probability: 1, lateByMs: 3 } },
    );
    expect(pass(network, 10)).toHaveLength(20);
    expect(network.ports[1]!.counters.impaired).toEqual({
      held: 20,
      duplicated: 10,
      reordered: 10,
      corrupted: 10,
    });
  });

  test.each<[string, unknown]>([
    ['a probability above 1', { loss: 1.1 }],
    ['a negative probability', { duplicate: -0.1 }],
    ['a probability that is no number', { corrupt: Number.NaN }],
    ['a probability as text', { loss: '0.5' }],
    ['bursts without an end', { loss: { turnsBad: 0.1 } }],
    ['more jitter than delay', { delayMs: 1, jitterMs: 2 }],
    ['an endless delay', { delayMs: Number.POSITIVE_INFINITY }],
    ['no rate', { rate: { bitsPerSecond: 0 } }],
    ['a rate that is a number', { rate: 1000 }],
    ['half a byte of queue', { rate: { bitsPerSecond: 1000, queueBytes: 0.5 } }],
    ['an MTU that no link has', { mtuBytes: 20 }],
    ['reordering by nothing', { reorder: { probability: 0.5, lateByMs: 0 } }],
    ['a black hole that is a number', { blackhole: 1 }],
    ['a misspelt impairment', { los: 0.5 }],
    ['a number', 5],
    ['nothing', null],
    ['a list', []],
  ])('that is %s is BAD_OPTION', (_, impairment) => {
    using network = open(2);
    const impair = () => network.vswitch.impair({ port: 'p1' }, impairment as Impairment);
    expect(impair).toThrow(codeOf('BAD_OPTION'));
    expect(pass(network, 1)).toEqual([0]);
  });

  test.each<[string, unknown, string]>([
    ['of a port that is not there', { port: 'p9' }, 'NO_SUCH_PORT'],
    ['to a port that is not there', { from: 'p0', to: 'p9' }, 'NO_SUCH_PORT'],
    ['of no port', {}, 'BAD_OPTION'],
    ['of a number', { port: 7 }, 'BAD_OPTION'],
    ['from a port to itself', { from: 'p0', to: 'p0' }, 'BAD_OPTION'],
    ['with one end', { from: 'p0' }, 'BAD_OPTION'],
    ['sideways', { port: 'p0', direction: 'sideways' }, 'BAD_OPTION'],
    ['of both kinds', { port: 'p0', from: 'p0', to: 'p1' }, 'BAD_OPTION'],
    ['between three', { between: ['p0', 'p1', 'p0'] }, 'BAD_OPTION'],
    ['between bridges', { from: 'p0', to: 'elsewhere' }, 'BAD_OPTION'],
  ])('on a link %s is refused', (_, link, code) => {
    using network = open(2);
    network.vswitch.addPort({ process: 'elsewhere', bridge: 'blue' });
    expect(() => network.vswitch.impair(link as Link, { loss: 1 })).toThrow(codeOf(code));
    expect(pass(network, 1)).toEqual([0]);
  });
});

describe('a seed', () => {
  const impairment: Impairment = {
    loss: { turnsBad: 0.05, turnsGood: 0.3 },
    delayMs: 4,
    jitterMs: 4,
    duplicate: 0.1,
    corrupt: 0.05,
    reorder: { probability: 0.1, lateByMs: 7 },
    rate: { bitsPerSecond: 1_700_000, queueBytes: 1000 },
  };
  const run = (seed: number) => {
    using network = open(2, seed);
    network.vswitch.impair({ between: ['p0', 'p1'] }, impairment);
    return pass(network, 300);
  };

  test('brings the same outcome with the same frames, and another seed another', () => {
    const outcome = run(7);
    expect(outcome.length).toBeGreaterThan(150);
    expect(outcome).not.toEqual(outcome.toSorted((a, b) => a - b));
    expect(run(7)).toEqual(outcome);
    expect(run(8)).not.toEqual(outcome);
  });

  test('is drawn where none is given, can be read, and repeats the run', () => {
    const first = Switch.open({ clock: 'manual' });
    const other = Switch.open({ clock: 'manual' });
    expect(first.seed).not.toBe(other.seed);
    expect(run(first.seed)).toEqual(run(first.seed));
    for (const vswitch of [first, other]) vswitch.close();
    for (const seed of [-1, 0.5, Number.NaN, 2 ** 53, '1' as unknown as number]) {
      expect(() => Switch.open({ seed })).toThrow(codeOf('BAD_OPTION'));
    }
  });

  test('is of each link its own, whatever else there is', () => {
    const outcome = (before: string[]) => {
      const vswitch = Switch.open({ clock: 'manual', seed: 3 });
      for (const name of before) vswitch.addPort({ process: name });
      const ports = ['p0', 'p1'].map((name) => vswitch.addPort({ process: name }));
      vswitch.impair({ from: 'p0', to: 'p1' }, { loss: 0.5 });
      vswitch.impair({ from: 'p1', to: 'p0' }, { loss: 0.5 });
      const there = pass({ vswitch, ports, [Symbol.dispose]() {} }, 100);
      const back = pass({ vswitch, ports: ports.toReversed(), [Symbol.dispose]() {} }, 100);
      vswitch.close();
      return { there, back };
    };
    const { there, back } = outcome([]);
    expect(there).not.toEqual(back);
    expect(outcome(['x', 'y'])).toEqual({ there, back });
  });

  test('and a thousand runs of a partition have one result, to the last byte', () => {
    const digest = () => {
      using network = open(3, 11);
      const { vswitch, ports } = network;
      const hash = createHash('sha256');
      vswitch.impair({ port: 'p2' }, { delayMs: 2, jitterMs: 1, loss: 0.1, corrupt: 0.1 });
      vswitch.schedule([
        { atMs: 5, partition: [['p0', 'p1'], ['p2']] },
        { atMs: 12, heal: true },
      ]);
      for (let i = 0; i < 20; i++) {
        for (const [k, port] of ports.entries()) {
          port.send(ethernetFrame({ from: macOf(k), to: broadcast, number: i }));
        }
        vswitch.advance(1);
        for (const port of ports) for (const frame of port.take()) hash.update(frame);
      }
      hash.update(JSON.stringify(ports.map(({ counters }) => counters)));
      return hash.digest('hex');
    };
    const results = new Set(Array.from({ length: 1000 }, digest));
    expect(results.size).toBe(1);
  });
});

describe('a partition', () => {
  test('cuts sides off from each other until it heals or another one comes', () => {
    using network = open(4);
    const { vswitch, ports } = network;
    const heardBy = (from: number) => {
      ports[from]!.send(ethernetFrame({ from: macOf(from), to: broadcast }));
      vswitch.step();
      return ports.filter((port) => port.take().length > 0).map(({ name }) => name);
    };
    vswitch.partition(['p0', ports[1]!], ['p2']);
    expect(heardBy(0)).toEqual(['p1', 'p3']);
    expect(heardBy(3)).toEqual(['p0', 'p1', 'p2']);
    expect(ports[2]!.counters.drops.partitioned).toBe(1);
    vswitch.partition(['p0'], ['p1']);
    expect(heardBy(0)).toEqual(['p2', 'p3']);
    vswitch.heal();
    expect(heardBy(0)).toEqual(['p1', 'p2', 'p3']);
  });

  test.each<[string, unknown[], string]>([
    ['without sides', [], 'BAD_OPTION'],
    ['with one side', [['p0']], 'BAD_OPTION'],
    ['with a side that is no list', [['p0'], 'p1'], 'BAD_OPTION'],
    ['with a port on both sides', [['p0', 'p1'], ['p0']], 'BAD_OPTION'],
    ['with a port that is not there', [['p0'], ['p9']], 'NO_SUCH_PORT'],
  ])('%s is refused', (_, sides, code) => {
    using network = open(2);
    expect(() => network.vswitch.partition(...(sides as string[][]))).toThrow(codeOf(code));
    expect(pass(network, 1)).toEqual([0]);
  });
});

describe('a schedule', () => {
  test('makes each step at its time, to the nanosecond on a manual clock', async () => {
    using network = open(2);
    const schedule = network.vswitch.schedule([
      { atMs: 2.5, link: { port: 'p1' }, impairment: { blackhole: true } },
      { atMs: 5, link: { port: 'p1' }, impairment: {} },
      { atMs: 7, partition: [['p0'], ['p1']] },
      { atMs: 9, heal: true },
    ]);
    expect(pass(network, 12)).toEqual([0, 1, 2, 5, 6, 9, 10, 11]);
    await schedule.done;
  });

  test('that is ended makes no more steps; one of a port that went does nothing', async () => {
    using network = open(3);
    const step: ScheduleStep = { atMs: 1, link: { port: 'p1' }, impairment: { blackhole: true } };
    const ended = network.vswitch.schedule([step]);
    ended.end();
    await ended.done;
    network.vswitch.schedule([{ ...step, link: { from: 'p2', to: 'p1' } }]);
    network.vswitch.removePort(network.ports[2]!);
    expect(pass(network, 5)).toEqual(ascending(5));
  });

  test('runs on the machine’s clock, and ends with its switch', async () => {
    const vswitch = Switch.open();
    const [a, b] = ['a', 'b'].map((name) => vswitch.addPort({ process: name })) as [
      ProcessPort,
      ProcessPort,
    ];
    await vswitch.schedule([
      { atMs: 0, partition: [['a'], ['b']] },
      { atMs: 5, link: { port: 'a' }, impairment: { delayMs: 1 } },
    ]).done;
    a.send(frameBetween(0, 1));
    await a.flush();
    vswitch.heal();
    a.send(frameBetween(0, 1, 1));
    // The first frame may be held back until after the healing, or be cut off before it.
    let last: number | undefined;
    while (last !== 1) last = (await b.receive()).map(numberOf).at(-1);
    const endless = vswitch.schedule([{ atMs: 1_000_000, heal: true }]);
    vswitch.close();
    await endless.done;
  });

  test.each<[string, unknown, string]>([
    ['no list', { atMs: 1, heal: true }, 'BAD_OPTION'],
    ['empty', [], 'BAD_OPTION'],
    ['in the past', [{ atMs: -1, heal: true }], 'BAD_OPTION'],
    ['never', [{ atMs: Number.POSITIVE_INFINITY, heal: true }], 'BAD_OPTION'],
    ['without a time', [{ heal: true }], 'BAD_OPTION'],
    [
      'backwards',
      [
        { atMs: 2, heal: true },
        { atMs: 1, heal: true },
      ],
      'BAD_OPTION',
    ],
    ['without a change', [{ atMs: 1 }], 'BAD_OPTION'],
    ['of nothing', [undefined], 'BAD_OPTION'],
    [
      'of a port that is not there',
      [{ atMs: 1, link: { port: 'p9' }, impairment: {} }],
      'NO_SUCH_PORT',
    ],
    ['of half a partition', [{ atMs: 1, partition: [['p0']] }], 'BAD_OPTION'],
    [
      'of a bad impairment',
      [{ atMs: 1, link: { port: 'p0' }, impairment: { loss: 2 } }],
      'BAD_OPTION',
    ],
  ])('%s is refused before any step is made', (_, steps, code) => {
    using network = open(2);
    const good: ScheduleStep = { atMs: 0, partition: [['p0'], ['p1']] };
    const all = Array.isArray(steps) && steps.length > 0 ? [good, ...steps] : steps;
    expect(() => network.vswitch.schedule(all as ScheduleStep[])).toThrow(codeOf(code));
    expect(pass(network, 1)).toEqual([0]);
  });
});

test('after close() every call is CLOSED', () => {
  const { vswitch } = open(2);
  vswitch.close();
  expect(() => vswitch.impair({ port: 'p0' }, {})).toThrow(codeOf('CLOSED'));
  expect(() => vswitch.partition(['p0'], ['p1'])).toThrow(codeOf('CLOSED'));
  expect(() => vswitch.heal()).toThrow(codeOf('CLOSED'));
  expect(() => vswitch.schedule([{ atMs: 1, heal: true }])).toThrow(codeOf('CLOSED'));
});
