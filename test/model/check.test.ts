/**
 * Documents of settings: what is completed, and the sentence for everything that is wrong with one.
 */

import { readFileSync } from 'node:fs';
import { Ajv } from 'ajv';
import type { Static } from 'typebox';
import { describe, expect, expectTypeOf, test } from 'vitest';
import { checkSettings, settingsOf } from '../../src/model/check.ts';
import { reopeningKeys } from '../../src/model/difference.ts';
import type { SwitchSettings } from '../../src/model/settings.ts';
import { pathText } from '../../src/model/settings-error.ts';
import { portSchemas, switchSettings } from '../../src/model/settings-schema.ts';

const port = { path: '/run/vsw/a.sock' };

function findings(document: unknown): string[] {
  const checked = checkSettings(document);
  if ('settings' in checked) return [];
  return checked.findings.map(({ path, sentence }) => `${pathText(path)}: ${sentence}`);
}

test('an empty document is a switch with one worker, one bridge and no port', () => {
  expect(settingsOf({})).toEqual({
    ...{ workers: 1, cpus: [], idleUs: 50, balance: false, ageingSeconds: 300 },
    ...{
      bridges: { default: { ageingSeconds: 300 } },
      ports: {},
      fdb: [],
      links: [],
      partition: [],
    },
  });
});

test('a port gets its kind, its bridge and what else it leaves out, and its bridge is there', () => {
  const { ports, bridges } = settingsOf({
    ageingSeconds: 7,
    bridges: { blue: { ageingSeconds: 9 } },
    ports: { a: port, b: { kind: 'process', bridge: 'red' } },
  });
  expect(ports).toEqual({
    a: {
      ...{ kind: 'vhost-user', bridge: 'default', path: '/run/vsw/a.sock', mode: '660' },
      ...{ ringReset: false, inBand: false, mtu: 1500 },
    },
    b: { kind: 'process', bridge: 'red' },
  });
  expect(bridges).toEqual({
    default: { ageingSeconds: 7 },
    blue: { ageingSeconds: 9 },
    red: { ageingSeconds: 7 },
  });
});

test('a complete document is as it is, and the given one is left alone', () => {
  const given = { ports: { a: port } };
  const complete = settingsOf(given);
  expect(settingsOf(complete)).toEqual(complete);
  expect(given).toEqual({ ports: { a: port } });
});

