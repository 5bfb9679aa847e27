/** What a switch keeps between two runs: whole or not at all, whatever happens meanwhile. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { execaSync } from 'execa';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  defaultStateFolder,
  givenStateFolder,
  type StateDocument,
  StateFolder,
} from '../../../src/operate/state/state-folder.ts';
import { needs } from '../../support/needs.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'state-'));
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

const numbers: StateDocument<number[]> = {
  name: 'numbers',
  version: 2,
  read(value, version) {
    if (!Array.isArray(value)) throw new Error('a list was expected');
    return version === 1 ? value.map((text) => Number(text)) : value;
  },
};
const file = () => join(folder, 'numbers.json');
const codeOf = (action: () => unknown): unknown => {
  try {
    return action();
  } catch (error) {
    return (error as { code: string }).code;
  }
};

describe('a document', () => {
  test('is what was written last, and its file is its owner’s', () => {
    const state = StateFolder.open(join(folder, 'made', 'here'));
    expect(state.read(numbers)).toBeUndefined();
    state.write(numbers, [1, 2]);
    state.write(numbers, [3]);
    expect(StateFolder.open(state.path).read(numbers)).toEqual([3]);
    expect(readdirSync(state.path)).toEqual(['numbers.json']);
    expect(statSync(join(state.path, 'numbers.json')).mode & 0o777).toBe(0o600);
    expect(statSync(state.path).mode & 0o777).toBe(0o700);
  });

  test('of an earlier version is read as that', () => {
    writeFileSync(file(), '{"document":"numbers","version":1,"value":["7"]}');
    expect(StateFolder.open(folder).read(numbers)).toEqual([7]);
  });

  test('of a later version is neither read nor changed', () => {
    const later = '{"document":"numbers","version":3,"value":{"new":true}}';
    writeFileSync(file(), later);
    const state = StateFolder.open(folder);
    expect(() => state.read(numbers)).toThrow(
      `${file()}: version 3, and this program reads up to 2: a later one wrote it; it is neither ` +
        'used nor changed',
    );
    expect(codeOf(() => state.read(numbers))).toBe('STATE_LATER');
    expect(codeOf(() => state.write(numbers, [1]))).toBe('STATE_LATER');
    expect(readFileSync(file(), 'utf8')).toBe(later);
  });

  test('that was cut, or never was one, is put aside and counts as none', () => {
    const state = StateFolder.open(folder);
    state.write(numbers, [1, 2, 3]);
    const whole = readFileSync(file(), 'utf8').trimEnd();
    const cuts = Array.from(whole, (_, length) => whole.slice(0, length));
    const others = ['null', '7', '[]', '{}', '{"document":"other","version":1,"value":[]}'];
    for (const version of ['0', '-1', '1.5', '"2"', 'null']) {
      others.push(`{"document":"numbers","version":${version},"value":[]}`);
    }
    for (const text of [...cuts, ...others, '{"document":"numbers","version":2,"value":{}}']) {
      writeFileSync(file(), text);
      expect(
        codeOf(() => state.read(numbers)),
        text,
      ).toBe('STATE_DAMAGED');
      expect(readFileSync(`${file()}.damaged`, 'utf8')).toBe(text);
      expect(state.read(numbers)).toBeUndefined();
    }
    state.write(numbers, [4]);
    expect(state.read(numbers)).toEqual([4]);
  });

  test('of any bytes is damaged, of a later version, or one', () => {
    const state = StateFolder.open(folder);
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        writeFileSync(file(), text);
        expect(['STATE_DAMAGED', 'STATE_LATER']).toContain(codeOf(() => state.read(numbers)));
      }),
    );
  });

  test('is whole whenever its writer is killed', async () => {
    const state = StateFolder.open(folder);
    state.write(numbers, []);
    const script = `
      import { StateFolder } from ${JSON.stringify(resolve('dist/operate/state/state-folder.js'))};
      const state = StateFolder.open(${JSON.stringify(folder)});
      process.stdout.write('ready');
      for (let i = 1; ; i++) {
        const value = Array.from({ length: 20000 }, () => i);
        state.write({ name: 'numbers', version: 2, read: (read) => read }, value);
      }`;
    for (let kill = 0; kill < 10; kill++) {
      const writer = spawn(process.execPath, ['--input-type=module', '--eval', script]);
      // One document takes a few milliseconds: this is anywhere in the midst of one.
      await once(writer.stdout, 'data');
      for (let i = 0; i < 40 * kill; i++) await new Promise((next) => setImmediate(next));
      writer.kill('SIGKILL');
      await once(writer, 'close');
      const value = state.read(numbers)!;
      expect(new Set(value).size).toBeLessThanOrEqual(1);
      expect([0, 20_000]).toContain(value.length);
    }
    // What a killed one has left is in nobody's way.
    state.write(numbers, [5]);
    expect(readdirSync(folder)).toEqual(['numbers.json']);
  });
});

describe('a folder', () => {
  test('that cannot be one is said so', () => {
    writeFileSync(join(folder, 'taken'), '');
    const within = join(folder, 'taken', 'state');
    expect(() => StateFolder.open(within)).toThrow(`${within}: no state can be kept there`);
    mkdirSync(file());
    expect(codeOf(() => StateFolder.open(folder).read(numbers))).toBe('STATE_UNUSABLE');
    expect(codeOf(() => StateFolder.open(folder).write(numbers, []))).toBe('STATE_UNUSABLE');
  });

  const needsOther = needs(process.getuid!() === 0 ? 'needs somebody who is not root' : undefined);
  test('that is read only is said so', needsOther, () => {
    chmodSync(folder, 0o500);
    expect(codeOf(() => StateFolder.open(folder).write(numbers, []))).toBe('STATE_UNUSABLE');
    chmodSync(folder, 0o700);
  });

  test('is where the service manager says, else where state of its user is', () => {
    const env = { HOME: '/h', XDG_STATE_HOME: '/x' };
    expect(givenStateFolder(env)).toBeUndefined();
    expect(givenStateFolder({ STATE_DIRECTORY: '/s/a:/s/b' })).toBe('/s/a');
    expect(defaultStateFolder({ ...env, STATE_DIRECTORY: '/s' }, 1)).toBe('/s');
    expect(defaultStateFolder(env, 0)).toBe('/var/lib/tsvswitch');
    expect(defaultStateFolder(env, 1)).toBe('/x/tsvswitch/switch');
    expect(defaultStateFolder({ ...env, XDG_STATE_HOME: 'x' }, 1)).toBe(
      '/h/.local/state/tsvswitch/switch',
    );
  });
});

function mountIsMissing(): string | undefined {
  const tried = execaSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'none', tmpdir()], {
    reject: false,
  });
  return tried.exitCode === 0 ? undefined : 'needs the right to mount file systems';
}

test('a full disk leaves what was there, and nothing half done', needs(mountIsMissing()), () => {
  const module = resolve('dist/operate/state/state-folder.js');
  const script = `
    import { StateFolder } from ${JSON.stringify(module)};
    const state = StateFolder.open(${JSON.stringify(folder)});
    const numbers = { name: 'numbers', version: 2, read: (read) => read };
    state.write(numbers, [1]);
    let code;
    try { state.write(numbers, Array(100000).fill(7)); } catch (error) { code = error.code; }
    console.log(JSON.stringify({ code, read: state.read(numbers) }));`;
  const inside = `mount -t tmpfs -o size=64k none "$1"
    "$2" --input-type=module --eval "$3"
    ls "$1"`;
  const { stdout } = execaSync('unshare', [
    ...['--mount', 'sh', '-c', inside, 'sh'],
    ...[folder, process.execPath, script],
  ]);
  expect(stdout.split('\n')).toEqual(['{"code":"STATE_FULL","read":[1]}', 'numbers.json']);
  expect(existsSync(file())).toBe(false);
});
