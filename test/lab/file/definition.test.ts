/** The schema: its agreement with the types, what it lets through and what it says. */

import { readFileSync } from 'node:fs';
import { Ajv } from 'ajv';
import { describe, expect, test } from 'vitest';
import { addressProblem } from '../../../src/lab/file/address.ts';
import type {
  LabDefinition,
  MachineDefinition,
  SwitchDefinition,
} from '../../../src/lab/file/definition.ts';
import { check } from '../../../src/lab/file/definition.ts';

/** Every key there is; the compiler sees to it that none is missing and none too many. */
const wholeSwitch: Required<SwitchDefinition> = {
  workers: 2,
  cpus: [0, 1],
  bridge: 'blue',
  attach: '/run/control',
};
const wholeMachine: Required<MachineDefinition> = {
  image: { url: 'https://example.org/disk.qcow2', sha256: 'a'.repeat(64) },
  engine: 'qemu',
  cpus: 2,
  memory: '2G',
  disk: '20G',
  disks: ['1G', '512M'],
  mac: '52:54:00:00:00:01',
  addresses: ['192.168.0.1/24', 'fd00::1/64'],
  sshPort: 2222,
  user: 'test',
  password: 'test',
  sshKeys: ['ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE me@here'],
  userData: { packages: ['tcpdump'] },
  qemuArguments: ['-device', 'virtio-rng-pci'],
  deviceOptions: { packed: 'on', host_mtu: 1500, mrg_rxbuf: false },
};
const wholeLab: Required<LabDefinition> = {
  name: 'lab',
  switch: wholeSwitch,
  machines: { vm1: wholeMachine, vm2: null },
};

const schema = JSON.parse(readFileSync('lab.schema.json', 'utf8'));
const machineSchema = schema.definitions.machine;

function findings(definition: unknown): readonly string[] {
  const checked = check(definition);
  return 'findings' in checked
    ? checked.findings.map(({ path, part, sentence }) => `${path.join('.')} (${part}): ${sentence}`)
    : [];
}

function machineFindings(machine: unknown): readonly string[] {
  return findings({ machines: { vm1: machine } });
}

describe('the schema', () => {
  test('has the keys that the types have, and a description for each', () => {
    const pairs: [object, { properties: Record<string, { description?: string }> }][] = [
      [wholeLab, schema],
      [wholeSwitch, schema.properties.switch],
      [wholeMachine, machineSchema],
      [{ url: '', sha256: '', sha512: '' }, machineSchema.properties.image],
    ];
    for (const [whole, { properties }] of pairs) {
      expect(Object.keys(properties).sort()).toEqual(Object.keys(whole).sort());
      for (const [key, { description }] of Object.entries(properties)) {
        expect(description, key).toMatch(/\.$/);
      }
    }
  });

  test('is one', () => {
    const ajv = new Ajv();
    expect(ajv.validateSchema(schema), ajv.errorsText()).toBe(true);
    expect(ajv.validateSchema({ ...schema, type: 'nothing' })).toBe(false);
  });

  test('lets every key through', () => {
    expect(findings(wholeLab)).toEqual([]);
  });

  test('lets its own examples through', () => {
    const properties = Object.entries<{ examples?: unknown[] }>(machineSchema.properties);
    const examples = properties.flatMap(([key, { examples: values = [] }]) =>
      values.map((value) => ({ [key]: value })),
    );
    expect(examples).not.toHaveLength(0);
    expect(examples.flatMap(machineFindings)).toEqual([]);
  });

  test('fills in its defaults, also where nothing is written behind a key', () => {
    expect(check({ switch: null, machines: { vm1: null, vm2: {} } })).toEqual({
      complete: {
        switch: { workers: 1, cpus: [], bridge: 'default' },
        machines: { vm1: machineDefaults, vm2: machineDefaults },
      },
    });
  });

  test('leaves the definition it is given as it was', () => {
    const definition = { machines: { vm1: {} } };
    check(definition);
    expect(definition).toEqual({ machines: { vm1: {} } });
  });

  test('is part of the package', () => {
    const { exports, files } = JSON.parse(readFileSync('package.json', 'utf8'));
    expect(exports['./lab.schema.json']).toBe('./lab.schema.json');
    expect(files).toContain('lab.schema.json');
  });
});

