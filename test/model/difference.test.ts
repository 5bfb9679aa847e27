/**
 * What differs between two documents of settings: nothing that is the same is touched, and whoever
 * makes the changes in their order arrives at what was wanted.
 */

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { settingsOf } from '../../src/model/check.ts';
import { type Change, difference } from '../../src/model/difference.ts';
import { placeKey } from '../../src/model/place.ts';
import type { FixedAddress, LinkSettings, SwitchSettings } from '../../src/model/settings.ts';

const socket = (name: string) => ({ path: `/run/${name}` });
const types = (changes: readonly Change[]) => changes.map(({ type }) => type);

/** What the data plane would have after these changes. */
function made(from: SwitchSettings, changes: readonly Change[]): SwitchSettings {
  const settings = structuredClone(from);
  const forget = (port: string) => {
    const isOf = ({ from, to }: LinkSettings) => from === port || to === port;
    settings.links = settings.links.filter((link) => !isOf(link));
    settings.partition = settings.partition.map((side) => side.filter((name) => name !== port));
    settings.fdb = settings.fdb.filter((address) => address.port !== port);
  };
  for (const change of changes) {
    switch (change.type) {
      case 'port-removed':
        forget(change.port);
        delete settings.ports[change.port];
        break;
      case 'port-reopened':
        forget(change.port);
        settings.ports[change.port] = change.to;
        break;
      case 'port-changed':
      case 'port-added':
        // A port is never on a bridge that is not there, and no two have one socket.
        expect(settings.bridges).toHaveProperty([change.to.bridge]);
        if (settings.ports[change.port]?.bridge !== change.to.bridge) {
          settings.fdb = settings.fdb.filter(({ port }) => port !== change.port);
        }
        settings.ports[change.port] = change.to;
        break;
      case 'bridge-added':
      case 'bridge-changed':
        settings.bridges[change.bridge] = change.to;
        break;
      case 'bridge-removed':
        for (const { bridge } of Object.values(settings.ports))
          expect(bridge).not.toBe(change.bridge);
        delete settings.bridges[change.bridge];
        settings.fdb = settings.fdb.filter(({ bridge }) => bridge !== change.bridge);
        break;
      case 'address-freed':
      case 'address-fixed': {
        const { address } = change;
        const key = placeKey(address, settings.ports);
        const isThere = (one: FixedAddress) => placeKey(one, settings.ports) === key;
        if (change.type === 'address-freed') expect(settings.fdb.some(isThere)).toBe(true);
        settings.fdb = settings.fdb.filter((one) => !isThere(one));
        if (address.port !== undefined) expect(settings.ports).toHaveProperty([address.port]);
        if (change.type === 'address-fixed') settings.fdb.push(address);
        break;
      }
      case 'link-changed': {
        const { from, to } = change.link;
        settings.links = settings.links.filter((link) => link.from !== from || link.to !== to);
        if (change.to !== undefined) settings.links.push({ ...change.link, impairment: change.to });
        break;
      }
      case 'partition-changed':
        settings.partition = change.to;
        break;
      case 'workers-changed':
        Object.assign(settings, change.to);
        break;
    }
  }
  return settings;
}

/** Without the order of links and addresses, and what is a default for bridges. */
const comparable = ({ links, fdb, ageingSeconds: _, ...rest }: SwitchSettings) => ({
  ...rest,
  fdb: fdb.map((address) => JSON.stringify(address)).sort(),
  links: links.map((link) => JSON.stringify(link, Object.keys(link).sort())).sort(),
});

