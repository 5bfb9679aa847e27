/** What people write for settings, as values of the API. */

import { expect, test } from 'vitest';
import { impairmentOf, pairsOf, setPort, sidesOf } from '../../../src/cli/ask/values.ts';
import { TsvswitchError } from '../../../src/model/errors.ts';

const impairment = (...words: string[]) => impairmentOf(pairsOf(words));

test.each([
  [['delay=20ms', 'jitter=500us', 'loss=1%'], { delayMs: 20, jitterMs: 0.5, loss: 0.01 }],
  [['delay=1.5s', 'loss=0.25', 'duplicate=3%'], { delayMs: 1500, loss: 0.25, duplicate: 0.03 }],
  [['rate=100Mbit'], { rate: { bitsPerSecond: 100_000_000 } }],
  [['rate=1gbit,64k'], { rate: { bitsPerSecond: 1e9, queueBytes: 65_536 } }],
  [['reorder=1%,5ms', 'mtu=1400'], { reorder: { probability: 0.01, lateByMs: 5 }, mtuBytes: 1400 }],
  [['blackhole=on', 'corrupt=0.5'], { blackhole: true, corrupt: 0.5 }],
])('%j is an impairment', (words, expected) => {
  expect(impairment(...words)).toEqual(expected);
});

test.each([
  ['delay=20', /20 has no unit .*; write 20ms/],
  ['delay=fast', /fast has no unit/],
  ['delay=1constructor', /has no unit/],
  ['rate=100M', /write 100Mbit/],
  ['lost=1%', /there is no lost; did you mean loss\?/],
  ['constructor=1', /there is no constructor/],
  ['delay', /delay is not written as KEY=VALUE/],
  ['=1', /is not written as KEY=VALUE/],
])('%s is none', (word, sentence) => {
  expect(() => impairment(word)).toThrow(sentence);
  expect(() => impairment(word)).toThrow(TsvswitchError);
});

test('settings of a port are set, and taken out where there is no value', () => {
  const port: Record<string, unknown> = { mtu: 1500, source: { macs: ['x'], addresses: [] } };
  const set = (...words: string[]) => setPort(port, pairsOf(words));
  set('mtu=9000', 'allow=root,:kvm,107', 'ring-reset=on', 'address=10.0.0.1,10.0.0.2', 'bridge=b');
  expect(port).toEqual({
    ...{ mtu: 9000, allow: ['root', ':kvm', 107], ringReset: true, bridge: 'b' },
    source: { macs: ['x'], addresses: ['10.0.0.1', '10.0.0.2'] },
  });
  set('mtu=', 'allow=', 'address=', 'bridge=');
  expect(port).toEqual({ ringReset: true, source: { macs: ['x'] } });
  set('mac=');
  expect(port).toEqual({ ringReset: true });
  // What it cannot be, the switch says.
  set('mtu=much', 'in-band=perhaps');
  expect(port).toEqual({ ringReset: true, mtu: 'much', inBand: 'perhaps' });
  expect(() => set('mut=1')).toThrow(/did you mean mtu\?/);
});

test('sides stand between slashes, their ports between commas', () => {
  expect(sidesOf(['a,b', '/', 'c'])).toEqual([['a', 'b'], ['c']]);
  expect(sidesOf(['a/b,c/d'])).toEqual([['a'], ['b', 'c'], ['d']]);
});
