/**
 * What is on a machine's seed, read back from the image with another program. What cloud-init says
 * of it is in ../image/debian.test.ts, where there is one.
 */

import { mkdtemp, readdir, rm, stat, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { labKey } from '../../../src/lab/cloud-init/keys.ts';
import { makeSeed, seedDocuments } from '../../../src/lab/cloud-init/seed.ts';
import type { MachineDefinition } from '../../../src/lab/file/definition.ts';
import { type MachinePlan, planOf } from '../../../src/lab/file/plan.ts';

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tsvswitch-seed-'));
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

const ownKey = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE own';

function machine(definition: MachineDefinition = {}): MachinePlan {
  const plan = planOf(
    { machines: { vm1: { image: 'builtin:debian', ...definition } } },
    { file: '/lab/lab.yaml' },
  );
  return plan.machines[0]!;
}

/** biome-ignore lint/suspicious/noExplicitAny: what is in it is what the tests are about */
function cloudConfig(plan: MachinePlan): any {
  const [header, ...rest] = seedDocuments(plan, [ownKey])['user-data'].split('\n');
  expect(header).toBe('#cloud-config');
  return JSON.parse(rest.join('\n'));
}

async function onImage(image: string, file: string): Promise<string> {
  const { stdout } = await execa('isoinfo', ['-R', '-i', image, '-x', `/${file}`], {
    stripFinalNewline: false,
  });
  return stdout;
}

describe('the image', () => {
  const programs = ['genisoimage', 'xorriso', 'mkisofs'];

  test('is labelled cidata and holds the three documents', async () => {
    const image = join(folder, 'vm1.iso');
    const plan = machine();
    await makeSeed(plan, [ownKey], image);
    const { stdout } = await execa('isoinfo', ['-d', '-i', image]);
    expect(stdout).toMatch(/^Volume id: cidata$/m);
    for (const [name, text] of Object.entries(seedDocuments(plan, [ownKey]))) {
      expect(await onImage(image, name)).toBe(text);
    }
  });

  test('is its owner’s alone, replaces an earlier one and leaves nothing beside it', async () => {
    const alone = await mkdtemp(join(folder, 'alone-'));
    const image = join(alone, 'vm1.iso');
    await makeSeed(machine({ user: 'before' }), [ownKey], image);
    await makeSeed(machine({ user: 'after' }), [ownKey], image);
    expect((await stat(image)).mode & 0o777).toBe(0o600);
    expect(await onImage(image, 'user-data')).toContain('"after"');
    expect(await readdir(alone)).toEqual(['vm1.iso']);
  });

  test.for(programs)('is the same when only %s is installed', async (program, { skip }) => {
    const { stdout: path } = await execa('sh', ['-c', `command -v ${program}`], { reject: false });
    if (path === '')
      skip(
        `${program} is not installed (Debian: ${program === 'xorriso' ? program : 'genisoimage'})`,
      );
    const image = join(folder, `${program}.iso`);
    const plan = machine();
    await withPath({ [program]: path }, () => makeSeed(plan, [ownKey], image));
    expect(await onImage(image, 'user-data')).toBe(seedDocuments(plan, [ownKey])['user-data']);
    expect((await execa('isoinfo', ['-d', '-i', image])).stdout).toMatch(/^Volume id: cidata$/m);
  });

  test('cannot be made without such a program, which is said with its package', async () => {
    await withPath({}, async () => {
      const made = makeSeed(machine(), [ownKey], join(folder, 'none.iso'));
      await expect(made).rejects.toMatchObject({
        code: 'PROGRAM_MISSING',
        message: expect.stringContaining('genisoimage'),
      });
    });
    expect((await readdir(folder)).filter((name) => name.startsWith('none.iso'))).toEqual([]);
  });

  test('cannot be made in a folder that is not there, which is said with its path', async () => {
    const path = join(folder, 'missing', 'vm1.iso');
    await expect(makeSeed(machine(), [ownKey], path)).rejects.toMatchObject({
      code: 'SYSTEM',
      message: expect.stringMatching(/^machine vm1: .*missing\/vm1\.iso.*ENOENT/),
    });
  });

  test('is not made when that was called off, and leaves nothing', async () => {
    const reason = new Error('called off');
    const path = join(folder, 'aborted.iso');
    await expect(makeSeed(machine(), [ownKey], path, AbortSignal.abort(reason))).rejects.toBe(
      reason,
    );
    expect((await readdir(folder)).filter((name) => name.startsWith('aborted.iso'))).toEqual([]);
  });
});

describe('user-data', () => {
  test('makes the user with sudo, a hashed password and every key once', async () => {
    const plan = machine({
      user: 'eve',
      password: 'only here',
      sshKeys: [`${ownKey}`, 'ssh-rsa AA= x'],
    });
    expect(cloudConfig(plan).user).toMatchObject({
      name: 'eve',
      lock_passwd: false,
      ssh_authorized_keys: [ownKey, 'ssh-rsa AA= x'],
    });
    expect(JSON.stringify(seedDocuments(plan, [ownKey]))).not.toContain('only here');
  });

  test('has the hash that crypt(5) has for the password', async () => {
    const { user } = cloudConfig(machine({ password: 'pässword, with "quotes"' }));
    const [, , salt] = user.hashed_passwd.split('$');
    const openssl = await execa('openssl', ['passwd', '-6', '-salt', salt, '-stdin'], {
      input: 'pässword, with "quotes"',
    });
    expect(user.hashed_passwd).toBe(openssl.stdout);
  });

  test('of two machines has different hashes for one password', () => {
    const plan = planOf(
      { machines: { vm1: { image: 'builtin:debian' }, vm2: { image: 'builtin:debian' } } },
      { file: '/lab/lab.yaml' },
    );
    const [one, two] = plan.machines.map((each) => cloudConfig(each).user.hashed_passwd);
    expect(one).not.toBe(two);
  });

  test('given as an object is merged: objects by key, lists appended, all else replaced', () => {
    const config = cloudConfig(
      machine({
        userData: {
          packages: ['tcpdump'],
          ssh_pwauth: true,
          ssh_genkeytypes: ['rsa'],
          users: [{ name: 'bob' }],
          manage_etc_hosts: { odd: 1 },
          disable_root: null,
        },
      }),
    );
    expect(config).toMatchObject({
      packages: ['tcpdump'],
      ssh_pwauth: true,
      ssh_genkeytypes: ['ed25519', 'rsa'],
      users: [{ name: 'bob' }],
      manage_etc_hosts: { odd: 1 },
      disable_root: null,
    });
  });

  test.for<[string, object]>([
    ['nothing', {}],
    ['keys and a password', { ssh_authorized_keys: [ownKey], password: 'x' }],
    ['users as a list', { users: ['default', { name: 'bob' }] }],
    ['users as a text', { users: 'bob' }],
    ['users as a mapping', { users: { bob: true } }],
    ['users as no list at all', { users: null }],
    ['more of that user', { user: { groups: 'sudo' } }],
    ['that user by name', { user: 'test' }],
  ])("keeps the lab's user the default user, given %s", ([, userData]) => {
    const { user, ...rest } = cloudConfig(machine({ userData: userData as never }));
    expect(user).toMatchObject({ name: 'test', ssh_authorized_keys: [ownKey] });
    const { user: _, ...theirs } = userData as { user?: unknown };
    expect(rest).toMatchObject({ ...theirs, chpasswd: { expire: false } });
  });

  test('that names another default user has the lab user beside it', () => {
    for (const user of ['bob', { name: 'bob' }]) {
      const config = cloudConfig(machine({ userData: { user, users: [{ name: 'eve' }] } }));
      expect(config.user).toEqual({ name: 'bob' });
      expect(config.users).toMatchObject([
        { name: 'test', ssh_authorized_keys: [ownKey] },
        { name: 'eve' },
      ]);
    }
  });

  test('given as a text is passed on as it is', () => {
    const text = '#!/bin/sh\necho "on" # \u00e4\n';
    expect(seedDocuments(machine({ userData: text }), [ownKey])['user-data']).toBe(text);
  });

  test('with root as the user lets root in by key', () => {
    expect(cloudConfig(machine({ user: 'root' }))).toMatchObject({ disable_root: false });
    expect(cloudConfig(machine())).toMatchObject({ disable_root: true });
  });

  test('means the same to PyYAML, which cloud-init reads it with', async ({ skip }) => {
    const { exitCode } = await execa('python3', ['-c', 'import yaml'], { reject: false });
    if (exitCode !== 0) skip('PyYAML is not installed (Debian: python3-yaml)');
    const content = fc.sample(
      fc.dictionary(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'binary' })),
      { numRuns: 200, seed: 1 },
    );
    const odd = [
      'on',
      'no',
      '~',
      '=',
      '<<',
      '12:30:45',
      '0o7',
      '1e3',
      '\u007f\u0085\u2028\ufeff',
      '😀',
      '\u0000',
    ];
    const numbers = [1e-7, -1.5e-9, 1e30, 0.1, 420, -1];
    const plan = machine({ userData: { content, odd, numbers } });
    const { stdout } = await execa(
      'python3',
      ['-c', 'import json, sys, yaml; print(json.dumps(yaml.safe_load(sys.stdin.read())))'],
      { input: seedDocuments(plan, [ownKey])['user-data'] },
    );
    expect(JSON.parse(stdout)).toEqual(cloudConfig(plan));
    expect(JSON.parse(stdout)).toMatchObject({ odd, numbers });
  });
});