const names = ['a', 'b', 'c'] as const;
const anyPort = fc.record({
  kind: fc.constantFrom('vhost-user', 'process', 'dgram'),
  bridge: fc.constantFrom('default', 'red'),
  mtu: fc.constantFrom(1500, 9000),
  ringReset: fc.boolean(),
});
const anySettings = fc
  .record({
    workers: fc.integer({ min: 1, max: 3 }),
    ageingSeconds: fc.constantFrom(0, 300),
    ports: fc.dictionary(fc.constantFrom(...names), anyPort),
    links: fc.uniqueArray(
      fc.record(
        {
          from: fc.constantFrom(...names),
          to: fc.constantFrom(...names),
          delayMs: fc.integer({ min: 0, max: 2 }),
        },
        { requiredKeys: ['delayMs'] },
      ),
      { selector: ({ from, to }) => `${from}>${to}` },
    ),
    fdb: fc.array(
      fc.record(
        { number: fc.constantFrom(1, 2), place: fc.constantFrom(...names, 'default', 'red') },
        { requiredKeys: ['number'] },
      ),
      { maxLength: 4 },
    ),
    partition: fc.shuffledSubarray([...names]),
  })
  .map(({ ports, links, fdb, partition, ...rest }) => {
    const all = Object.entries(ports).map(([name, { kind, bridge, mtu, ringReset }]) => {
      const own =
        kind === 'process'
          ? {}
          : kind === 'dgram'
            ? { ...socket(name), peer: '/peer' }
            : { ...socket(name), mtu, ringReset };
      return [name, { kind, bridge, ...own }] as const;
    });
    const bridgeOf = (name: string | undefined) =>
      name === undefined ? undefined : all.find(([known]) => known === name)?.[1].bridge;
    const fits = ({ from, to }: { from?: string; to?: string }) => {
      const bridges = [from, to].filter((name) => name !== undefined).map(bridgeOf);
      return (
        from !== to &&
        bridges.length > 0 &&
        !bridges.includes(undefined) &&
        new Set(bridges).size === 1
      );
    };
    const present = partition.filter((name) => bridgeOf(name) !== undefined);
    const bridges = { default: {}, red: {} };
    const addresses = fdb.flatMap(({ number, place }): FixedAddress[] => {
      const mac = `52:54:00:00:00:0${number}`;
      if (place === undefined) return [{ mac }];
      if (place in bridges) return [{ mac, bridge: place }];
      return bridgeOf(place) === undefined ? [] : [{ mac, port: place }];
    });
    const isNew = (address: FixedAddress, index: number) => {
      const key = placeKey(address, Object.fromEntries(all) as never);
      const keys = addresses.map((one) => placeKey(one, Object.fromEntries(all) as never));
      return keys.indexOf(key) === index;
    };
    return settingsOf({
      ...rest,
      bridges: Object.fromEntries(
        addresses.flatMap(({ bridge }) => (bridge === undefined ? [] : [[bridge, {}]])),
      ),
      fdb: addresses.filter(isNew),
      ports: Object.fromEntries(all),
      links: links
        .filter(fits)
        .map(({ delayMs, ...ends }) => ({ ...ends, impairment: { delayMs } })),
      partition: present.length > 1 ? [present.slice(0, 1), present.slice(1)] : [],
    });
  });

test('whoever makes the changes in order arrives at what was wanted', () => {
  fc.assert(
    fc.property(anySettings, anySettings, (from, to) => {
      expect(comparable(made(from, difference(from, to)))).toEqual(comparable(to));
    }),
  );
});

test('of the same there is nothing to do', () => {
  fc.assert(
    fc.property(anySettings, (settings) => {
      expect(difference(settings, structuredClone(settings))).toEqual([]);
    }),
  );
});

describe('one thing that differs is one change:', () => {
  const from = settingsOf({
    bridges: { red: {} },
    ports: { a: socket('a'), b: socket('b') },
    fdb: [{ mac: '52:54:00:00:00:01', port: 'a' }],
    links: [{ from: 'a', impairment: { delayMs: 1 } }],
    partition: [['a'], ['b']],
  });
  const withPort = (changed: object) =>
    settingsOf({ ...from, ports: { ...from.ports, a: { ...from.ports.a, ...changed } } });

  test.each([
    ['a setting that leaves the machine connected', withPort({ mtu: 9000 }), ['port-changed']],
    ['another bridge', withPort({ bridge: 'red' }), ['port-changed', 'address-fixed']],
    ['idle workers', settingsOf({ ...from, idleUs: 0 }), ['workers-changed']],
    ['a link', settingsOf({ ...from, links: [] }), ['link-changed']],
    ['an address', settingsOf({ ...from, fdb: [] }), ['address-freed']],
    [
      'an address at another port',
      settingsOf({ ...from, fdb: [{ mac: '52:54:00:00:00:01', port: 'b' }] }),
      ['address-fixed'],
    ],
    ['a partition', settingsOf({ ...from, partition: [] }), ['partition-changed']],
    ['a bridge', settingsOf({ ...from, bridges: {} }), ['bridge-removed']],
    [
      'a bridge of its own mind',
      settingsOf({ ...from, bridges: { ...from.bridges, red: { ageingSeconds: 1 } } }),
      ['bridge-changed'],
    ],
    // What it was part of is gone with it.
    [
      'another socket',
      withPort(socket('elsewhere')),
      ['port-reopened', 'address-fixed', 'link-changed', 'partition-changed'],
    ],
  ])('%s', (_, to, expected) => {
    expect(types(difference(from, to))).toEqual(expected);
  });
});
