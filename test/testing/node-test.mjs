/**
 * Tests of node:test with networks, run by runner-glue.test.ts: JavaScript, as Node 20 reads it,
 * and with the names by which others import the package.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { arp } from 'tsvswitch/testing';
import { openNetwork } from 'tsvswitch/testing/node-test';

let vswitchBefore;

test('two guests talk', async (t) => {
  const { vswitch, guest } = openNetwork(t);
  const [a, b] = [await guest(), await guest()];
  const frame = arp({
    senderMac: '52:54:00:00:00:01',
    ...{ senderIp: '10.0.0.1', targetIp: '10.0.0.2' },
  });
  await a.send(frame);
  await b.expect(frame);
  vswitchBefore = vswitch;
});

test('and nothing of it is left', (t) => {
  assert.throws(() => vswitchBefore.addPort({ process: 'late' }), { code: 'CLOSED' });
  assert.equal(openNetwork(t, { seed: 7 }).vswitch.seed, 7);
});
