/** TCP addresses as people write them. */

import { expect, test } from 'vitest';
import { isLoopback, tcpAddressOf, urlHost } from '../../src/model/tcp-address.ts';

test.each([
  ['127.0.0.1:9477', { host: '127.0.0.1', port: 9477 }],
  ['[::1]:0', { host: '::1', port: 0 }],
  [':9477', { port: 9477 }],
])('%s', (written, address) => {
  expect(tcpAddressOf(written, 'metrics-address')).toEqual(address);
});

test.each(['9477', '127.0.0.1', 'localhost:9477', '::1:9477', '1.2.3.4:70000', '[1.2.3.4]:1', ''])(
  '%j is none',
  (written) => {
    expect(() => tcpAddressOf(written, 'metrics-address')).toThrow(
      /is no address to listen on, such as 127\.0\.0\.1/,
    );
    expect(() => tcpAddressOf(written, 'listen-address')).toThrow(/^listen: .* is no address/);
  },
);

test.each([
  ['127.0.0.1', true],
  ['127.1.2.3', true],
  ['::1', true],
  ['0:0:0:0:0:0:0:1', true],
  ['0.0.0.0', false],
  ['::', false],
  ['1127.0.0.1', false],
  ['fe80::1', false],
  ['10::1', false],
  [undefined, false],
])('%s is of this host alone: %s', (host, expected) => expect(isLoopback(host)).toBe(expected));

test('an IPv6 address has brackets in a URL', () => {
  expect([urlHost('::1'), urlHost('1.2.3.4')]).toEqual(['[::1]', '1.2.3.4']);
});
