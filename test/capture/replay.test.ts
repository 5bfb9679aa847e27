/**
 * Captures sent again: in order, when they should be, and no frame that was not sent by a guest.
 */

import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type CapturedPacket, type ProcessPort, Switch } from '../../src/index.ts';
import { frameBetween } from '../support/ethernet.ts';

const codeOf = (code: string) => expect.objectContaining({ code });
const nsPerMs = 1_000_000n;

const packetAt = (timeNs: bigint, number: number): CapturedPacket => ({
  timeNs,
  port: '',
  comments: [],
  lost: 0,
  frameBytes: 60,
  data: Buffer.from(frameBetween(0, 1, number)),
});

describe('a replay', () => {
  let vswitch: Switch;
  let a: ProcessPort;
  let b: ProcessPort;
  beforeEach(() => {
    vswitch = Switch.open({ clock: 'manual' });
    a = vswitch.addPort({ process: 'a' });
    b = vswitch.addPort({ process: 'b' });
  });
  afterEach(() => vswitch.close());

  /** When frames arrive at b, from the first on. */
  async function timesOf(play: () => Promise<number>): Promise<bigint[]> {
    const capture = vswitch.capture({ port: b });
    const done = play();
    vswitch.advance(100);
    const count = await done;
    const packets = capture.packets();
    expect(packets).toHaveLength(count);
    return packets.map(({ timeNs }) => timeNs - packets[0]!.timeNs);
  }

  const packets = [packetAt(7n, 0), packetAt(7n + 1500n, 1), packetAt(7n + 40n * nsPerMs, 2)];

  test('keeps the times of the capture, to the nanosecond', async () => {
    expect(await timesOf(() => vswitch.replay({ port: a, packets }).done)).toEqual([
      0n,
      1500n,
      40n * nsPerMs,
    ]);
    expect(b.take()).toEqual(packets.map(({ data }) => data));
  });

  test.each([0, 0.25, 30])('sends a frame every %d ms if told so', async (intervalMs) => {
    const timing = { intervalMs };
    const intervalNs = BigInt(intervalMs * 1e6);
    expect(await timesOf(() => vswitch.replay({ port: a, packets, timing }).done)).toEqual([
      0n,
      intervalNs,
      2n * intervalNs,
    ]);
  });

  test('of packets that do not say when they were is refused without an interval', async () => {
    const untimed = [packets[0]!, { ...packetAt(0n, 1), untimed: true as const }];
    expect(() => vswitch.replay({ port: a, packets: untimed })).toThrow(
      'timing: packet 1 of the capture does not say when it was; give { intervalMs }',
    );
    const timing = { intervalMs: 1 };
    const play = () => vswitch.replay({ port: a, packets: untimed, timing }).done;
    expect(await timesOf(play)).toEqual([0n, nsPerMs]);
  });

  test('of a recorded bridge sends what guests sent, once', async () => {
    const capture = vswitch.capture();
    a.send([frameBetween(0, 1), frameBetween(0, 1, 1)]);
    vswitch.step();
    b.take();
    const replay = vswitch.replay({ port: a, packets: capture.pcapng() });
    vswitch.advance(0);
    expect(await replay.done).toBe(2);
    expect(b.take()).toHaveLength(2);
  });

  test('never goes back in time', async () => {
    const back = [packetAt(5n * nsPerMs, 0), packetAt(0n, 1), packetAt(6n * nsPerMs, 2)];
    const times = await timesOf(() => vswitch.replay({ port: a, packets: back }).done);
    expect(times).toEqual([0n, 0n, nsPerMs]);
  });

  test('ends when told so, and with the switch', async () => {
    const [first, second] = [1, 2].map(() => vswitch.replay({ port: a, packets }));
    first!.end();
    expect(await first!.done).toBe(1);
    vswitch.close();
    expect(await second!.done).toBe(1);
  });

  test('of nothing is done', async () => {
    expect(await vswitch.replay({ port: a, packets: [] }).done).toBe(0);
  });

  test('rejects when its port is closed meanwhile', async () => {
    const replay = vswitch.replay({ port: a, packets });
    vswitch.removePort(a);
    vswitch.advance(1);
    await expect(replay.done).rejects.toMatchObject({ code: 'CLOSED' });
  });

  test('refuses what it cannot send', () => {
    const cut = { ...packetAt(0n, 0), frameBytes: 100 };
    const late = [packetAt(0n, 0), packetAt(10n ** 16n, 1)];
    const replay = (options: object) => () => vswitch.replay({ port: a, packets, ...options });
    expect(replay({ packets: [cut] })).toThrow(codeOf('BAD_FRAME'));
    expect(replay({ packets: late })).toThrow(codeOf('BAD_OPTION'));
    expect(replay({ packets: readFileSync('package.json') })).toThrow(codeOf('BAD_CAPTURE'));
    for (const timing of ['fast', {}, { intervalMs: -1 }, { intervalMs: Number.NaN }, null]) {
      expect(replay({ timing })).toThrow(codeOf('BAD_OPTION'));
    }
    vswitch.advance(100);
    expect(b.take()).toEqual([]);
  });

  test('keeps up on a running switch', async () => {
    await using running = Switch.open();
    const [sender, receiver] = ['a', 'b'].map((name) => running.addPort({ process: name }));
    const many = Array.from({ length: 200 }, (_, i) => packetAt(BigInt(i) * 100_000n, i));
    const { done } = running.replay({ port: sender!, packets: many });
    const received: Buffer[] = [];
    while (received.length < many.length) received.push(...(await receiver!.receive()));
    expect(await done).toBe(many.length);
    expect(received).toEqual(many.map(({ data }) => data));
  });
});
