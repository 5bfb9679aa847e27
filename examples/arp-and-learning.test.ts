/**
 * How two guests find each other, and what the switch learns from it.
 *
 * Alice asks for Bob with a broadcast, which everybody hears. From then on the switch knows where
 * Alice is, so Bob's answer reaches her alone, and so does all that follows, until somebody has
 * been silent for five minutes.
 */

import { arp, assertFrame, icmp4 } from 'tsvswitch/testing';
import { test } from 'tsvswitch/testing/vitest';
import { describe, expect } from 'vitest';

const a = { mac: '52:54:00:00:00:0a', ip: '10.0.0.1' };
const b = { mac: '52:54:00:00:00:0b', ip: '10.0.0.2' };

const question = arp({ senderMac: a.mac, senderIp: a.ip, targetIp: b.ip });
const answer = arp({
  operation: 'reply',
  ...{ senderMac: b.mac, senderIp: b.ip },
  ...{ targetMac: a.mac, targetIp: a.ip },
});
const ping = icmp4({ from: a.mac, to: b.mac, source: a.ip, target: b.ip, payload: 'hello' });

test('a broadcast reaches everybody, the answer only who asked', async ({ vswitch, guest }) => {
  const alice = await guest({ name: 'alice' });
  const bob = await guest({ name: 'bob' });
  const carol = await guest({ name: 'carol' });

  await alice.send(question);
  await bob.expect({ arp: { operation: 'request', targetIp: b.ip } });
  await carol.expect({ arp: { operation: 'request', targetIp: b.ip } });

  await bob.send(answer);
  await alice.expect({ arp: { operation: 'reply', senderMac: b.mac } });

  await alice.send(ping);
  await bob.expect({ icmp4: { type: 8 }, payload: 'hello' });

  // All that was sent has been delivered: what Carol has not received by now never comes.
  await alice.flush();
  await bob.flush();
  expect(carol.pendingFrames).toBe(0);
  const whereIs = Object.fromEntries(vswitch.bridge.fdb.map(({ mac, port }) => [mac, port]));
  expect(whereIs).toEqual({ [a.mac]: 'alice', [b.mac]: 'bob' });
});

describe('on a switch whose time only the test moves', () => {
  test.override({ switchOptions: { clock: 'manual' } });

  test('who has been silent for five minutes is searched for everywhere again', ({ vswitch }) => {
    const alice = vswitch.addPort({ process: 'alice' });
    const bob = vswitch.addPort({ process: 'bob' });
    const carol = vswitch.addPort({ process: 'carol' });
    bob.send(answer);
    vswitch.step();
    carol.take();

    alice.send(ping);
    vswitch.step();
    expect(carol.take()).toEqual([]);

    vswitch.advance(301_000);
    alice.send(ping);
    vswitch.step();
    const [flooded] = carol.take();
    assertFrame(flooded!, ping);
  });
});
