/** The table of kinds, and the spellings in which addPort() takes one. */

import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { reopeningKeys } from '../../src/model/difference.ts';
import { portSchemas } from '../../src/model/settings-schema.ts';
import { portKinds } from '../../src/port/kinds.ts';
import { Switch } from '../../src/switch/switch.ts';

let folder: string;
let vswitch: Switch;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'kinds-'));
  vswitch = Switch.open({ clock: 'manual' });
});
afterEach(() => {
  vswitch.close();
  rmSync(folder, { recursive: true, force: true });
});

test('every kind has a schema, a folder and a row of its own name', () => {
  const kinds = Object.keys(portSchemas).sort();
  expect(Object.keys(portKinds).sort()).toEqual(kinds);
  expect(Object.keys(reopeningKeys).sort()).toEqual(kinds);
  for (const kind of kinds) {
    expect(portKinds[kind as keyof typeof portKinds].kind).toBe(kind);
    expect(readdirSync(join('src', 'port', kind))).toContain('kind.ts');
  }
});

test('what all ports share knows no kind', () => {
  for (const file of ['port.ts', 'kind.ts', 'socket-path.ts']) {
    const text = readFileSync(join('src', 'port', file), 'utf8');
    expect(text.match(/from '\.\/[\w-]+\//), file).toBeNull();
  }
});

describe('a port is added by its kind, or in an older spelling', () => {
  const path = (name: string) => join(folder, `${name}.sock`);

  test('of a machine', () => {
    expect(vswitch.addPort({ kind: 'vhost-user', path: path('a') })).toMatchObject({
      kind: 'vhost-user',
      name: 'a',
    });
    expect(vswitch.addPort({ path: path('b') }).kind).toBe('vhost-user');
  });

  test('of the process', () => {
    const kind: string = vswitch.addPort({ kind: 'process', name: 'a' }).kind;
    expect(kind).toBe('host');
    expect(vswitch.addPort({ process: 'b' })).toMatchObject({ kind, name: 'b' });
    expect(vswitch.addPort({ host: 'c' })).toMatchObject({ kind, name: 'c' });
  });

  test('over datagrams', () => {
    const peer = path('peer');
    expect(vswitch.addPort({ kind: 'dgram', path: path('a'), peer })).toMatchObject({
      ...{ kind: 'dgram', name: 'a', path: path('a'), peer },
    });
    expect(vswitch.addPort({ dgram: path('b'), peer }).kind).toBe('dgram');
  });

  test.each([
    ['that there is not', { kind: 'tap', name: 'a' }, /kind: tap is not vhost-user, process or/],
    ['without a name', { kind: 'process' }, /name: undefined is not a name/],
    ['without a socket', { kind: 'dgram', peer: '/run/p' }, /path: undefined is not a path/],
    ['without a peer', { kind: 'dgram', path: '/run/p' }, /peer: undefined is not a path/],
    ['with one of another', { kind: 'vhost-user', dgram: '/run/p' }, /path: undefined is not/],
  ])('a kind %s is BAD_OPTION and adds nothing', (_, options, sentence) => {
    const add = () => vswitch.addPort(options as never);
    expect(add).toThrow(expect.objectContaining({ code: 'BAD_OPTION' }));
    expect(add).toThrow(sentence);
    expect(vswitch.ports).toEqual([]);
  });
});

test('a path that is too long for a socket is taken from the working folder', () => {
  const before = process.cwd();
  const deep = join(folder, 'x'.repeat(100));
  process.chdir(folder);
  try {
    const port = vswitch.addPort({ path: join('.', 'y.sock') });
    expect(port.path).toBe(join(process.cwd(), 'y.sock'));
    expect(() => vswitch.addPort({ path: deep })).not.toThrow();
    expect(readdirSync(folder)).toContain('x'.repeat(100));
  } finally {
    process.chdir(before);
  }
});
