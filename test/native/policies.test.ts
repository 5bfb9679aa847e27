/** The policies of a port, set and taken away through its handle, by what becomes of frames. */

import { afterEach, beforeEach, expect, test } from 'vitest';
import type {
  Dataplane,
  LinkSettings,
  NativePort,
  NativeProcessPort,
  PolicyWords,
} from '../../src/native/addon.ts';
import { ethernetFrame, macOf } from '../support/ethernet.ts';
import { openManualDataplane } from '../support/manual-dataplane.ts';

let dataplane: Dataplane;
let from: NativeProcessPort;
let to: NativeProcessPort;

beforeEach(() => {
  dataplane = openManualDataplane();
  const bridge = dataplane.addBridge('blue', 0);
  from = bridge.addProcessPort('from', () => {});
  to = bridge.addProcessPort('to', () => {});
});
afterEach(() => dataplane.close());

/** Whether a frame of 1000 bytes gets through. */
function passes(): boolean {
  const frame = new Uint8Array(1000);
  frame.set(ethernetFrame({ from: macOf(1), to: macOf(2) }));
  expect(from.send(frame, new Uint32Array([frame.length]), 1)).toBe(1);
  dataplane.step(1);
  return to.receive(frame, new Uint32Array(2)) === 1;
}

const blackhole: LinkSettings = {
  ...{ seed: 0n, blackhole: true, frameBytesMax: 0, bitsPerSecond: 0, queueBytes: 0 },
  ...{ turnsBad: 0, turnsGood: 0, lossGood: 0, lossBad: 0, delayNs: 0, jitterNs: 0 },
  ...{ duplicate: 0, corrupt: 0, reorder: 0, reorderNs: 0 },
};

test.each<{
  policy: keyof PolicyWords;
  port: 'from' | 'to';
  blocks: PolicyWords[keyof PolicyWords];
  lets: PolicyWords[keyof PolicyWords];
}>([
  {
    policy: 'linkFromGuest',
    port: 'from',
    blocks: blackhole,
    lets: { ...blackhole, blackhole: false },
  },
  {
    policy: 'linkToGuest',
    port: 'to',
    blocks: blackhole,
    lets: { ...blackhole, blackhole: false },
  },
  {
    policy: 'linkFromPort',
    port: 'to',
    blocks: blackhole,
    lets: { ...blackhole, blackhole: false },
  },
  { policy: 'mtu', port: 'to', blocks: { mtuBytes: 985 }, lets: { mtuBytes: 986 } },
  { policy: 'admin', port: 'from', blocks: { down: true }, lets: { down: false } },
  { policy: 'admin', port: 'to', blocks: { down: true }, lets: { down: false } },
  {
    policy: 'sources',
    port: 'from',
    blocks: { macs: [2], networks: [] },
    lets: { macs: [Number.parseInt(macOf(1).replaceAll(':', ''), 16)], networks: [] },
  },
])('$policy', ({ policy, port, blocks, lets }) => {
  const [of, peer] = port === 'from' ? [from, to] : [to, from];
  const set = (on: NativePort, words: typeof blocks | undefined) =>
    policy === 'linkFromPort'
      ? on.set(policy, words as LinkSettings, peer)
      : on.set(policy, words as never);
  expect(passes()).toBe(true);
  set(of, blocks);
  expect(passes()).toBe(false);
  set(of, lets);
  expect(passes()).toBe(true);
  set(of, blocks);
  expect(passes()).toBe(false);
  set(of, undefined);
  expect(passes()).toBe(true);
});

test('what is set on one port concerns no other', () => {
  for (const [policy, words] of [
    ['linkFromGuest', blackhole],
    ['mtu', { mtuBytes: 68 }],
  ] as const) {
    (policy === 'mtu' ? from : to).set(policy, words as never);
  }
  expect(passes()).toBe(true);
});

test('sides that hear each other, or do not', () => {
  dataplane.setPartition([[from], [to]]);
  expect(passes()).toBe(false);
  dataplane.setPartition([[from, to], []]);
  expect(passes()).toBe(true);
  dataplane.setPartition([[to], [from]]);
  dataplane.setPartition([]);
  expect(passes()).toBe(true);
});
