/**
 * What was changed of a switch while it ran, over what its file says: as data that can be kept, and
 * laid over the file again when either has changed.
 *
 *     file ──► settings ─┬─ changesBetween ──► kept ─┬─ withChanges ──► settings
 *     run time ──────────┘                    file ──┘
 *
 * Ports, bridges, addresses and links are told apart by their names and ends: one that was removed
 * stays removed, one that was added stays, and of one that was changed only the keys that were
 * changed hold. Changes of a thing that the file has no more are gone with it. Everything else is
 * one value.
 *
 * Pure. What comes of withChanges() is to be checked: two things that fitted the old file may not
 * fit the new one.
 */

import { isDeepStrictEqual } from 'node:util';
import { isMapping } from '../model/findings.ts';
import { placeKey } from '../model/place.ts';
import type { LinkSettings, SwitchSettings } from '../model/settings.ts';

type Fields = Readonly<Record<string, unknown>>;

/** Of one thing that has a name. Under `keys`, null is a key that was taken away. */
type NamedChange =
  | { readonly is: 'removed' }
  | { readonly is: 'added'; readonly as: Fields }
  | { readonly is: 'changed'; readonly keys: Fields };

type NamedChanges = Readonly<Record<string, NamedChange>>;

const namedKeys = ['ports', 'bridges', 'fdb', 'links'] as const;
const valueKeys = [
  ...['workers', 'cpus', 'idleUs', 'balance', 'ageingSeconds', 'partition'],
] as const;

export type RuntimeChanges = { readonly values: Fields } & {
  readonly [Key in (typeof namedKeys)[number]]: NamedChanges;
};

/** Of two complete documents. */
export function changesBetween(from: SwitchSettings, to: SwitchSettings): RuntimeChanges {
  const [before, after] = [byName(from), byName(to)];
  const changed = valueKeys.filter((key) => !isDeepStrictEqual(before[key], after[key]));
  return {
    values: Object.fromEntries(changed.map((key) => [key, after[key]])),
    ports: namedChanges(before.ports, after.ports),
    bridges: namedChanges(before.bridges, after.bridges),
    fdb: namedChanges(before.fdb, after.fdb),
    links: namedChanges(before.links, after.links),
  };
}

export function isUnchanged({ values, ports, bridges, fdb, links }: RuntimeChanges): boolean {
  return [values, ports, bridges, fdb, links].every((part) => Object.keys(part).length === 0);
}

/** A document to be checked. */
export function withChanges(settings: SwitchSettings, changes: RuntimeChanges): unknown {
  const before = byName(settings);
  return {
    ...settings,
    ...changes.values,
    ports: changedBy(before.ports, changes.ports),
    bridges: changedBy(before.bridges, changes.bridges),
    fdb: Object.values(changedBy(before.fdb, changes.fdb)),
    links: Object.values(changedBy(before.links, changes.links)),
  };
}

/** Of what was kept. Throws an error that says what is wrong with it. */
export function readChanges(value: unknown): RuntimeChanges {
  if (!isMapping(value) || !isMapping(value.values)) throw new Error('it has no values');
  for (const key of namedKeys) {
    // An earlier version has kept none.
    const part = key === 'fdb' ? (value[key] ?? {}) : value[key];
    if (!isMapping(part)) throw new Error(`it has no ${key}`);
    for (const [name, change] of Object.entries(part)) {
      const isChange =
        isMapping(change) &&
        (change.is === 'removed' ||
          (change.is === 'added' && isMapping(change.as)) ||
          (change.is === 'changed' && isMapping(change.keys)));
      if (!isChange) throw new Error(`${key}.${name} is no change`);
    }
  }
  const known: readonly string[] = valueKeys;
  const strange = Object.keys(value.values).find((key) => !known.includes(key));
  if (strange !== undefined) throw new Error(`there is no setting ${strange}`);
  return { fdb: {}, ...value } as unknown as RuntimeChanges;
}

type ByName = Omit<SwitchSettings, (typeof namedKeys)[number]> & {
  readonly [Key in (typeof namedKeys)[number]]: Readonly<Record<string, Fields>>;
};

function byName(settings: SwitchSettings): ByName {
  const { ports, bridges, links } = settings as {
    ports: Record<string, object>;
    bridges: Record<string, object>;
    links: LinkSettings[];
  };
  const ends = ({ from, to }: LinkSettings) => JSON.stringify([from ?? null, to ?? null]);
  return {
    ...settings,
    ports: ports as Record<string, Fields>,
    bridges: bridges as Record<string, Fields>,
    fdb: Object.fromEntries(
      settings.fdb.map((address) => [placeKey(address, settings.ports), { ...address }]),
    ),
    links: Object.fromEntries(links.map((link) => [ends(link), { ...link }])),
  };
}

function namedChanges(
  from: Readonly<Record<string, Fields>>,
  to: Readonly<Record<string, Fields>>,
): NamedChanges {
  const removed = Object.keys(from).filter((name) => !Object.hasOwn(to, name));
  const entries = Object.entries(to).flatMap(([name, as]): [string, NamedChange][] => {
    if (!Object.hasOwn(from, name)) return [[name, { is: 'added', as }]];
    const keys = changedKeys(from[name]!, as);
    return Object.keys(keys).length === 0 ? [] : [[name, { is: 'changed', keys }]];
  });
  return Object.fromEntries([
    ...removed.map((name): [string, NamedChange] => [name, { is: 'removed' }]),
    ...entries,
  ]);
}

function changedKeys(from: Fields, to: Fields): Fields {
  const keys = [...new Set([...Object.keys(from), ...Object.keys(to)])];
  return Object.fromEntries(
    keys
      .filter((key) => !isDeepStrictEqual(from[key], to[key]))
      .map((key) => [key, to[key] ?? null]),
  );
}

function changedBy(
  present: Readonly<Record<string, Fields>>,
  changes: NamedChanges,
): Record<string, Fields> {
  const of = (name: string) => (Object.hasOwn(changes, name) ? changes[name] : undefined);
  const kept = Object.entries(present).flatMap(([name, fields]): [string, Fields][] => {
    const change = of(name);
    if (change === undefined) return [[name, fields]];
    if (change.is === 'removed') return [];
    return [[name, change.is === 'added' ? change.as : withKeys(fields, change.keys)]];
  });
  const added = Object.entries(changes).flatMap(([name, change]): [string, Fields][] =>
    change.is === 'added' && !Object.hasOwn(present, name) ? [[name, change.as]] : [],
  );
  return Object.fromEntries([...kept, ...added]);
}

function withKeys(fields: Fields, keys: Fields): Fields {
  const merged = Object.entries({ ...fields, ...keys });
  return Object.fromEntries(merged.filter(([, value]) => value !== null));
}