describe('meta-data and network-config', () => {
  test('give the hostname and each card its addresses, found by MAC', () => {
    const plan = machine({ mac: '52:54:00:00:00:0A', addresses: ['192.168.0.1/24', 'fd00::1/64'] });
    const documents = seedDocuments(plan, [ownKey]);
    expect(JSON.parse(documents['meta-data'])).toMatchObject({
      'local-hostname': 'vm1',
      'public-keys': [ownKey],
    });
    expect(JSON.parse(documents['network-config'])).toEqual({
      version: 2,
      ethernets: {
        net0: { match: { macaddress: plan.managementMac }, 'set-name': 'net0', dhcp4: true },
        net1: {
          match: { macaddress: '52:54:00:00:00:0a' },
          'set-name': 'net1',
          addresses: ['192.168.0.1/24', 'fd00::1/64'],
        },
      },
    });
  });

  test('have the same instance-id again unless something has changed', () => {
    const instance = (definition: MachineDefinition, key = ownKey) =>
      JSON.parse(seedDocuments(machine(definition), [key])['meta-data'])['instance-id'];
    expect(instance({})).toBe(instance({}));
    // What QEMU is told is nothing to cloud-init.
    expect(instance({ memory: '2G', qemuArguments: ['-snapshot'] })).toBe(instance({}));
    const changed = [
      instance({ password: 'other' }),
      instance({ addresses: ['192.168.0.1/24'] }),
      instance({ userData: { packages: ['tcpdump'] } }),
      instance({}, 'ssh-ed25519 AAAA other'),
    ];
    expect(new Set([instance({}), ...changed]).size).toBe(5);
  });
});

