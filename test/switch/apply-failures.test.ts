/**
 * What cannot be had changes nothing: checks come before the first change, and what fails in the
 * midst of it all the same is taken back.
 */

import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  Switch,
  type SwitchEvent,
  type SwitchSettings,
  TsvswitchError,
  type WrittenSettings,
} from '../../src/index.ts';
import { native } from '../../src/native/addon.ts';
import { TestGuest } from '../../src/testing/index.ts';
import { frameBetween } from '../support/ethernet.ts';
import { needs } from '../support/needs.ts';

let folder: string;
let vswitch: Switch;
let guests: TestGuest[];
let events: SwitchEvent[];

const path = (name: string) => join(folder, `${name}.sock`);
const files = () => readdirSync(folder).sort();

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'apply-'));
  vswitch = openBreakable({ ports: { a: { path: path('a') }, b: { path: path('b') } } });
  guests = await Promise.all(['a', 'b'].map((name) => TestGuest.connect({ path: path(name) })));
  events = [];
  vswitch.on('event', (event) => events.push(event));
});
afterEach(async () => {
  for (const guest of guests) await guest.close();
  vswitch.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Both guests have stayed, and hear each other. */
async function expectUndisturbed(): Promise<void> {
  expect(events.filter(({ type }) => type !== 'mac-learned')).toEqual([]);
  const [a, b] = guests as [TestGuest, TestGuest];
  await a.send(frameBetween(0, 1, 1));
  expect(Buffer.compare(await b.receive(), frameBetween(0, 1, 1))).toBe(0);
}

/** Everything changes at once, so that each of it would be touched too early. */
function changed(): SwitchSettings {
  const { a, b } = vswitch.settings.ports;
  return {
    ...vswitch.settings,
    workers: 2,
    idleUs: 7,
    ageingSeconds: 9,
    bridges: { default: { ageingSeconds: 9 }, red: { ageingSeconds: 1 } },
    ports: {
      a: { ...a!, bridge: 'blue' },
      b: { ...b!, kind: 'vhost-user', ringReset: true } as typeof b & object,
      c: { kind: 'process', bridge: 'blue' },
    },
    links: [{ from: 'a', to: 'c', impairment: { blackhole: true } }],
    partition: [['a'], ['b']],
  };
}

describe('is refused before anything is touched:', () => {
  const vhost = (fields: object) => ({ kind: 'vhost-user', ...fields }) as never;
  const cases: [string, string, RegExp, () => object | undefined, (s: SwitchSettings) => void][] = [
    [
      'a socket that another process has',
      'SOCKET_IN_USE',
      /taken\.sock: .* listens on it; stop that process or choose another path$/,
      () => createServer().listen(path('taken')),
      (settings) => Object.assign(settings.ports, { x: vhost({ path: path('taken') }) }),
    ],
    [
      'a folder that is not there',
      'SOCKET_FOLDER_MISSING',
      /folder .*\/gone does not exist/,
      () => undefined,
      (settings) => Object.assign(settings.ports, { x: vhost({ path: join(folder, 'gone/x') }) }),
    ],
    [
      'a datagram socket in a folder that is not there',
      'SOCKET_FOLDER_MISSING',
      /folder .*\/gone does not exist/,
      () => undefined,
      (settings) =>
        Object.assign(settings.ports, {
          x: { kind: 'dgram', path: join(folder, 'gone/x'), peer: path('y') },
        }),
    ],
    [
      'a user that is not there, of a new port',
      'SOCKET_USER_UNKNOWN',
      /there is no user nobody-at-all/,
      () => undefined,
      (settings) =>
        Object.assign(settings.ports, {
          x: vhost({ path: path('x'), allow: ['nobody-at-all'] }),
        }),
    ],
    [
      'a user that is not there, of a port that stays',
      'SOCKET_USER_UNKNOWN',
      /there is no user nobody-at-all/,
      () => undefined,
      (settings) => Object.assign(settings.ports.a!, { allow: ['nobody-at-all'] }),
    ],
    [
      'a group that is not there, of a port that stays',
      'SOCKET_GROUP_UNKNOWN',
      /there is no group no-group-at-all/,
      () => undefined,
      (settings) => Object.assign(settings.ports.a!, { group: 'no-group-at-all' }),
    ],
    [
      'a group that is not there, of a port that is opened anew',
      'SOCKET_GROUP_UNKNOWN',
      /there is no group no-group-at-all/,
      () => undefined,
      (settings) => Object.assign(settings.ports.b!, { group: 'no-group-at-all' }),
    ],
    [
      'a path that is too long',
      'SOCKET_PATH_TOO_LONG',
      /holds at most 107/,
      () => undefined,
      (settings) => Object.assign(settings.ports, { x: vhost({ path: path('x'.repeat(99)) }) }),
    ],
    [
      'a CPU that is not there',
      'SYSTEM',
      /cpus: this machine has no CPU 1023 that is online/,
      () => undefined,
      (settings) => Object.assign(settings, { cpus: [1023] }),
    ],
    [
      'more ports than there may be',
      'TOO_MANY_PORTS',
      /ports: \d+ at once, and a switch has at most \d+/,
      () => undefined,
      (settings) => {
        for (let i = 0; i < native().portsMax; i++) {
          settings.ports[`x${i}`] = { kind: 'process', bridge: 'default' };
        }
      },
    ],
  ];

  test.each(cases)('%s', async (_, code, sentence, prepare, edit) => {
    const server = prepare() as ReturnType<typeof createServer> | undefined;
    if (server !== undefined) await new Promise((resolve) => server.once('listening', resolve));
    try {
      const [before, filesBefore] = [vswitch.settings, files()];
      const wanted = changed();
      edit(wanted);
      expect(vswitch.plan(wanted)).not.toEqual([]);
      const apply = () => vswitch.apply(wanted);
      expect(apply).toThrow(expect.objectContaining({ code }));
      expect(apply).toThrow(sentence);
      expect(vswitch.settings).toEqual(before);
      expect(files()).toEqual(filesBefore);
      await expectUndisturbed();
    } finally {
      server?.close();
    }
  });
});

test('a file that is gone cannot be given other permissions, and all is as it was', async () => {
  rmSync(path('a'));
  const before = vswitch.settings;
  const wanted = vswitch.settings;
  Object.assign(wanted.ports.a!, { mode: '600', mtu: 9000 });
  expect(() => vswitch.apply(wanted)).toThrow(/a\.sock: its file is gone, .* open the port anew/);
  expect(vswitch.settings).toEqual(before);
  await expectUndisturbed();
});

test.each(['vhost-user', 'dgram'])(
  'and of kind %s, a new one is made where it is opened anew',
  (kind) => {
    const settings = { bridge: 'default', path: path('a'), mode: '660' };
    const peers = kind === 'dgram' ? { kind, ...settings, peer: path('x') } : { ...settings };
    vswitch.apply({ ports: { a: peers as never } });
    rmSync(path('a'));
    const other = kind === 'dgram' ? { peer: path('y') } : { inBand: true };
    vswitch.apply({ ports: { a: { ...peers, ...other } as never } });
    expect(statSync(path('a')).isSocket()).toBe(true);
    vswitch.apply({});
    expect(files()).toEqual([]);
  },
);

test.each(['vhost-user', 'dgram'])(
  'a port of kind %s takes a socket of its own kind only',
  (kind) => {
    const ports = {
      'vhost-user': { kind: 'vhost-user' as const, path: path('a'), mode: '600' },
      dgram: { kind: 'dgram' as const, path: path('a'), peer: path('x'), mode: '600' },
    };
    const [first, second] =
      kind === 'dgram' ? (['dgram', 'vhost-user'] as const) : (['vhost-user', 'dgram'] as const);
    vswitch.apply({ ports: { a: ports[first] } });
    const { ino } = statSync(path('a'));
    vswitch.apply({ ports: { other: ports[first] } });
    expect(statSync(path('a')).ino).toBe(ino);
    expect(statSync(path('a')).mode & 0o777).toBe(0o600);
    const changes = vswitch.apply({ ports: { other: ports[second] } });
    expect(changes).toMatchObject([{ type: 'port-reopened', disturbs: 'port' }]);
    expect(vswitch.port('other')!.kind).toBe(second);
    expect(statSync(path('a')).isSocket()).toBe(true);
  },
);

test('with a new socket open, the old one is still there if another cannot be had', () => {
  const inode = statSync(path('a')).ino;
  const wanted = vswitch.settings;
  Object.assign(wanted.ports.a!, { path: path('new') });
  Object.assign(wanted.ports.b!, { path: join(folder, 'gone', 'b') });
  expect(() => vswitch.apply(wanted)).toThrow(/does not exist/);
  expect(statSync(path('a')).ino).toBe(inode);
  expect(existsSync(path('new'))).toBe(false);
});

test(
  'a folder that becomes another user’s keeps the file, and nothing else',
  needs(process.getuid!() === 0 ? 'needs somebody who is not root' : undefined),
  () => {
    chmodSync(folder, 0o500);
    try {
      vswitch.removePort(vswitch.port('a')!);
      expect(existsSync(path('a'))).toBe(true);
      expect(Object.keys(vswitch.settings.ports)).toEqual(['b']);
    } finally {
      chmodSync(folder, 0o700);
    }
  },
);

/** More steps than any change here has. */
const stepsMax = 50;

/** What the data plane is asked to change. */
const changing = [
  ...['addBridge', 'setAgeing', 'addRingPort', 'addProcessPort', 'move', 'set'],
  ...['setPartition', 'addWorker', 'removeWorker', 'pinWorker', 'setIdle'],
];

/** Which of the changes fail, counted from 0. */
let fails = (_: number): boolean => false;
let calls = 0;

/** The data plane itself, and everything it makes, but that changes may fail. */
function breakable<Handle>(handle: Handle): Handle {
  if (typeof handle !== 'object' || handle === null) return handle;
  for (const name of changing) {
    const method: unknown = (handle as Record<string, unknown>)[name];
    if (typeof method !== 'function') continue;
    const value = (...args: unknown[]) => {
      if (fails(calls++)) throw new TsvswitchError('SYSTEM', `no memory for ${name}`);
      return breakable(Reflect.apply(method, handle, args));
    };
    Object.defineProperty(handle, name, { value });
  }
  return handle;
}

function openBreakable(options: WrittenSettings): Switch {
  const { openDataplane } = native();
  const addon = native() as { openDataplane: typeof openDataplane };
  addon.openDataplane = (given) => breakable(openDataplane(given));
  try {
    return Switch.open(options);
  } finally {
    addon.openDataplane = openDataplane;
  }
}

/** Lets the data plane fail as said, counting from 0 the changes that it is asked for. */
function failing<Result>(which: (call: number) => boolean, act: () => Result): Result {
  [fails, calls] = [which, 0];
  try {
    return act();
  } finally {
    fails = () => false;
  }
}

test('whichever step fails, what was is in force again, and said if a port was disturbed', async () => {
  const before = vswitch.settings;
  const inodes = { a: statSync(path('a')).ino, b: statSync(path('b')).ino };
  const filesBefore = files();
  const disturbed: boolean[] = [];
  for (let at = 0; at < stepsMax; at++) {
    const wanted = changed();
    let error: TsvswitchError | undefined;
    try {
      failing(
        (call) => call === at,
        () => vswitch.apply(wanted),
      );
    } catch (thrown) {
      error = thrown as TsvswitchError;
    }
    if (error === undefined) break;
    expect(error).toMatchObject({ code: 'SYSTEM' });
    expect(error.message).toMatch(/^no memory for \w+(; all is as before; opened anew: b)?$/);
    disturbed.push(error.message.includes('anew'));
    expect(vswitch.settings).toEqual(before);
    expect(files()).toEqual(filesBefore);
    if (disturbed.at(-1)) inodes.b = statSync(path('b')).ino;
    expect({ a: statSync(path('a')).ino, b: statSync(path('b')).ino }).toEqual(inodes);
    expect(vswitch.plan(before)).toEqual([]);
  }
  // Bridges, ports, links, partition and workers: each was a step that failed.
  expect(disturbed.length).toBeGreaterThan(8);
  expect(disturbed).toContain(true);
  expect(vswitch.settings.workers).toBe(2);
  // Guest a was never disturbed; b has to come again.
  expect(events.filter(({ type }) => type === 'frontend-left')).toEqual(
    events.filter(({ type, port }) => type === 'frontend-left' && port === 'b'),
  );
  vswitch.apply(before);
  const again = await TestGuest.connect({ path: path('b') });
  await guests[0]!.send(frameBetween(0, 1, 3));
  expect(Buffer.compare(await again.receive(), frameBetween(0, 1, 3))).toBe(0);
  await again.close();
});

test('what cannot be taken back is in the error, and settings tell the truth', () => {
  const before = vswitch.settings;
  const outcomes: string[] = [];
  for (let at = 0; at < stepsMax; at++) {
    vswitch.apply(before);
    const wanted = changed();
    try {
      failing(
        (call) => call >= at,
        () => vswitch.apply(wanted),
      );
      break;
    } catch (thrown) {
      const { message } = thrown as TsvswitchError;
      const inForce = vswitch.settings;
      outcomes.push(message);
      // Whatever is there can be asked for, and got from.
      expect(vswitch.plan(inForce)).toEqual([]);
      for (const { name, bridge } of vswitch.ports) {
        expect(inForce.ports[name]).toMatchObject({ bridge });
      }
      expect(Object.keys(inForce.ports)).toEqual(vswitch.ports.map(({ name }) => name));
      expect(Object.keys(inForce.bridges)).toEqual(vswitch.bridges.map(({ name }) => name));
      expect(inForce.workers).toBe(vswitch.workers.length);
      const isAsBefore = vswitch.plan(before).length === 0;
      expect(message.includes('it could not be taken back')).toBe(!isAsBefore);
    }
  }
  expect(outcomes).toContainEqual(
    expect.stringMatching(
      /^no memory for addRingPort; it could not be taken back \(no memory for .*\): port b removed, /,
    ),
  );
  expect(Object.keys(vswitch.settings.ports)).toEqual(['a', 'b', 'c']);
});
