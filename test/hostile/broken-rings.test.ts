/**
 * Rings that break (attacks/broken-rings.ts), in both formats and both directions. Each costs its
 * own queue, with the reason named once; the session and the guest's other queue stand, and
 * everybody else is served as if nothing had been.
 *
 * What the frontend is told of it, and that a driver heals its queue by a reset, is in
 * test/guests/containment.test.ts.
 */

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Arena } from './arena.ts';
import { commit, violationsIn } from './attacks/broken-rings.ts';
import { formats, receiveq, transmitq } from './raw-queue.ts';

let arena: Arena;
beforeAll(async () => {
  arena = await Arena.open();
});
afterAll(() => arena.close());

describe.each(formats)('a %s ring breaks alone', (format) => {
  describe.each([
    ['transmitq', transmitq],
    ['receiveq', receiveq],
  ] as const)('%s', (_, queue) => {
    test.each(violationsIn(format, queue))('class $class: $name', (violation) =>
      arena.attack(async () => {
        await commit(arena, format, queue, violation);
        // Said once, however often it is provoked.
        expect(await arena.warning()).toBe(
          `port attacked: queue ${queue} is broken until the guest resets it: ${violation.reason}`,
        );
        const { frontend } = await arena.status();
        expect(frontend?.rings.find((each) => each.queue === queue)).toMatchObject({
          state: 'broken',
          reason: violation.reason,
        });
        expect(frontend?.rings.find((each) => each.queue !== queue)?.state).toBe('started');
      }),
    );
  });
});
