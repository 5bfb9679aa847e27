/**
 * What words below userData come to: what they mean to cloud-init, or a complaint with their place.
 */

import { execa } from 'execa';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { cloudInitValue, Misreadable } from '../../../src/lab/file/cloud-init-yaml.ts';
import { planOfText, settingOfText } from '../../../src/lab/file/lab-file.ts';

const origin = { name: 'lab.yaml', file: '/labs/lab.yaml' };

/** biome-ignore lint/suspicious/noExplicitAny: what is in it is what the tests are about */
function userData(text: string): any {
  const plan = planOfText(text, origin).machines.at(-1)!.userData;
  return plan?.mode === 'merge' ? plan.content : plan;
}

function lab(...lines: string[]): string {
  const machine = 'machines:\n  vm1:\n    image: builtin:debian\n    userData:';
  return [machine, ...lines.map((line) => `      ${line}`)].join('\n');
}

/** The value of a plain word, or the complaint about it. */
function read(word: string): unknown {
  try {
    return userData(lab(`word: ${word}`)).word;
  } catch (error) {
    return (error as Error).message;
  }
}

describe('a word is what it is in a file of user-data', () => {
  test.for<[string, unknown]>([
    ['0644', 0o644],
    ['00', 0],
    ['-0644', -0o644],
    ['0b101', 5],
    ['0x1F', 31],
    ['1_000', 1000],
    ['1_0.5', 10.5],
    ['1.5e+3', 'lab.yaml:5:13: '],
    ['2.5e-3', 0.0025],
    ...['yes', 'Yes', 'YES', 'true', 'on', 'On'].map((word): [string, unknown] => [word, true]),
    ...['no', 'No', 'NO', 'false', 'off', 'OFF'].map((word): [string, unknown] => [word, false]),
    ...['~', 'null', 'NULL', ''].map((word): [string, unknown] => [word, null]),
    // Numbers in YAML 1.2, and texts in YAML 1.1.
    ...['0o644', '089', '1e3', '1.5e3', '+.5e3'].map((word): [string, unknown] => [word, word]),
    // Neither reader takes these for truth values, though YAML 1.1 does.
    ...['y', 'n', 'yEs'].map((word): [string, unknown] => [word, word]),
    // PyYAML makes an object of the one and fails with the other: a text is what is wanted.
    ...['2026-11-30', '2026-11-30 10:00:00', '='].map((word): [string, unknown] => [word, word]),
    ['"0644"', '0644'],
    ["'no'", 'no'],
    ['!!str 0644', '0644'],
    ['!!int 0644', 0o644],
    ['22:60', '22:60'],
  ])('%s', ([word, expected]) => {
    const value = read(word);
    if (String(expected).startsWith('lab.yaml')) expect(value).toContain(expected);
    else expect(value).toBe(expected);
  });

  test('wherever it stands: in lists, behind aliases, in what is merged in', () => {
    const text = [
      'machines:',
      '  vm1: &base',
      '    image: builtin:debian',
      '    deviceOptions: &options { packed: on, mrg_rxbuf: off }',
      '    userData: { runcmd: [[chmod, 0600, no]], options: *options }',
      '  vm2: { <<: *base }',
    ].join('\n');
    expect(userData(text)).toEqual({
      runcmd: [['chmod', 0o600, false]],
      options: { packed: true, mrg_rxbuf: false },
    });
    // The same words are what they were where the lab reads them.
    expect(planOfText(text, origin).machines[1]!.deviceOptions).toEqual({
      packed: 'on',
      mrg_rxbuf: 'off',
    });
  });

  test('except a key, which stays as it is written', () => {
    expect(userData(lab('on: { no: 1, 0644: 2, ~: 3, 1.0: 4 }'))).toEqual({
      on: { no: 1, '0644': 2, '~': 3, '1.0': 4 },
    });
  });

  test('except in a text of user-data, which cloud-init reads itself', () => {
    const text = lab().replace('userData:', 'userData: |\n      #cloud-config\n      a: 12:30');
    expect(userData(text)).toEqual({ mode: 'replace', content: '#cloud-config\na: 12:30\n' });
  });

  test('in `--set`, too', () => {
    expect(settingOfText('userData', '{ mode: 0644, lock: no }')).toEqual({
      mode: 0o644,
      lock: false,
    });
    expect(settingOfText('deviceOptions', '{ packed: on }')).toEqual({ packed: 'on' });
    expect(() => settingOfText('userData', '{ at: [12:30] }')).toThrow(/^userData\.at\.0: .* 750/);
  });
});

