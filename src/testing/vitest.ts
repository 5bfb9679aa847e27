/**
 * The public entry 'tsvswitch/testing/vitest': vitest's `test` with a network for every test that
 * asks for one.
 *
 *     import { test } from 'tsvswitch/testing/vitest';
 *
 *     test('a guest hears the other', async ({ guest }) => {
 *       const [a, b] = [await guest(), await guest()];
 *       await a.send(frame);
 *       await b.expect(frame);
 *     });
 *
 * `test.override({ switchOptions: { clock: 'manual' } })` says with which options the switches of a
 * file or a describe block are opened. Whatever a test has left on its network is closed after it.
 *
 * @module tsvswitch/testing/vitest
 */

import { test as base, type TestAPI } from 'vitest';
import type { SwitchOptions } from '../index.ts';
import { TestNetwork } from './test-network.ts';

export { keepOnFailure } from './capture-on-failure.ts';
export type { NetworkGuestOptions } from './test-network.ts';

/** What a test may ask for by name. */
export interface NetworkFixtures extends Pick<TestNetwork, 'vswitch' | 'guest' | 'lab'> {
  /** What the switch is opened with; the defaults of Switch.open() unless overridden. */
  readonly switchOptions: SwitchOptions;
  /** All of it in one. */
  readonly network: TestNetwork;
}

/** vitest's own, with the fixtures of NetworkFixtures. */
export const test: TestAPI<NetworkFixtures> = base.extend<NetworkFixtures>({
  switchOptions: {},
  network: async ({ switchOptions }, use) => {
    await using network = TestNetwork.open(switchOptions);
    await use(network);
  },
  vswitch: ({ network }, use) => use(network.vswitch),
  guest: ({ network }, use) => use(network.guest),
  lab: ({ network }, use) => use(network.lab),
});
