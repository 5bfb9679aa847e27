/** What was changed at run time, laid over a file that stayed, and over one that did not. */

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { settingsOf } from '../../src/model/check.ts';
import type { SwitchSettings, WrittenSettings } from '../../src/model/settings.ts';
import {
  changesBetween,
  isUnchanged,
  readChanges,
  withChanges,
} from '../../src/operate/runtime-changes.ts';
import { randomSettings, withSortedLinks } from '../support/random-settings.ts';

const laidOver = (file: SwitchSettings, kept: unknown) =>
  settingsOf(withChanges(file, readChanges(JSON.parse(JSON.stringify(kept)))));

test('over the file that they were made over, they are what was in force', () => {
  fc.assert(
    fc.property(randomSettings, randomSettings, (file, inForce) => {
      const changes = changesBetween(file, inForce);
      expect(withSortedLinks(laidOver(file, changes))).toEqual(withSortedLinks(inForce));
      expect(isUnchanged(changes)).toBe(
        JSON.stringify(withSortedLinks(file)) === JSON.stringify(withSortedLinks(inForce)),
      );
    }),
  );
});

describe('over a file that was changed', () => {
  const a = { path: '/run/a' };
  const over = (file: WrittenSettings, inForce: WrittenSettings, next: WrittenSettings) =>
    laidOver(settingsOf(next), changesBetween(settingsOf(file), settingsOf(inForce)));

  test('keys that were changed hold, and others are the file’s', () => {
    const { ports } = over(
      { ports: { a } },
      { ports: { a: { ...a, mtu: 9000 } } },
      { ports: { a: { ...a, mtu: 2000, mode: '600' }, b: { path: '/run/b' } } },
    );
    expect(ports).toMatchObject({ a: { mtu: 9000, mode: '600' }, b: {} });
  });

  test('a port that the file has no more is gone with its changes', () => {
    const changed = { ports: { a: { ...a, mtu: 9000 } } };
    expect(over({ ports: { a } }, changed, {}).ports).toEqual({});
  });

  test('what was removed stays removed, what was added stays', () => {
    const b = { path: '/run/b' };
    const { ports } = over({ ports: { a } }, { ports: { b } }, { ports: { a, c: { path: '/c' } } });
    expect(Object.keys(ports)).toEqual(['c', 'b']);
  });

  test('what the file says by now is no change any more', () => {
    const file = settingsOf({ ports: { a }, workers: 2 });
    const changes = changesBetween(settingsOf({}), file);
    expect(isUnchanged(changes)).toBe(false);
    expect(isUnchanged(changesBetween(file, laidOver(file, changes)))).toBe(true);
  });
});

test.each([
  [null, 'it has no values'],
  [{ values: {} }, 'it has no ports'],
  [
    { values: { sandbox: false }, ports: {}, bridges: {}, links: {} },
    'there is no setting sandbox',
  ],
  [{ values: {}, ports: { a: { is: 'added' } }, bridges: {}, links: {} }, 'ports.a is no change'],
  [{ values: {}, ports: {}, bridges: {}, links: { a: 7 } }, 'links.a is no change'],
])('%j is not what was kept', (value, why) => {
  expect(() => readChanges(value)).toThrow(why);
});