describe('is refused in one sentence:', () => {
  test.each([
    ['no mapping', [], 'settings: must be a mapping (key: value), not []'],
    ['an unknown key', { port: {} }, 'port: there is no such key; did you mean ports?'],
    ['no worker', { workers: 0 }, 'workers: must be at least 1, not 0'],
    ['half a worker', { workers: 1.5 }, 'workers: must be a whole number, not 1.5'],
    ['a CPU twice', { workers: 2, cpus: [1, 1] }, 'cpus: has 1 twice'],
    ['too many CPUs', { cpus: [1, 2] }, 'cpus: 2 CPUs for one worker; give at most one each'],
    [
      'an unknown kind',
      { ports: { a: { kind: 'tap' } } },
      'ports.a.kind: "tap" is none of vhost-user, process, dgram',
    ],
    [
      'a key of another kind',
      { ports: { a: { kind: 'process', mtu: 1500 } } },
      'ports.a.mtu: there is no such key; there are kind, bridge, source, down',
    ],
    [
      'a port without a socket',
      { ports: { a: {} } },
      'ports.a: has neither path nor connect; it needs one of them',
    ],
    [
      'a port with two',
      { ports: { a: { ...port, connect: '/x' } } },
      'ports.a.connect: path is given as well; a port has one of them',
    ],
    [
      'a path of nobody knows where',
      { ports: { a: { path: 'a.sock' } } },
      'ports.a.path: "a.sock" does not fit: a path begins with /',
    ],
    [
      'one socket for two ports',
      { ports: { a: port, b: port } },
      'ports.b.path: port a has this socket; every port needs one of its own',
    ],
    [
      'an MTU of nothing',
      { ports: { a: { ...port, mtu: 67 } } },
      'ports.a.mtu: must be at least 68, not 67',
    ],
    [
      'a user that is a list',
      { ports: { a: { ...port, allow: [[]] } } },
      'ports.a.allow.0: must be a text or a whole number, not []',
    ],
    ['nobody', { ports: { a: { ...port, allow: [] } } }, 'ports.a.allow: must not be empty'],
    [
      'a source that lists nothing',
      { ports: { a: { ...port, source: {} } } },
      'ports.a.source: lists nothing; leave it out to allow all',
    ],
    [
      'a name of two lines',
      { ports: { 'a\nb': port } },
      'ports.a\nb: "a\\nb" does not fit: the name of a port is 1 to 128 visible characters, with plain spaces only between them and none behind a colon',
    ],
    [
      'a fixed address behind nobody',
      { fdb: [{ mac: '52:54:00:00:00:01', port: 'a' }] },
      'fdb.0.port: there is no port named a',
    ],
    [
      'a fixed address on no bridge',
      { fdb: [{ mac: '52:54:00:00:00:01', bridge: 'red' }] },
      'fdb.0.bridge: there is no bridge named red',
    ],
    [
      'a fixed address that says its bridge twice',
      { ports: { a: port }, fdb: [{ mac: '52:54:00:00:00:01', port: 'a', bridge: 'default' }] },
      'fdb.0.bridge: is that of port a; leave it out',
    ],
    [
      'a group as a fixed address',
      { fdb: [{ mac: 'ff:ff:ff:ff:ff:ff' }] },
      'fdb.0.mac: "ff:ff:ff:ff:ff:ff" is not the MAC address of a card, such as 52:54:00:00:00:01',
    ],
    [
      'an address at two places',
      {
        ports: { a: port },
        fdb: [{ mac: '52:54:00:00:00:aa', port: 'a' }, { mac: '52:54:00:00:00:AA' }],
      },
      'fdb.1.mac: 52:54:00:00:00:AA is listed twice on this bridge',
    ],
    [
      'a link of nobody',
      { links: [{ from: 'a', impairment: {} }] },
      'links.0.from: there is no port named a',
    ],
    [
      'a link without ends',
      { links: [{ impairment: {} }] },
      'links.0: has neither from nor to; it needs one of them',
    ],
    [
      'a loss of text',
      { ports: { a: port }, links: [{ to: 'a', impairment: { loss: 'much' } }] },
      'links.0.impairment.loss: must be a number or a mapping (key: value), not "much"',
    ],
    [
      'a loss above one',
      { ports: { a: port }, links: [{ to: 'a', impairment: { loss: 2 } }] },
      'links.0.impairment.loss: must be at most 1, not 2',
    ],
    [
      'more jitter than delay',
      { ports: { a: port }, links: [{ to: 'a', impairment: { jitterMs: 2, delayMs: 1 } }] },
      'links.0.impairment: jitterMs is 2, more than delayMs, which is 1',
    ],
    [
      'a link between bridges',
      {
        ports: { a: port, b: { kind: 'process', bridge: 'red' } },
        links: [{ from: 'a', to: 'b', impairment: {} }],
      },
      'links.0.to: b is on another bridge than a',
    ],
    [
      'a link twice',
      {
        ports: { a: port },
        links: [
          { to: 'a', impairment: {} },
          { to: 'a', impairment: {} },
        ],
      },
      'links.1: this link is listed twice',
    ],
    ['one side', { partition: [[]] }, 'partition: has one side; it needs two or more'],
    [
      'a port on two sides',
      { ports: { a: port }, partition: [['a'], ['a']] },
      'partition.1: a is on two sides',
    ],
  ])('%s', (_, document, sentence) => {
    expect(findings(document)).toEqual([sentence]);
  });

  test('all of it at once', () => {
    expect(findings({ workers: 65, ports: { a: { kind: 'dgram', path: '/a' } } })).toEqual([
      'workers: must be at most 64, not 65',
      'ports.a: peer is missing',
    ]);
  });
});

test('the schema is printed for editors, and agrees with the types', () => {
  expect(JSON.parse(readFileSync('settings.schema.json', 'utf8'))).toEqual(
    JSON.parse(JSON.stringify(switchSettings)),
  );
  expectTypeOf<Static<typeof switchSettings>>().branded.toEqualTypeOf<SwitchSettings>();
});

test('the schema is one of JSON Schema, and every object in it is closed', () => {
  expect(new Ajv().validateSchema(JSON.parse(JSON.stringify(switchSettings)))).toBe(true);
  const open: string[] = [];
  const visit = (schema: unknown, at: string): void => {
    if (typeof schema !== 'object' || schema === null) return;
    const { properties, additionalProperties } = schema as Record<string, unknown>;
    if (properties !== undefined && additionalProperties !== false) open.push(at);
    for (const [key, value] of Object.entries(schema)) visit(value, `${at}/${key}`);
  };
  visit(switchSettings, '');
  expect(open).toEqual([]);
});

test('what reopens a port are settings that its kind has', () => {
  for (const [kind, keys] of Object.entries(reopeningKeys)) {
    const { properties } = portSchemas[kind as keyof typeof portSchemas];
    expect(Object.keys(properties)).toEqual(expect.arrayContaining([...keys]));
  }
  expect(Object.keys(reopeningKeys)).toEqual(Object.keys(portSchemas));
});