const machineDefaults = {
  engine: 'qemu',
  image: 'builtin:tiny',
  cpus: 1,
  disks: [],
  user: 'test',
  password: 'test',
  sshKeys: [],
  qemuArguments: [],
  deviceOptions: {},
};

describe('a misspelt key', () => {
  test.for([
    ['memroy', 'memory'],
    ['ssh_port', 'sshPort'],
    ['ssh-keys', 'sshKeys'],
    ['Image', 'image'],
    ['address', 'addresses'],
    ['userdata', 'userData'],
    ['cpu', 'cpus'],
    ['qemuArgument', 'qemuArguments'],
  ])('%s is taken for %s', ([key, meant]) => {
    expect(machineFindings({ [key!]: 1 })).toEqual([
      `machines.vm1.${key} (key): there is no such key; did you mean ${meant}?`,
    ]);
  });

  test('that is like none is answered with those there are', () => {
    expect(findings({ services: {}, machines: { vm1: {} } })).toEqual([
      'services (key): there is no such key; there are name, switch, machines',
    ]);
  });
});

describe('a value that does not fit is told with what does', () => {
  test.for<[MachineDefinition | Record<string, unknown>, RegExp]>([
    [{ cpus: 'two' }, /^machines\.vm1\.cpus \(value\): must be a whole number, not "two"$/],
    [{ cpus: 1.5 }, /must be a whole number, not 1\.5$/],
    [{ cpus: 0 }, /must be at least 1, not 0$/],
    [{ cpus: 1000 }, /must be at most 255, not 1000$/],
    [{ memory: 512 }, /must be a text, not 512; memory is a whole number with M or G/],
    [{ memory: '1.5G' }, /"1\.5G" does not fit: memory is a whole number/],
    [{ memory: '0M' }, /does not fit/],
    [{ disk: '20' }, /"20" does not fit: a disk size is/],
    [{ disks: '1G' }, /must be a list, not "1G"$/],
    [{ disks: ['1G', '1K'] }, /^machines\.vm1\.disks\.1 \(value\): "1K" does not fit/],
    [{ mac: '53:54:00:00:00:01' }, /a MAC address is six bytes .* the first of them even/],
    [{ mac: '00:00:00:00:00:00' }, /a MAC address is/],
    [{ mac: '52:54:00:00:00' }, /a MAC address is/],
    [{ sshPort: 65536 }, /must be at most 65535/],
    [{ user: 'Bob' }, /a user's name is made of/],
    [{ password: '' }, /must not be empty$/],
    [{ password: 'x'.repeat(257) }, /must have at most 256 characters$/],
    [{ sshKeys: ['~/.ssh/id_ed25519.pub'] }, /a public key is one line such as/],
    [{ image: 'debian' }, /"debian" does not fit: an image is builtin:tiny, builtin:debian/],
    [{ image: 'builtin:debain' }, /an image is builtin:tiny, builtin:debian/],
    [{ image: 'https://example.org/disk.qcow2' }, /or \{ url: \.\.\., sha256: \.\.\. \}, where/],
    [{ image: { url: 'https://example.org/x' } }, /or \{ url: \.\.\., sha256: \.\.\. \}, where/],
    [
      { image: { url: 'https://x', sha256: 'a'.repeat(64), sha512: 'a'.repeat(128) } },
      /where sha512 serves as well$/,
    ],
    [{ image: { url: 'https://x', sha512: 'a'.repeat(64) } }, /has 128 hexadecimal digits$/],
    [{ image: { url: 'ftp://x', sha256: 'a'.repeat(64) } }, /begins with https/],
    [{ image: { url: 'https://x', sha256: 'a' } }, /has 64 hexadecimal digits$/],
    [{ userData: 'packages: [tcpdump]' }, /to have it merged give an object$/],
    [{ userData: ['a'] }, /must be a mapping \(key: value\) or a text/],
    [{ qemuArguments: ['-smp 2'] }, /an option and its value are two items/],
    [{ deviceOptions: { mac: 'x' } }, /deviceOptions\.mac \(key\): .* which are the lab's$/],
    [{ deviceOptions: { packed: ['on'] } }, /must be a text or a whole number or true or false/],
  ])('%j', ([machine, expected]) => {
    expect(machineFindings(machine)).toEqual([expect.stringMatching(expected)]);
  });

  test.for<[unknown, RegExp]>([
    [null, /^ \(value\): must be a mapping \(key: value\), not null$/],
    [{}, /machines is missing$/],
    [{ machines: {} }, /^machines \(value\): must not be empty$/],
    [{ machines: ['vm1'] }, /must be a mapping \(key: value\), not \["vm1"\]$/],
    [{ machines: { VM1: {} } }, /^machines\.VM1 \(key\): "VM1" does not fit: a name is made of/],
    [{ machines: { 1: {} } }, /begins with a letter/],
    [{ machines: { [`v${'m'.repeat(24)}`]: {} } }, /at most 24 characters$/],
    [{ machines: JSON.parse('{"__proto__": {}}') }, /a name is made of/],
    [{ name: 'no spaces', machines: { vm1: {} } }, /^name \(value\): /],
    [{ switch: { cpus: [1, 1] }, machines: { vm1: {} } }, /^switch\.cpus \(value\): has 1 twice$/],
  ])('%j', ([definition, expected]) => {
    expect(findings(definition)).toEqual([expect.stringMatching(expected)]);
  });

  test('a lab has at most 256 machines', () => {
    const names = Array.from({ length: 257 }, (_, index) => [`vm${index}`, {}]);
    expect(findings({ machines: Object.fromEntries(names) })).toEqual([
      'machines (value): must have at most 256 entries',
    ]);
  });

  test('and long values are cut', () => {
    const [sentence] = machineFindings({ memory: 'x'.repeat(10_000) });
    expect(sentence!.length).toBeLessThan(250);
  });

  test('all at once', () => {
    expect(machineFindings({ cpus: 0, memroy: 1, disk: 2, mac: 3 })).toHaveLength(4);
  });
});

describe('an address', () => {
  test.for(['192.168.0.1/24', '10.0.0.1/31', '10.0.3.1/8', 'fd00::1/64', '2001:db8::/127'])(
    '%s can be',
    (address) => {
      expect(addressProblem(address)).toBeUndefined();
    },
  );

  test.for([
    ['vm1', 'is no IPv4 or IPv6 address'],
    ['1.2.3/24', 'is no IPv4 or IPv6 address'],
    ['010.1.1.1/8', 'is no IPv4 or IPv6 address'],
    ['fe80::1%eth0/64', 'is no IPv4 or IPv6 address'],
    ['192.168.0.1/33', 'between 1 and 32'],
    ['192.168.0.1/', 'between 1 and 32'],
    ['192.168.0.1/24/24', 'between 1 and 32'],
    ['fd00::1/0', 'between 1 and 128'],
    ['192.168.0.0/24', 'the network itself'],
    ['192.168.0.255/24', 'broadcast address'],
    ['255.255.255.255/8', 'a broadcast address'],
    ['224.0.0.1/4', 'multicast'],
    ['127.0.0.1/8', 'loopback'],
    ['::1/128', 'loopback'],
    ['0.0.0.0/8', 'unspecified'],
    ['10.0.2.9/24', 'net0'],
  ])('%s cannot: %s', ([address, reason]) => {
    expect(addressProblem(address!)).toContain(reason);
  });
});
