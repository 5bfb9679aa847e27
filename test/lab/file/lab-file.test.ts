/** Reading a lab's file: where complaints point, and what no file can do. */

import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { execa } from 'execa';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readLabFile } from '../../../src/lab/file/lab-file.ts';
import { TsvswitchError } from '../../../src/model/errors.ts';

let folder: string;

beforeAll(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'tsvswitch-lab-file-')));
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function written(content: string | Uint8Array, name = 'lab.yaml'): Promise<string> {
  const file = join(folder, name);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, content);
  return file;
}

/** The complaint about a file with `content`, with its path taken off each line. */
async function complaint(content: string | Uint8Array): Promise<string> {
  const file = await written(content);
  const error = await readLabFile(file).then(
    () => expect.unreachable('the file was taken'),
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(TsvswitchError);
  return (error as TsvswitchError).message.replaceAll(
    new RegExp(`${file}(:(?=[0-9]))?`, 'g'),
    (name) => (name.endsWith(':') ? '' : 'FILE'),
  );
}

describe('the plan of a file', () => {
  test('has two machines from the least that can be written', async () => {
    const plan = await readLabFile(await written('machines: { vm1: {}, vm2: {} }'));
    expect(plan.machines.map(({ name }) => name)).toEqual(['vm1', 'vm2']);
  });

  test('takes name and relative paths from the folder the file really is in', async () => {
    const text = 'machines: { vm1: { image: ../disk.qcow2 } }\nswitch: { attach: control }';
    const file = await written(text, 'My Lab (2)/lab.yaml');
    const link = join(folder, 'link.yaml');
    await symlink(file, link);
    const plan = await readLabFile(link);
    expect(plan).toEqual(await readLabFile(file));
    expect(plan).toMatchObject({
      name: 'my-lab-2',
      file,
      switch: { type: 'attach', control: join(dirname(file), 'control'), bridge: 'default' },
      machines: [{ image: { type: 'file', path: join(folder, 'disk.qcow2') } }],
    });
  });

  test('takes what machines have in common from anchors and merge keys', async () => {
    const plan = await readLabFile(
      await written(
        'machines:\n  vm1: &big { cpus: 2, memory: 1G }\n  vm2: { <<: *big, cpus: 4 }\n',
      ),
    );
    expect(plan.machines).toMatchObject([
      { cpus: 2, memoryMiB: 1024 },
      { cpus: 4, memoryMiB: 1024 },
    ]);
  });

  test('can come through a pipe', async () => {
    const fifo = join(folder, 'fifo');
    await execa('mkfifo', [fifo]);
    const [plan] = await Promise.all([readLabFile(fifo), writeFile(fifo, 'machines: { vm1: {} }')]);
    expect(plan.machines).toHaveLength(1);
  });
});

describe('a complaint', () => {
  test('points at every key and value that cannot be, from top to bottom', async () => {
    const text = [
      'switch:',
      '  workers: 0',
      'machines:',
      '  vm1:',
      '    memroy: 2G',
      '    addresses:',
      '      - 192.168.0.1/24',
      '      - 192.168.0.2',
      '  "VM 2": { cpus: [] }',
      'swich: 1',
    ].join('\n');
    const lines = (await complaint(text)).split('\n').map((line) => line.split(': ').slice(0, 2));
    expect(lines).toEqual([
      ['2:12', 'switch.workers'],
      ['5:5', 'machines.vm1.memroy'],
      ['8:9', 'machines.vm1.addresses.1'],
      ['9:3', 'machines.VM 2'],
      ['9:19', 'machines.VM 2.cpus'],
      ['10:1', 'swich'],
    ]);
  });

  test('about what two machines want names both places', async () => {
    const text = [
      'machines:',
      '  vm1: { mac: "52:54:00:00:00:0a", addresses: [fd00::1/64] }',
      '  vm2: { mac: "52:54:00:00:00:0A", addresses: ["fd00:0::0:1/48"] }',
    ].join('\n');
    expect((await complaint(text)).split('\n')).toEqual([
      '3:15: machines.vm2.mac: MAC address 52:54:00:00:00:0a is taken at 2:15 already',
      '3:48: machines.vm2.addresses.0: address fd00::1 is taken at 2:48 already',
    ]);
  });

  test('about what an alias brings points to where it is written', async () => {
    const text = 'machines:\n  vm1: &a\n    cpus: 0\n  vm2: *a\n';
    expect(await complaint(text)).toMatch(
      /^3:11: machines\.vm1\.cpus: .*\n3:11: machines\.vm2\.cpus: /,
    );
  });

  test('about what a merge brings points to the machine that has it', async () => {
    const text = 'machines:\n  vm1: &a { mac: "52:54:00:00:00:01" }\n  vm2:\n    <<: *a\n';
    expect(await complaint(text)).toMatch(/^4:5: machines\.vm2\.mac: .* taken at 2:18 already$/);
  });

  test('names the file as the user did', async () => {
    const file = await written('machines: {}');
    const viaFolder = join(dirname(file), '.', 'x', '..', 'lab.yaml');
    await expect(readLabFile(viaFolder)).rejects.toThrow(
      `${viaFolder}:1:11: machines: must not be empty`,
    );
  });

  test('is one line of printable text, whatever a key is', async () => {
    const text = 'machines: { vm1: {} }\n"a\\n\\e[2Jb\\u202e": 1\n';
    expect(await complaint(text)).toMatch(
      /^2:1: a\\u\{a\}\\u\{1b\}\[2Jb\\u\{202e\}: there is no such/,
    );
    const twice = 'machines: {}\nmach\u009bines: 1\nmach\u009bines: 2\n';
    expect(await complaint(twice)).toMatch(/^3:1: the key mach\\u\{9b\}ines is there already;/);
  });

  test('ends after fifty lines and says how many more there are', async () => {
    const keys = Array.from({ length: 60 }, (_, index) => `key${index}: 1`);
    const lines = (await complaint(`machines: { vm1: {} }\n${keys.join('\n')}`)).split('\n');
    expect(lines).toHaveLength(51);
    expect(lines.at(-1)).toBe('and 10 more');
  });
});

describe('one sentence says that a file', () => {
  test.for<[string, string | Uint8Array, RegExp]>([
    ['is empty', '', /^FILE is empty; `machines: \{ vm1: \{\}, vm2: \{\} \}` is enough$/],
    ['has only comments', '# nothing\n', /^FILE is empty; /],
    [
      'is no mapping',
      'machines',
      /^1:1: the lab: must be a mapping \(key: value\), not "machines"$/,
    ],
    ['is not UTF-8', new Uint8Array([0x61, 0xff]), /^FILE is not UTF-8 text; save it as UTF-8$/],
    ['is huge', `# ${'x'.repeat(2 ** 16)}`, /^FILE has more than 65536 bytes/],
    ['is not YAML', 'machines: [', /^1:12: this is not YAML: /],
    ['is indented with tabs', 'machines:\n\tvm1: {}', /^2:1: this is not YAML: Tabs/],
    ['has a key twice', 'machines: {}\nmachines: {}', /^2:1: the key machines is there already; /],
    ['has a second document', 'machines: {}\n---\na: 1', /^2:1: a second document begins here/],
    ['has a tag of its own', 'machines: !x {}', /^1:11: this is not YAML: Unresolved tag: !x/],
    ['contains itself', 'machines: &m { vm1: *m }', /^1:21: \*m stands inside of what it repeats$/],
    ['has an alias of nothing', 'machines: *m', /^1:11: nothing before this is marked &m$/],
  ])('%s', async ([, content, expected]) => {
    expect(await complaint(content)).toMatch(expected);
  });

  test('is nested without end', async () => {
    expect(await complaint('['.repeat(20_000))).toMatch(/^1:[0-9]+: this is nested too deeply$/);
  });

  test('explodes when its aliases are followed', async () => {
    const levels = Array.from(
      { length: 9 },
      (_, level) => `l${level + 1}: &l${level + 1} [${Array(10).fill(`*l${level}`).join(', ')}]`,
    );
    expect(await complaint(['l0: &l0 [x]', ...levels].join('\n'))).toBe(
      'FILE: its aliases repeat more than 1000 values',
    );
  });

  test.for([
    [
      'is not there',
      'missing.yaml',
      /^there is no missing\.yaml in .*; write one \(.*\) or name another with -f$/,
    ],
    ['is a folder', '.', /is a folder; name the file in it$/],
    ['has no end', '/dev/zero', /^\/dev\/zero has more than 65536 bytes/],
  ] as const)('%s', async ([, path, expected]) => {
    await expect(
      readLabFile(join(path.startsWith('/') ? '/' : folder, path)),
    ).rejects.toMatchObject({
      code: 'LAB_FILE_UNREADABLE',
      message: expect.stringMatching(expected),
    });
  });
});

test('no text makes reading fail in any other way than with a complaint', async () => {
  const fragments = fc.constantFrom(
    ...[
      'machines',
      ': ',
      '\n',
      '  ',
      '- ',
      '{',
      '}',
      '[',
      ']',
      '&a',
      '*a',
      '<<',
      'vm1',
      '? ',
      '| ',
      '"',
      "'",
      '!!',
      '%',
      '---',
      ',',
      '0',
      'null',
      '~',
      '#',
    ],
  );
  await fc.assert(
    fc.asyncProperty(fc.array(fragments, { maxLength: 30 }), async (parts) => {
      const file = await written(parts.join(''));
      const error = await readLabFile(file).then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      if (error === undefined) return;
      expect(error).toBeInstanceOf(TsvswitchError);
      expect((error as Error).message).not.toBe('');
    }),
    { numRuns: 300 },
  );
});
