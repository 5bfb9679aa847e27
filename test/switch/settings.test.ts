/**
 * The document of a switch: whatever it was told, and by which call, is in its settings, which can
 * be saved and applied as they are.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Switch, type SwitchSettings, type WrittenSettings } from '../../src/index.ts';
import { settingsOf } from '../../src/model/check.ts';

let folder: string;
const opened: Switch[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'settings-'));
});
afterEach(() => {
  for (const vswitch of opened.splice(0)) vswitch.close();
  rmSync(folder, { recursive: true, force: true });
});

function open(options: Parameters<typeof Switch.open>[0] = {}): Switch {
  const vswitch = Switch.open({ clock: 'manual', ...options });
  opened.push(vswitch);
  return vswitch;
}

/** As a file would have it. */
const saved = (vswitch: Switch): SwitchSettings => JSON.parse(JSON.stringify(vswitch.settings));

function expectWhole(vswitch: Switch): void {
  const document = saved(vswitch);
  expect(settingsOf(document)).toEqual(document);
  expect(vswitch.settings).toEqual(document);
  expect(vswitch.plan(document)).toEqual([]);
  expect(vswitch.apply(document)).toEqual([]);
}

test('a new switch has those of an empty document', () => {
  expect(open().settings).toEqual(settingsOf({}));
  expect(open({ idleUs: 7, ageingSeconds: 9, balance: true }).settings).toEqual(
    settingsOf({ idleUs: 7, ageingSeconds: 9, balance: true }),
  );
});

describe('what a call did is in the document:', () => {
  test('ports of every kind, with all that they were given', () => {
    const vswitch = open();
    const gid = process.getgid!();
    const uid = process.getuid!();
    const source = { macs: ['52:54:00:00:00:01'], addresses: ['10.0.0.0/24'] };
    vswitch.addPort({ path: join(folder, 'a.sock') });
    vswitch.addPort({
      ...{ path: join(folder, 'b.sock'), name: 'bee', bridge: 'blue', mode: 0o600, group: gid },
      ...{ allow: [uid, `:${gid}`], source, ringReset: true, inBand: true, mtu: 9000 },
    });
    vswitch.addPort({ connect: join(folder, 'c.sock') });
    vswitch.addPort({ process: 'd', source: { macs: source.macs } });
    vswitch.addPort({ dgram: join(folder, 'e.sock'), peer: join(folder, 'f.sock'), mode: 0o7 });
    const plain = { bridge: 'default', mode: '660', ringReset: false, inBand: false, mtu: 1500 };
    expect(vswitch.settings.ports).toEqual({
      a: { kind: 'vhost-user', path: join(folder, 'a.sock'), ...plain },
      bee: {
        ...{ kind: 'vhost-user', path: join(folder, 'b.sock'), bridge: 'blue', mode: '600' },
        ...{ group: gid, allow: [uid, `:${gid}`], source },
        ...{ ringReset: true, inBand: true, mtu: 9000 },
      },
      c: { kind: 'vhost-user', connect: join(folder, 'c.sock'), ...plain },
      d: { kind: 'process', bridge: 'default', source: { macs: source.macs, addresses: [] } },
      e: {
        ...{ kind: 'dgram', bridge: 'default', mode: '007' },
        ...{ path: join(folder, 'e.sock'), peer: join(folder, 'f.sock') },
      },
    });
    expect(vswitch.settings.bridges).toEqual({
      default: { ageingSeconds: 300 },
      blue: { ageingSeconds: 300 },
    });
    expectWhole(vswitch);
    vswitch.removePort(vswitch.port('bee')!);
    expect(Object.keys(vswitch.settings.ports)).toEqual(['a', 'c', 'd', 'e']);
    expectWhole(vswitch);
  });

  test('links and partitions, until they are mended or their port goes', () => {
    const vswitch = open();
    const [a, b, c] = ['a', 'b', 'c'].map((name) => vswitch.addPort({ process: name }));
    vswitch.impair({ port: a! }, { loss: 0.5, rate: { bitsPerSecond: 1000 } });
    vswitch.impair({ between: ['a', 'b'] }, { delayMs: 3 });
    vswitch.impair({ from: c!, to: b! }, { blackhole: true });
    vswitch.partition(['a', 'b'], ['c']);
    const rate = { bitsPerSecond: 1000, queueBytes: 65_536 };
    expect(vswitch.settings.links).toEqual([
      { from: 'a', impairment: { blackhole: false, loss: 0.5, rate } },
      { to: 'a', impairment: { blackhole: false, loss: 0.5, rate } },
      { from: 'a', to: 'b', impairment: { blackhole: false, delayMs: 3 } },
      { from: 'b', to: 'a', impairment: { blackhole: false, delayMs: 3 } },
      { from: 'c', to: 'b', impairment: { blackhole: true } },
    ]);
    expect(vswitch.settings.partition).toEqual([['a', 'b'], ['c']]);
    expectWhole(vswitch);
    vswitch.impair({ from: 'b', to: 'a' }, {});
    vswitch.removePort(b!);
    expect(vswitch.settings).toMatchObject({
      links: [{ from: 'a' }, { to: 'a' }],
      partition: [['a'], ['c']],
    });
    expectWhole(vswitch);
    vswitch.heal();
    expect(vswitch.settings.partition).toEqual([]);
    expectWhole(vswitch);
  });

  test('what a schedule has come to, and not what it will', () => {
    const vswitch = open();
    vswitch.addPort({ process: 'a' });
    vswitch.schedule([
      { atMs: 10, link: { port: 'a', direction: 'fromGuest' }, impairment: { loss: 1 } },
      { atMs: 20, link: { port: 'a', direction: 'fromGuest' }, impairment: {} },
    ]);
    expect(vswitch.settings.links).toEqual([]);
    vswitch.advance(10);
    expect(vswitch.settings.links).toEqual([
      { from: 'a', impairment: { blackhole: false, loss: 1 } },
    ]);
    vswitch.advance(10);
    expect(vswitch.settings.links).toEqual([]);
  });

  test('workers', () => {
    const vswitch = open({ clock: 'machine' });
    vswitch.addWorker();
    vswitch.addWorker({ cpu: 0 });
    expect(vswitch.settings).toMatchObject({ workers: 3, cpus: [0] });
    expectWhole(vswitch);
  });
});

