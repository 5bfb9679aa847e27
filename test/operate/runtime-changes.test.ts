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

const laidOver = (file: SwitchSettings, kept: unknown) =>
  settingsOf(withChanges(file, readChanges(JSON.parse(JSON.stringify(kept)))));

/** The order of links says nothing. */
const sorted = (settings: SwitchSettings): SwitchSettings => ({
  ...settings,
  links: settings.links.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)),
});

const names = ['a', 'b', '__proto__', 'constructor'];
const optional = <T>(values: readonly T[]) =>
  fc.option(fc.constantFrom(...values), { nil: undefined });
const without = <T extends object>(value: T): T =>
  JSON.parse(JSON.stringify(value)) as unknown as T;

const port = (name: string) =>
  fc
    .record({
      kind: fc.constantFrom('vhost-user', 'process'),
      bridge: optional(['blue', 'red']),
      source: optional([{ macs: ['52:54:00:00:00:01'], addresses: [] }]),
      mtu: optional([1500, 9000]),
      allow: optional([['root'], [1, 2]]),
    })
    .map(({ kind, bridge, source, mtu, allow }) =>
      kind === 'process'
        ? { kind, bridge, source }
        : { kind, path: `/run/${name}`, bridge, source, mtu, allow },
    );

const settings: fc.Arbitrary<SwitchSettings> = fc
  .record({
    workers: fc.integer({ min: 1, max: 4 }),
    balance: fc.boolean(),
    ageingSeconds: optional([0, 60]),
    bridges: fc.subarray(['blue', 'green']),
    ports: fc
      .subarray(names)
      .chain((present) =>
        fc.tuple(
          ...present.map((name) => port(name).map((made): [string, object] => [name, made])),
        ),
      ),
    loss: fc.array(fc.constantFrom(0.1, 0.5), { maxLength: 3 }),
  })
  .map(({ bridges, ports, loss, ...values }) => {
    const names = ports.map(([name]) => name);
    const links = loss
      .slice(0, names.length)
      .map((probability, i) => ({ from: names[i], impairment: { loss: probability } }));
    return settingsOf(
      without({
        ...values,
        bridges: Object.fromEntries(bridges.map((name) => [name, { ageingSeconds: 7 }])),
        ports: Object.fromEntries(ports),
        links,
        partition: names.length > 1 ? [[names[0]], [names[1]]] : [],
      }),
    );
  });

test('over the file that they were made over, they are what was in force', () => {
  fc.assert(
    fc.property(settings, settings, (file, inForce) => {
      const changes = changesBetween(file, inForce);
      expect(sorted(laidOver(file, changes))).toEqual(sorted(inForce));
      expect(isUnchanged(changes)).toBe(
        JSON.stringify(sorted(file)) === JSON.stringify(sorted(inForce)),
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