describe('what cannot be handed on as it is meant is told with its place', () => {
  test.for<[string, RegExp]>([
    ['12:30', /reads this as a number, 750, .* write "12:30" if it is a text, or the number$/],
    ['-1:30', /a number, -90,/],
    ['52:54:00:12:34:56', /a number, 4\d+,/],
    ['1:30.5', /a number, 90\.5,/],
    ['1.0', /would be given the whole number 1; write that, or "1\.0" if it is a text$/],
    ['.inf', /no such number can be given/],
    ['12345678901234567890', /too many digits to be kept; write "12345678901234567890"$/],
    ['!!binary aGVsbG8=', /^lab\.yaml:5:13: the tag !!binary means nothing here; .*encoding: b64/],
  ])('%s', ([word, expected]) => {
    expect(read(word)).toMatch(expected);
    expect(read(word)).toMatch(/^lab\.yaml:5:13: /);
  });

  test('together with all else that is wrong, from top to bottom', () => {
    const text = `${lab('a: [x, 12:30]', '0644: { b: 1.0 }')}\n    memroy: 1G`;
    expect(() => planOfText(text, origin)).toThrow(
      /^lab\.yaml:5:14: machines\.vm1\.userData\.a\.1: .*\nlab\.yaml:6:18: machines\.vm1\.userData\.0644\.b: .*\nlab\.yaml:7:5: machines\.vm1\.memroy: /,
    );
  });

  test.for([
    ['user: [bob]', /userData\.user: must be a name or a mapping/],
    ['user:', /userData\.user: must be a name or a mapping/],
    [
      'user: bob\n      users: eve',
      /userData\.users: must be a list beside a user who is not test/,
    ],
    [
      'password: x\n      chpasswd: { expire: yes }',
      /chpasswd\.expire: nobody could log in as test/,
    ],
    ['chpasswd: { expire: true, list: ["test:x"] }', /chpasswd\.expire: nobody could log in/],
    ['chpasswd: { expire: true, users: [{ name: test }] }', /chpasswd\.expire: nobody/],
  ] as const)('%s', ([line, expected]) => {
    expect(() => userData(lab(line))).toThrow(expected);
  });

  test('and not where the user of the lab is left alone', () => {
    const other = 'chpasswd: { expire: true, list: "eve:x" }';
    expect(userData(lab('password: x', other))).toMatchObject({ password: 'x' });
    expect(userData(lab('user: eve', 'password: x', 'chpasswd: { expire: true }'))).toBeDefined();
  });
});

describe('beside PyYAML, which cloud-init reads with', () => {
  const program = `import json, sys, yaml
def plain(value):
    return value if value is None or isinstance(value, (bool, int, float, str)) else type(value).__name__
def load(word):
    try:
        return plain(yaml.safe_load('word: ' + word)['word'])
    except Exception as error:
        return type(error).__name__
print(json.dumps([load(word) for word in json.load(sys.stdin)]))`;
  const python = 'python3';
  let hasPyYaml = false;

  beforeAll(async () => {
    hasPyYaml = (await execa(python, ['-c', 'import yaml'], { reject: false })).exitCode === 0;
  });

  test('every word that is not complained about means the same', async ({ skip }) => {
    if (!hasPyYaml) skip('PyYAML is not installed here: python3-yaml');
    const unit = (characters: string) => fc.constantFrom(...characters);
    const text = (characters: string) =>
      fc.string({ unit: unit(characters), minLength: 1, maxLength: 6 });
    const words = fc.sample(
      fc.oneof(text('0123456789abefxoXE_+-.:yYnNosSOfF~'), text('0017892_.:e+-'), text('no0b1xf')),
      { numRuns: 3000, seed: 1 },
    );
    const isPlain = (word: string) => /^[^-:?][^:]*(?::[^:]+)*$/.test(word);
    const asked = [...new Set(words)].filter(isPlain);
    const { stdout } = await execa(python, ['-c', program], { input: JSON.stringify(asked) });
    const meant: unknown[] = JSON.parse(stdout);
    const numbers = asked.filter((_, index) => typeof meant[index] === 'number');
    expect(numbers.length).toBeGreaterThan(100);
    for (const [index, word] of asked.entries()) {
      const value = cloudInitValue(word);
      if (value instanceof Misreadable) expect(typeof meant[index], word).toBe('number');
      else expect([word, value]).toEqual([word, meant[index]]);
    }
  });
});