test('a document that was saved makes another switch the same', () => {
  const vswitch = open();
  vswitch.addPort({ process: 'a', bridge: 'blue' });
  vswitch.addPort({ process: 'b', source: { addresses: ['10.0.0.1'] } });
  vswitch.impair({ port: 'a' }, { corrupt: 1 });
  vswitch.partition(['a'], ['b']);
  const document = saved(vswitch);
  expect(open(document).settings).toEqual(document);
});

test('a document is the caller’s own', () => {
  const vswitch = open();
  vswitch.addPort({ process: 'a', source: { macs: ['52:54:00:00:00:01'] } });
  const mine = vswitch.settings;
  mine.ports.a!.source!.macs.push('52:54:00:00:00:02');
  mine.ports.b = { kind: 'process', bridge: 'default' };
  expect(Object.keys(vswitch.settings.ports)).toEqual(['a']);
  expect(vswitch.apply(mine).map(({ type }) => type)).toEqual(['port-changed', 'port-added']);
  mine.ports.b.bridge = 'other';
  const [added] = vswitch.apply({
    ...vswitch.settings,
    ports: { ...vswitch.settings.ports, c: { kind: 'process' } },
  });
  (added as { to: { bridge: string } }).to.bridge = 'other';
  expect(vswitch.settings.ports.c).toEqual({ kind: 'process', bridge: 'default' });
  expect(vswitch.settings.ports.b).toEqual({ kind: 'process', bridge: 'default' });
});

test('names that objects have by themselves are names', () => {
  const vswitch = open();
  for (const name of ['__proto__', 'constructor', 'toString', '0']) {
    vswitch.addPort({ process: name, bridge: name });
  }
  const document = saved(vswitch);
  expect(Object.keys(document.ports).sort()).toEqual(
    ['0', '__proto__', 'constructor', 'toString'].sort(),
  );
  expectWhole(vswitch);
  expect(Object.keys(open(document).settings.bridges).sort()).toEqual(
    [...Object.keys(document.ports), 'default'].sort(),
  );
});

