/** Documents of settings, complete, for tests that hold for all of them. */

import fc from 'fast-check';
import { settingsOf } from '../../src/model/check.ts';
import type { SwitchSettings } from '../../src/model/settings.ts';

const names = ['a', 'b', '__proto__', 'constructor', '- [x]#', '1'];

const optional = <T>(values: readonly T[]) =>
  fc.option(fc.constantFrom(...values), { nil: undefined });

/** Without keys that are undefined. */
const without = <T extends object>(value: T): T => JSON.parse(JSON.stringify(value)) as T;

const port = (name: string) =>
  fc
    .record({
      kind: fc.constantFrom('vhost-user', 'process'),
      bridge: optional(['blue', 'red']),
      source: optional([{ macs: ['52:54:00:00:00:01'], addresses: [] }]),
      mtu: optional([1500, 9000]),
      down: optional([true, false]),
      mode: optional(['600', '660']),
      allow: optional([['root'], [1, 2]]),
    })
    .map(({ kind, bridge, source, down, ...more }): [string, object] => [
      name,
      kind === 'process'
        ? { kind, bridge, source, down }
        : { kind, path: `/run/${names.indexOf(name)}`, bridge, source, down, ...more },
    ]);

export const randomSettings: fc.Arbitrary<SwitchSettings> = fc
  .record({
    workers: fc.integer({ min: 1, max: 4 }),
    cpus: fc.subarray([0, 1]),
    balance: fc.boolean(),
    ageingSeconds: optional([0, 60]),
    bridges: fc.subarray(['blue', 'green', 'default']),
    ports: fc.subarray(names).chain((present) => fc.tuple(...present.map(port))),
    fdb: fc.subarray([1, 2]),
    loss: fc.array(fc.constantFrom(0.1, 0.5), { maxLength: 3 }),
  })
  .map(({ bridges, ports, fdb, loss, ...values }) => {
    const present = ports.map(([name]) => name);
    const links = loss
      .slice(0, present.length)
      .map((probability, i) => ({ from: present[i], impairment: { loss: probability } }));
    return settingsOf(
      without({
        ...values,
        cpus: values.cpus.slice(0, values.workers),
        bridges: Object.fromEntries(bridges.map((name) => [name, { ageingSeconds: 7 }])),
        ports: Object.fromEntries(ports),
        fdb: fdb.map((number) => ({
          mac: `52:54:00:00:00:0${number}`,
          ...(present[number] !== undefined && { port: present[number] }),
        })),
        links,
        partition: present.length > 1 ? [[present[0]], [present[1]]] : [],
      }),
    );
  });

/** The order of links and addresses says nothing. */
export const withSortedLinks = (settings: SwitchSettings): SwitchSettings => ({
  ...settings,
  fdb: settings.fdb.toSorted((a, b) => (a.mac < b.mac ? -1 : 1)),
  links: settings.links.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)),
});
