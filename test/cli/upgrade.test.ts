/**
 * `tsvswitch upgrade`: a new process takes over a switch that forwards. Its machines stay
 * connected, and whatever the new process does wrong, the one before goes on.
 */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ControlClient } from '../../src/control/client.ts';
import { TestGuest, type TestGuestOptions } from '../../src/testing/index.ts';
import { Command, script } from '../support/command.ts';
import { frameBetween, numberOf } from '../support/ethernet.ts';

let folder: string;
/** Processes that took over, which no Command knows. */
const next: number[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'upgrade-'));
});

afterEach(async () => {
  for (const pid of next.splice(0)) kill(pid);
  await Command.killAll();
  rmSync(folder, { recursive: true });
});

const socket = (name: string) => join(folder, `${name}.sock`);
const limit = { timeoutMs: 60_000 };

const dist = (file: string) => pathToFileURL(join(script, '../..', file)).href;

/** What is installed: ours, unless a test puts another one in its place. */
function install(program = `import ${JSON.stringify(pathToFileURL(script).href)};`): string {
  const path = join(folder, 'installed.mjs');
  writeFileSync(path, program);
  return path;
}

async function start(...more: readonly string[]): Promise<Command> {
  const args = ['--control', socket('control'), ...more];
  return Command.start([socket('a'), socket('b')], args, { script: install() });
}

const guest = (name: string, options: Partial<TestGuestOptions> = {}) =>
  TestGuest.connect({ path: socket(name), ...limit, ...options });

async function upgrade() {
  await using client = await ControlClient.connect(socket('control'));
  const done = await client.upgrade();
  next.push(done.pid);
  return done;
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}

async function status() {
  await using client = await ControlClient.connect(socket('control'));
  return await client.status();
}

async function expectFrames(from: TestGuest, to: TestGuest, offset = 0): Promise<void> {
  for (let number = offset; number < offset + 5; number++) {
    await from.send(frameBetween(0, 1, number));
    expect(numberOf(await to.receive())).toBe(number);
  }
}

const kinds: Record<string, Partial<TestGuestOptions>> = {
  'a modern driver': {},
  'one with packed rings': {
    features: ['VIRTIO_F_VERSION_1', 'VIRTIO_F_RING_PACKED', 'VIRTIO_F_EVENT_IDX'],
  },
  'one with 32 pairs of queues, whose fds one message cannot hold': { queuePairs: 32 },
  'one with a control queue': { controlQueue: true },
  'memory in 20 pieces': { memoryRegions: 20, memorySizeBytes: 20 << 20 },
};

test.each(Object.entries(kinds))('%s stays connected, time and again', async (_, options) => {
  const command = await start();
  await using a = await guest('a', options);
  await using b = await guest('b');
  await expectFrames(a, b);
  for (let round = 0; round < 3; round++) {
    const before = (await status()).pid;
    const done = await upgrade();
    expect(done.pid).not.toBe(before);
    expect(done.sessions).toBe(2);
    await expectFrames(a, b, 10);
    await expectFrames(b, a, 20);
    for (let i = 0; i < 60; i++) await expectFrames(a, b, 100 + 5 * i);
    expect((await status()).pid).toBe(done.pid);
  }
  expect(command.stdout).not.toMatch(/left|broke| error /);
});

/** Sends numbered frames, one at a time about every 100 µs, until `stop`. */
async function flood(from: TestGuest, stop: () => boolean): Promise<number> {
  let sent = 0;
  while (!stop()) {
    await from.send(frameBetween(0, 1, sent++));
    const untilMs = performance.now() + 0.1;
    while (performance.now() < untilMs) await new Promise((resolve) => setImmediate(resolve));
  }
  return sent;
}

const countersOf = async () =>
  Object.fromEntries(
    (await status()).ports.map(({ name, counters }) => [
      name,
      counters.fromGuest.frames + counters.toGuest.frames,
    ]),
  );

test('of what is sent meanwhile nothing comes twice, and all of it comes', async () => {
  await start();
  await using a = await guest('a', { queueSize: 1024 });
  await using b = await guest('b', { queueSize: 1024 });
  // What b has said is known there, so nothing is flooded afterwards either.
  await b.send(frameBetween(1, 0, 0));
  await a.receive();
  let isDone = false;
  const last = 0xffff_ffff;
  const numbers: number[] = [];
  let gapMs = 0;
  const receiving = (async () => {
    let lastMs = performance.now();
    for (;;) {
      const number = numberOf(await b.receive());
      if (number === last) return;
      numbers.push(number);
      const nowMs = performance.now();
      gapMs = Math.max(gapMs, nowMs - lastMs);
      lastMs = nowMs;
    }
  })();
  const sending = flood(a, () => isDone);
  const pauses: number[] = [];
  for (let round = 0; round < 3; round++) {
    const before = await countersOf();
    expect(before.b).toBeGreaterThan(0);
    pauses.push((await upgrade()).pauseMs);
    const [seen] = [numbers.length];
    await expect.poll(() => numbers.length).toBeGreaterThan(seen + 500);
    // Those of the new process.
    const after = await countersOf();
    expect(after.b).toBeGreaterThan(500);
    expect(after.b).toBeLessThan(before.b! + numbers.length);
  }
  isDone = true;
  const sent = await sending;
  await a.send(frameBetween(0, 1, last));
  await receiving;
  expect(numbers).toEqual(Array.from({ length: sent }, (_, number) => number));
  const learned = (await status()).ports.flatMap((port) => port.macs);
  expect(learned).toHaveLength(2);
  if (process.env.MEASURED) {
    process.stdout.write(`${sent} frames; pauses ${pauses} ms; the longest gap ${gapMs} ms\n`);
  }
});

