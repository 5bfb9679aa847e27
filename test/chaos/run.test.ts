/**
 * A short run of chaos, the same each time; and that a switch which does to frames what it must not
 * is found out. More, and a real machine, is in `npm run chaos`.
 */

import { afterEach, describe, expect, test } from 'vitest';
import { eventOf } from '../../chaos/event.ts';
import { ChaosNetwork } from '../../chaos/network.ts';
import { run } from '../../chaos/run.ts';

const limitMs = 300_000;
const seed = 2;

test('guests, ports, workers, settings and the switch come and go under flood, and every invariant holds', {
  timeout: limitMs,
}, async () => {
  const events = Array.from({ length: 50 }, (_, number) => eventOf(seed, number, false));
  const restarts = events.flatMap(({ actions }) =>
    actions.flatMap((action) => (action.kind === 'restart' ? [action.signal] : [])),
  );
  expect(events.flatMap(({ actions }) => actions)).toContainEqual({ kind: 'add-worker' });
  expect(restarts).toContain('SIGKILL');
  expect(restarts).toContain('SIGTERM');
  const outcome = await run(events, { withMachine: false });
  if (outcome.kind === 'violated') throw outcome.error;
  expect(outcome.events).toBe(events.length);
  expect(outcome.tally.switchLives).toBe(1 + restarts.length);
  expect(outcome.tally.framesArrived).toBeGreaterThan(
    events.reduce((sum, { afterFrames }) => sum + afterFrames, 0),
  );
});

describe('a switch', () => {
  let network: ChaosNetwork | undefined;
  afterEach(() => network?.close());

  test.each([
    ['loses frames', { loss: 0.1 }, /were lost$/],
    ['repeats frames', { duplicate: 0.1 }, /arrived after frame/],
    ['damages frames', { corrupt: 0.1 }, /a damaged frame arrived$/],
    ['holds frames back', { reorder: { probability: 0.1, lateByMs: 5 } }, /were lost$/],
  ])('that %s is found out', { timeout: limitMs }, async (_, impairment, sentence) => {
    network = await ChaosNetwork.open(false);
    const link = { from: 'guest0', to: 'guest1' };
    await expect(network.sabotage({ link, impairment })).rejects.toThrow(sentence);
  });
});
