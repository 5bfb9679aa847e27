/** What the file of a switch may say, and what is said of one that cannot be. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Static } from 'typebox';
import { afterEach, beforeEach, describe, expect, expectTypeOf, test } from 'vitest';
import { TsvswitchError } from '../../src/model/errors.ts';
import { configOfText, defaultConfigPath, readConfig } from '../../src/operate/config-file.ts';
import type { ServiceSettings } from '../../src/operate/settings.ts';
import { configFile, type serviceSettings } from '../../src/operate/settings-schema.ts';
import { startingFile } from '../../src/operate/starting-file.ts';

const config = (text: string) => configOfText(text, 'switch.yaml');

function complaints(text: string): string[] {
  try {
    config(text);
  } catch (error) {
    if (!(error instanceof TsvswitchError)) throw error;
    expect(error.code).toBe('CONFIG_INVALID');
    return error.message.split('\n');
  }
  return [];
}

test('a port and its path are enough; the rest has defaults', () => {
  const { service, settings } = config('ports: { web: { path: /run/vsw/web.sock } }');
  expect(service).toEqual({ log: { level: 'info', format: 'text' }, sandbox: true });
  expect(settings).toMatchObject({ workers: 1, bridges: { default: { ageingSeconds: 300 } } });
  expect(settings.ports.web).toMatchObject({ kind: 'vhost-user', mode: '660', bridge: 'default' });
});

test('what the process needs is apart from the settings of the switch', () => {
  const { service, settings } = config(
    'control: { path: /run/c.sock }\nlog: { level: debug, format: json }\nsandbox: off\nworkers: 2',
  );
  expect(service).toEqual({
    control: { path: '/run/c.sock' },
    log: { level: 'debug', format: 'json' },
    sandbox: false,
  });
  expect(Object.keys(settings)).not.toContain('control');
  expect(settings.workers).toBe(2);
});

test.each(['660', '0660', '0o660', '"660"'])('mode: %s is rw-rw----', (mode) => {
  const { settings } = config(`ports: { a: { path: /a, mode: ${mode} } }`);
  expect(settings.ports.a).toMatchObject({ mode: '660' });
});

test.each([
  ['on', true],
  ['off', false],
  ['true', true],
])('ringReset: %s', (written, ringReset) => {
  const { settings } = config(`ports: { a: { path: /a, ringReset: ${written} } }`);
  expect(settings.ports.a).toMatchObject({ ringReset });
});

test('ports may share what a merge key brings', () => {
  const { settings } = config(
    'ports:\n  a: &a { path: /a, mtu: 9000 }\n  b: { <<: *a, path: /b }\n',
  );
  expect(settings.ports.b).toMatchObject({ path: '/b', mtu: 9000 });
});

describe('a mistake is told with its place', () => {
  test.each([
    ['workers: 70', '1:10: workers: must be at most 64, not 70'],
    ['workers: two', '1:10: workers: must be a whole number, not "two"'],
    ['port: {}', '1:1: port: there is no such key; did you mean ports?'],
    ['log: { level: loud }', '1:15: log.level: "loud" is none of error, warn, info, debug'],
    ['control: run/c', '1:10: control: "run/c" does not fit: a path begins with /'],
    ['control: {}', '1:10: control: path is missing'],
    [
      'metrics: 9477',
      /^switch\.yaml:1:10: metrics: must be a text, not 9477; an address is such as/,
    ],
    ['metrics: localhost:1', /^switch\.yaml:1:10: metrics: "localhost:1" does not fit: an address/],
    ['listen: localhost:1', /^switch\.yaml:1:9: listen: "localhost:1" does not fit: an address/],
    ['listen: { address: 1 }', /^switch\.yaml:1:20: listen\.address: must be a text, not 1/],
    ['listen: { token: /t }', /^switch\.yaml:1:9: listen: address is missing/],
    ['ports: { a: { path: /a, mode: 0o1660 } }', /^switch\.yaml:1:31: ports\.a\.mode: /],
    ['ports: { a: { path: /a, inBand: yes } }', /^switch\.yaml:1:33: .* must be true or false/],
    ['ports: { a: { mtu: 1500 } }', /^switch\.yaml:1:13: ports\.a: has neither path nor connect/],
    ['ports: { a: { kind: tap, path: /a } }', /^switch\.yaml:1:21: .*"tap" is none of vhost-user/],
    ['links: [{ from: a, impairment: {} }]', /links\.0\.from: there is no port named a$/],
    ['a: [', /^switch\.yaml:1:\d+: this is not YAML: /],
    ['workers: 1\nworkers: 2', '2:1: the key workers is there already; remove one of the two'],
    ['--- {workers: 1}\n--- {}', /a second document begins here; a file declares one switch$/],
    ['', /^switch\.yaml is empty; `ports: .*` is enough$/],
  ])('%s', (text, sentence) => {
    const [first] = complaints(text);
    if (typeof sentence === 'string') expect(first).toBe(`switch.yaml:${sentence}`);
    else expect(first).toMatch(sentence);
  });

  test('all of them at once, in the order of the file', () => {
    const lines = complaints('workers: 0\nports:\n  a: { pth: /a }\nidleUs: -1\n');
    expect(lines.map((line) => line.split(':')[1])).toEqual(['1', '3', '4']);
  });

  test('no more than fifty', () => {
    const ports = Array.from({ length: 60 }, (_, i) => `  p${i}: { path: run }\n`);
    const lines = complaints(`ports:\n${ports.join('')}`);
    expect(lines).toHaveLength(51);
    expect(lines.at(-1)).toBe('and 10 more');
  });
});

describe('files', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'config-'));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
    delete process.env.TSVSWITCH_CONFIG;
    delete process.env.XDG_CONFIG_HOME;
  });

  test.each([
    ['there is none', undefined, /^there is no one\.yaml in .*or name another with --config$/],
    ['it is no text', Buffer.from([0xff, 0xfe, 0x00]), /is not UTF-8 text; save it as UTF-8$/],
    ['it is too long', Buffer.alloc(70_000, '#'), /more than 65536 bytes/],
  ])('%s', async (_, bytes, sentence) => {
    const path = join(folder, 'one.yaml');
    if (bytes !== undefined) writeFileSync(path, bytes);
    await expect(readConfig(path)).rejects.toMatchObject({
      code: 'CONFIG_UNREADABLE',
      message: expect.stringMatching(sentence),
    });
  });

  test('the variable names the file; else the user has one, or the system', () => {
    process.env.XDG_CONFIG_HOME = join(folder, 'none');
    expect(defaultConfigPath()).toBe('/etc/tsvswitch/tsvswitch.yaml');
    process.env.XDG_CONFIG_HOME = folder;
    expect(defaultConfigPath()).toBe('/etc/tsvswitch/tsvswitch.yaml');
    process.env.TSVSWITCH_CONFIG = '/some/where.yaml';
    expect(defaultConfigPath()).toBe('/some/where.yaml');
  });
});

test('the file to start from is one, and so is all that it has in comments', () => {
  const text = startingFile('/schema.json');
  expect(Object.keys(config(text).settings.ports)).toEqual(['web']);
  const all = text
    .replaceAll(/^ {2}# /gm, '  ')
    .replaceAll(/^# (?=[a-z]\w+:(?: [{[\d]|$))/gm, '')
    .replaceAll(/^# {3}/gm, '  ');
  const { settings } = config(all);
  expect(Object.keys(settings.ports)).toEqual(['web', 'db']);
  expect(settings).toMatchObject({ bridges: { storage: { ageingSeconds: 60 } }, cpus: [1] });
});

test('the schema is printed for editors, and agrees with the types', () => {
  expect(JSON.parse(readFileSync('tsvswitch.schema.json', 'utf8'))).toEqual(
    JSON.parse(JSON.stringify(configFile)),
  );
  expectTypeOf<Static<typeof serviceSettings>>().branded.toEqualTypeOf<ServiceSettings>();
});