test('learned addresses go along', async () => {
  await start();
  await using a = await guest('a');
  await using b = await guest('b');
  await a.send(frameBetween(0, 1, 1));
  await b.receive();
  await b.send(frameBetween(1, 0, 2));
  await a.receive();
  await upgrade();
  await expectFrames(a, b);
  const { ports } = await status();
  const floodedFrames = ports.map(({ counters }) => counters.floodedFrames);
  expect(floodedFrames).toEqual([0, 0]);
});

/** Programs that begin as the next version would. */
const strange = (body: string) => `
import { bundleOf, messageOf } from ${JSON.stringify(dist('operate/upgrade/messages.js'))};
import { talkAt } from ${JSON.stringify(dist('operate/upgrade/take-over.js'))};
const talk = await talkAt(process.env.TSVSWITCH_TAKE_OVER);
const say = (message) => talk.send(bundleOf(message), 60000);
const until = async (word) => {
  for (;;) {
    const read = await talk.read(60000);
    if (typeof read === 'string') process.exit(9);
    if (messageOf(read).say === word) return;
  }
};
const hang = () => new Promise(() => setInterval(() => {}, 1000));
${body}`;
const hello = `await say({ say: 'hello', reads: [1], version: '9.9.9' });`;
const ready = `${hello} await until('offer'); await say({ say: 'ready' });`;

const failures: Record<string, readonly [program: string, fault: string]> = {
  'is not there': [`import './none.mjs';`, 'upgrade-ended'],
  'ends at once': ['process.exit(7);', 'upgrade-ended'],
  'ends before it says anything': [strange('process.exit(7);'), 'upgrade-ended'],
  'ends after its greeting': [strange(`${hello} process.exit(7);`), 'upgrade-ended'],
  'ends when it has the settings': [
    strange(`${hello} await until('offer'); process.exit(7);`),
    'upgrade-ended',
  ],
  'ends when it is ready': [strange(`${ready} process.exit(7);`), 'upgrade-ended'],
  'ends when it has a session': [
    strange(`${ready} await until('session'); process.exit(7);`),
    'upgrade-ended',
  ],
  'ends when it is to take over': [
    strange(`${ready} await until('take'); process.kill(process.pid, 'SIGKILL');`),
    'upgrade-ended',
  ],
  'fails when it is to take over': [
    strange(`${ready} await until('take'); await say({ say: 'failed', sentence: 'no' });`),
    'upgrade-refused',
  ],
  'hangs when it is to take over': [
    strange(`${ready} await until('take'); await hang();`),
    'upgrade-late',
  ],
  'is stopped when it is to take over': [
    strange(`${ready} await until('take'); process.kill(process.pid, 'SIGSTOP');`),
    'upgrade-late',
  ],
  'says nothing': [strange('await hang();'), 'upgrade-late'],
  'speaks a later version only': [
    strange(`await say({ say: 'hello', reads: [2], version: '9.9.9' }); await hang();`),
    'upgrade-versions',
  ],
  'says something else': [
    strange(`${hello} await say({ say: 'forwards' }); await hang();`),
    'upgrade-strange',
  ],
};

test.each(Object.entries(failures))(
  'a new process that %s leaves the one before forwarding',
  async (_, [program, fault]) => {
    const command = await start();
    await using a = await guest('a');
    await using b = await guest('b', kinds['one with packed rings']);
    await expectFrames(a, b);
    install(program);
    // A second one waits as long.
    for (let time = 0; time < (fault === 'upgrade-late' ? 1 : 2); time++) {
      await expect(upgrade()).rejects.toMatchObject({ code: 'UPGRADE_FAILED', fault });
      expect((await status()).pid).toBe(command.pid);
      await expectFrames(a, b, 10);
      await expectFrames(b, a, 20);
    }
    expect(command.stdout).not.toMatch(/left/);
    await using c = await TestGuest.connect({ path: socket('b'), ...limit }).catch(() => undefined);
    expect(c).toBeUndefined();
    install();
    expect((await upgrade()).sessions).toBe(2);
    await expectFrames(a, b, 30);
  },
);
