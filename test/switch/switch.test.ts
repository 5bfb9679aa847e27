/**
 * The Switch as an embedding program uses it: options, names, several in one process, and its end.
 */

import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Switch, type SwitchOptions } from '../../src/index.ts';
import { TestGuest } from '../../src/testing/index.ts';
import { frameBetween, macOf } from '../support/ethernet.ts';
import { expectDelivery } from '../support/network.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'switch-'));
});

afterEach(() => rmSync(folder, { recursive: true }));

const path = (name: string) => join(folder, `${name}.sock`);

/** One that was joined is listed until the kernel is done with it: counts are waited for. */
function workerThreads(): number {
  return readdirSync('/proc/self/task').filter((id) => {
    try {
      return readFileSync(`/proc/self/task/${id}/comm`, 'utf8') === 'tsvswitch-work\n';
    } catch {
      // It has just ended.
      return false;
    }
  }).length;
}

describe('the name of a port or a bridge', () => {
  const strange = [
    ...['a\u2028b', 'a\u2029b', 'a\u00a0b', 'a\u3000b', 'a\nb', 'a\u202eb', 'a\u200bb', 'a\u3164b'],
    ...['a\u2800b', 'a\ufeffb', '\ud800', '', ' a', 'a ', ' ', 'a: left', 'x'.repeat(129)],
  ];

  test.each([...strange, 7, undefined, null, ['a']])('%j is refused', async (name) => {
    await using vswitch = Switch.open({ clock: 'manual' });
    const text = name as string;
    const sentence = expect.objectContaining({
      code: 'BAD_OPTION',
      message: expect.stringMatching(
        /^[\p{L}\p{M}\p{N}\p{P}\p{S} ]+ is not a name, which is 1 to 128/u,
      ),
    });
    expect(() => vswitch.addPort({ process: text })).toThrow(sentence);
    expect(() => vswitch.addPort({ name: text ?? '', path: path('x') })).toThrow(sentence);
    expect(() => vswitch.addPort({ process: 'x', bridge: text ?? '' })).toThrow(
      name === null ? undefined : sentence,
    );
    expect(vswitch.ports).toEqual([]);
    expect(readdirSync(folder)).toEqual([]);
  });

  test.each([
    'a',
    'web 1',
    'a,b',
    '/run/a.sock',
    'büro',
    'Σ1',
    '事務所',
    '0000:01:00.0',
    'x'.repeat(128),
  ])('%s is one', async (name) => {
    await using vswitch = Switch.open({ clock: 'manual' });
    expect(vswitch.addPort({ process: name, bridge: name })).toMatchObject({ name, bridge: name });
  });
});

describe('options', () => {
  test.each<[string, SwitchOptions]>([
    ['no workers', { workers: 0 }],
    ['half a worker', { workers: 1.5 }],
    ['workers as text', { workers: '2' as unknown as number }],
    ['more CPUs than workers', { workers: 1, cpus: [0, 1] }],
    ['two workers on one CPU', { workers: 2, cpus: [0, 0] }],
    ['a negative CPU', { cpus: [-1] }],
    ['a negative idle time', { idleUs: -1 }],
    ['an endless idle time', { idleUs: Number.POSITIVE_INFINITY }],
    ['an ageing time that is no number', { ageingSeconds: Number.NaN }],
  ])('%s is BAD_OPTION and starts nothing', async (_, options) => {
    expect(() => Switch.open(options)).toThrow(expect.objectContaining({ code: 'BAD_OPTION' }));
    await expect.poll(workerThreads).toBe(0);
  });

  test('a CPU that is not there is an error that names it, and leaves no thread', async () => {
    const open = () => Switch.open({ workers: 2, cpus: [0, 1000] });
    expect(open).toThrow(expect.objectContaining({ code: 'SYSTEM' }));
    expect(open).toThrow(/CPUs 0,1000/);
    await expect.poll(workerThreads).toBe(0);
  });

  test('every worker asked for is a thread', async () => {
    const vswitch = Switch.open({ workers: 3 });
    await expect.poll(workerThreads).toBe(3);
    vswitch.close();
    await expect.poll(workerThreads).toBe(0);
  });
});

