/** mac.ts: one notation, there and back, and what is not the address of a card. */

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatMac, parseCardMac } from '../../src/model/mac.ts';

test('what a card can have is read back as it was written', () => {
  const card = fc
    .tuple(fc.integer({ min: 0, max: 127 }), fc.integer({ min: 1, max: 2 ** 40 - 1 }))
    .map(([first, rest]) => first * 2 * 2 ** 40 + rest);
  fc.assert(fc.property(card, (mac) => parseCardMac(formatMac(mac)) === mac));
});

test('letters may be large; they are written small', () => {
  expect(formatMac(parseCardMac('52:54:00:AB:CD:EF')!)).toBe('52:54:00:ab:cd:ef');
});

test.each([
  ['zero', '00:00:00:00:00:00'],
  ['a group', '01:00:5e:00:00:01'],
  ['all', 'ff:ff:ff:ff:ff:ff'],
  ['five bytes', '52:54:00:00:00'],
  ['seven bytes', '52:54:00:00:00:00:01'],
  ['dashes', '52-54-00-00-00-01'],
  ['a space', ' 52:54:00:00:00:01'],
  ['a number', 0x525400000001],
  ['nothing', undefined],
])('%s is no card', (_, text) => {
  expect(parseCardMac(text)).toBeUndefined();
});
