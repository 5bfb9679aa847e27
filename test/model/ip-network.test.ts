/** ip-network.ts: addresses and networks of both families, and what is neither. */

import { expect, test } from 'vitest';
import { parseIpNetwork } from '../../src/model/ip-network.ts';

test.each<[string, readonly number[], number]>([
  ['10.0.0.1', [10, 0, 0, 1], 32],
  ['10.0.0.0/24', [10, 0, 0, 0], 24],
  ['10.0.0.7/24', [10, 0, 0, 7], 24],
  ['0.0.0.0/0', [0, 0, 0, 0], 0],
  ['fd00::1', [0xfd, ...new Array<number>(14).fill(0), 1], 128],
  ['fe80::/64', [0xfe, 0x80, ...new Array<number>(14).fill(0)], 64],
])('%s', (text, address, prefixLength) => {
  expect(parseIpNetwork(text)).toEqual({ address: Uint8Array.from(address), prefixLength });
});

test.each([
  ['a short form that some programs take', '10.1'],
  ['a leading zero', '010.0.0.1'],
  ['a zone', 'fe80::1%eth0'],
  ['a prefix too long for IPv4', '10.0.0.0/33'],
  ['a prefix too long for IPv6', 'fd00::/129'],
  ['a prefix that is no number', '10.0.0.0/x'],
  ['an empty prefix', '10.0.0.0/'],
  ['a name', 'localhost'],
  ['no text', ''],
  ['a number', 10],
  ['nothing', undefined],
])('%s is none', (_, text) => {
  expect(parseIpNetwork(text)).toBeUndefined();
});
