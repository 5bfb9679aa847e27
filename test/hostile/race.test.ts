/**
 * Memory that is rewritten while it is read (attacks/races.ts). That the switch has seen both
 * values is shown by what became of the frames: some were forwarded, whole, and others counted, or
 * the queue broke. The same with one worker and with two, of which either may read.
 */

import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { destinationOf } from '../support/ethernet.ts';
import { Arena, patience } from './arena.ts';
import { type Race, racedFrame, racesIn, run } from './attacks/races.ts';
import { type Format, formats, transmitq } from './raw-queue.ts';
import { isGreeting } from './stage.ts';

/** Frames of each kind that have to be seen. */
const wanted = 20;
const limitMs = 120_000;

describe.each([1, 2])('%i workers read memory that is rewritten:', (workers) => {
  let arena: Arena;
  beforeAll(async () => {
    arena = await Arena.open(workers);
  });
  afterAll(() => arena.close());

  /** Runs laps until as many frames as wanted were both forwarded and dropped for the reason. */
  async function expectBoth(format: Format, race: Race, drop: string): Promise<void> {
    const before = await arena.status();
    const deadlineMs = performance.now() + limitMs;
    await run(arena, format, race, async () => {
      expect(performance.now()).toBeLessThan(deadlineMs);
      const { counters } = await arena.status();
      const forwarded = counters.fromGuest.frames - before.counters.fromGuest.frames;
      const dropped = counters.drops[drop]! - before.counters.drops[drop]!;
      return forwarded >= wanted && dropped >= wanted;
    });
    expect(arena.warnings).toEqual([]);
  }

  async function expectBreaks(format: Format, race: Race, reason: string): Promise<void> {
    const deadlineMs = performance.now() + limitMs;
    await run(arena, format, race, async () => {
      expect(performance.now()).toBeLessThan(deadlineMs);
      return arena.warnings.length > 0;
    });
    expect(await arena.warning()).toBe(
      `port attacked: queue ${race.queue} is broken until the guest resets it: ${reason}`,
    );
  }

  /** What the peer was sent is what the attacker offered, whole. */
  async function expectWhole(): Promise<void> {
    await vi.waitFor(() => expect(arena.peer.pendingFrames).toBeGreaterThan(0), patience);
    for (const { frame } of await arena.peer.receiveAll()) {
      if (destinationOf(frame) !== destinationOf(racedFrame) || isGreeting(frame)) continue;
      // Behind it there may be what another descriptor was chained to it.
      expect(Buffer.compare(frame.subarray(0, racedFrame.length), racedFrame)).toBe(0);
    }
  }

  describe.each(formats)('in a %s ring', (format) => {
    test.each(racesIn(format))('class 17: $name', { timeout: 2 * limitMs }, (race) =>
      arena.attack(async () => {
        if ('drops' in race.outcome) await expectBoth(format, race, race.outcome.drops);
        else await expectBreaks(format, race, race.outcome.breaks);
        if (race.queue === transmitq) await expectWhole();
      }),
    );
  });
});