describe('ports', () => {
  test('are called after their socket, after the whole path where that is taken', async () => {
    await using vswitch = Switch.open();
    expect(vswitch.addPort({ path: path('web') }).name).toBe('web');
    expect(vswitch.addPort({ path: path('db'), name: 'database' }).name).toBe('database');
    expect(vswitch.addPort({ path: join(folder, 'web') }).name).toBe(join(folder, 'web'));
    expect(() => vswitch.addPort({ path: path('x'), name: 'web' })).toThrow(
      expect.objectContaining({ code: 'BAD_OPTION' }),
    );
    expect(existsSync(path('x'))).toBe(false);
    expect(vswitch.ports.map(({ name }) => name)).toHaveLength(3);
  });

  test('cannot share a socket, however its path is written', async () => {
    await using vswitch = Switch.open();
    vswitch.addPort({ path: path('a') });
    expect(() => vswitch.addPort({ path: join(folder, '.', 'b', '..', 'a.sock') })).toThrow(
      expect.objectContaining({ code: 'SOCKET_DUPLICATE' }),
    );
    expect(existsSync(path('a'))).toBe(true);
  });

  test('that cannot be opened leave the switch as it was', async () => {
    await using vswitch = Switch.open();
    const open = () => vswitch.addPort({ path: join(folder, 'missing', 'a.sock') });
    expect(open).toThrow(expect.objectContaining({ code: 'SOCKET_FOLDER_MISSING' }));
    expect(vswitch.ports).toEqual([]);
    expect(vswitch.addPort({ path: path('a') }).name).toBe('a');
  });
});

describe('several switches in a process', () => {
  test('know nothing of each other', async () => {
    await using one = Switch.open();
    await using other = Switch.open();
    for (const [vswitch, name] of [
      [one, 'one'],
      [other, 'other'],
    ] as const) {
      vswitch.addPort({ path: path(`${name}-a`) });
      vswitch.addPort({ path: path(`${name}-b`) });
    }
    const a = await TestGuest.connect({ path: path('one-a') });
    const b = await TestGuest.connect({ path: path('one-b') });
    const c = await TestGuest.connect({ path: path('other-a') });
    await expectDelivery(a, b, [frameBetween(0, 1, 1)]);
    expect(one.bridge.fdb).toMatchObject([{ mac: macOf(0), port: 'one-a' }]);
    expect(other.bridge.fdb).toEqual([]);
    expect(other.ports[0]!.counters.toGuest.frames).toBe(0);
    one.close();
    await expect(a.receive()).rejects.toMatchObject({ code: 'DISCONNECTED' });
    await c.send(frameBetween(2, 0));
    await c.flush();
    expect(other.ports[0]!.counters.fromGuest.frames).toBe(1);
    for (const guest of [a, b, c]) await guest.close();
  });
});

describe('close', () => {
  test('ends sessions, removes sockets and joins workers; then nothing can be added', async () => {
    const vswitch = Switch.open();
    vswitch.addPort({ path: path('a') });
    const guest = await TestGuest.connect({ path: path('a') });
    const events: string[] = [];
    vswitch.on('event', ({ type }) => events.push(type));
    vswitch.close();
    expect(events.at(-1)).toBe('frontend-left');
    expect(readdirSync(folder)).toEqual([]);
    await expect.poll(workerThreads).toBe(0);
    expect(() => vswitch.addPort({ path: path('a') })).toThrow(
      expect.objectContaining({ code: 'CLOSED' }),
    );
    vswitch.close();
    await guest.close();
  });

  test('may be called from an event, of any port', async () => {
    const vswitch = Switch.open();
    const port = vswitch.addPort({ path: path('a') });
    const closed = new Promise<void>((resolve) => {
      vswitch.on('ring-started', () => {
        vswitch.close();
        resolve();
      });
    });
    const connecting = TestGuest.connect({ path: path('a') });
    await expect(connecting).rejects.toMatchObject({ code: 'DISCONNECTED' });
    await closed;
    expect(() => port.counters).toThrow(expect.objectContaining({ code: 'CLOSED' }));
    await expect.poll(workerThreads).toBe(0);
  });
});
