/**
 * The public entry 'tsvswitch/testing/node-test': a network for one test of node:test.
 *
 *     import { test } from 'node:test';
 *     import { openNetwork } from 'tsvswitch/testing/node-test';
 *
 *     test('a guest hears the other', async (t) => {
 *       const { guest } = openNetwork(t);
 *       const [a, b] = [await guest(), await guest()];
 *       await a.send(frame);
 *       await b.expect(frame);
 *     });
 *
 * @module tsvswitch/testing/node-test
 */

import type { TestContext } from 'node:test';
import type { SwitchOptions } from '../index.ts';
import { TestNetwork } from './test-network.ts';

export type { NetworkGuestOptions, TestNetwork } from './test-network.ts';

/** A network that is closed after the test `t`. Throws what Switch.open() throws. */
export function openNetwork(t: Pick<TestContext, 'after'>, options?: SwitchOptions): TestNetwork {
  const network = TestNetwork.open(options);
  t.after(() => network.close());
  return network;
}