describe('the key of a lab', () => {
  test('is an ed25519 pair that only its owner may read, made once', async () => {
    const lab = await mkdtemp(join(folder, 'lab-'));
    const pairs = await Promise.all([labKey(lab), labKey(lab), labKey(lab)]);
    const { privateKeyFile, publicKey } = await labKey(lab);
    for (const pair of pairs) expect(pair).toEqual({ privateKeyFile, publicKey });
    expect(publicKey).toMatch(/^ssh-ed25519 \S+ tsvswitch-lab$/);
    const derived = await execa('ssh-keygen', ['-y', '-f', privateKeyFile]);
    expect(publicKey).toBe(derived.stdout);
    expect((await stat(privateKeyFile)).mode & 0o777).toBe(0o600);
    expect(await readdir(lab)).toEqual(['ssh']);
  });

  test('cannot be made without ssh-keygen, which is said with its package', async () => {
    await withPath({}, async () => {
      await expect(labKey(folder)).rejects.toMatchObject({
        code: 'PROGRAM_MISSING',
        message: expect.stringContaining('openssh-client'),
      });
    });
  });
});

/** Runs `body` while PATH has nothing but `programs`, by name and file. */
async function withPath(
  programs: Record<string, string>,
  body: () => Promise<void>,
): Promise<void> {
  const bin = await mkdtemp(join(folder, 'bin-'));
  for (const [name, file] of Object.entries(programs)) await symlink(file, join(bin, name));
  vi.stubEnv('PATH', bin);
  try {
    await body();
  } finally {
    vi.unstubAllEnvs();
  }
}