test.each<[string, WrittenSettings, string]>([
  [
    'a port with a bad MTU',
    { ports: { a: { mtu: 5 } } },
    'ports.a.mtu: must be at least 68, not 5',
  ],
  [
    'a group address',
    { ports: { a: { kind: 'process', source: { macs: ['01:00:5e:00:00:01'] } } } },
    'ports.a.source.macs.0: "01:00:5e:00:00:01" is not the MAC address of a card, such as 52:54:00:00:00:01',
  ],
  [
    'a prefix that is too long',
    { ports: { a: { kind: 'process', source: { addresses: ['fd00::1', '10.0.0.0/33'] } } } },
    'ports.a.source.addresses.1: "10.0.0.0/33" is not an IP address or network, such as 10.0.0.1, fd00::1 or 10.0.0.0/24',
  ],
  [
    'one socket in two spellings',
    { ports: { a: { path: '/run/a' }, b: { path: '/run/x/../a' } } },
    'ports.b.path: port a has this socket; every port needs one of its own',
  ],
  [
    'a link that is late by nothing',
    {
      ports: { a: { kind: 'process' } },
      links: [{ from: 'a', impairment: { reorder: { probability: 1, lateByMs: 0 } } }],
    },
    'links.0.impairment: reorder.lateByMs is 0; late is more than that',
  ],
])('%s is one sentence with the path, for apply(), plan() and open()', (_, document, sentence) => {
  const vswitch = open();
  const error = expect.objectContaining({
    code: 'BAD_OPTION',
    message: sentence,
    findings: [expect.objectContaining({ path: expect.any(Array) })],
  });
  const before = vswitch.settings;
  expect(() => vswitch.apply(document)).toThrow(error);
  expect(() => vswitch.plan(document)).toThrow(error);
  expect(() => open(document)).toThrow(error);
  expect(vswitch.settings).toEqual(before);
});

test('a switch that is closed has nothing to apply to', () => {
  const vswitch = open();
  vswitch.close();
  const closed = expect.objectContaining({ code: 'CLOSED' });
  expect(() => vswitch.apply({})).toThrow(closed);
  expect(() => vswitch.plan({})).toThrow(closed);
});

/** Documents with ports of the process alone, which a switch without threads can have. */
const documents = fc
  .record({
    ageingSeconds: fc.nat(1000),
    idleUs: fc.nat(1000),
    balance: fc.boolean(),
    bridges: fc.dictionary(fc.constantFrom('red', 'blue'), fc.record({ ageingSeconds: fc.nat() })),
    ports: fc.dictionary(
      fc.constantFrom('a', 'b', 'c', 'd'),
      fc.record(
        {
          kind: fc.constant('process' as const),
          bridge: fc.constantFrom('default', 'red', 'blue'),
          source: fc.record({ macs: fc.constant(['52:54:00:00:00:01']) }),
        },
        { requiredKeys: ['kind'] },
      ),
    ),
    ends: fc.uniqueArray(fc.tuple(fc.nat(3), fc.nat(3)), { maxLength: 4 }),
    impairment: fc.record({ loss: fc.constantFrom(0, 0.5), delayMs: fc.nat(9) }),
    cut: fc.boolean(),
  })
  .map(({ ends, impairment, cut, ...document }) => {
    const names = Object.keys(document.ports);
    const links = ends.flatMap(([one, other]) => {
      const [from, to] = [names[one], names[other]];
      if (from === undefined) return [];
      if (to === undefined || from === to) return [{ from, impairment }];
      const bridges = [from, to].map((name) => document.ports[name]?.bridge ?? 'default');
      return bridges[0] === bridges[1] ? [{ from, to, impairment }] : [];
    });
    const ofEach = new Map(links.map((link) => [JSON.stringify({ ...link, impairment: 0 }), link]));
    const partition = cut && names.length > 1 ? [names.slice(0, 1), names.slice(1)] : [];
    return { ...document, links: [...ofEach.values()], partition };
  });

test('whatever was applied before, a document is what is in force once it is applied', () => {
  fc.assert(
    fc.property(fc.array(documents, { minLength: 1, maxLength: 4 }), (wanted) => {
      const vswitch = Switch.open({ clock: 'manual' });
      try {
        for (const document of wanted) {
          const planned = vswitch.plan(document);
          expect(vswitch.apply(document)).toEqual(planned);
          const { links, ...others } = settingsOf(document);
          expect(vswitch.settings).toMatchObject(others);
          expect(vswitch.settings.links).toHaveLength(links.length);
          expect(vswitch.plan(document)).toEqual([]);
          expectWhole(vswitch);
        }
      } finally {
        vswitch.close();
      }
    }),
    { numRuns: 60 },
  );
});
