/** Planning: what is decided for a lab, and that it is unique and stays. */

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { addressProblem, deriveAddress, deriveMac } from '../../../src/lab/file/address.ts';
import type { LabDefinition, MachineDefinition } from '../../../src/lab/file/definition.ts';
import { type LabPlan, type MachinePlan, planOf } from '../../../src/lab/file/plan.ts';

const origin = { file: '/srv/demo/lab.yaml' };

function plan(definition: LabDefinition): LabPlan {
  return planOf(definition, origin);
}

function machinePlan(machine: MachineDefinition) {
  return plan({ machines: { vm1: machine } }).machines[0]!;
}

describe('a lab without settings', () => {
  test('has everything decided', () => {
    const { machines, ...lab } = plan({ machines: { vm1: {}, vm2: null } });
    expect(lab).toEqual({
      name: 'demo',
      file: '/srv/demo/lab.yaml',
      id: expect.stringMatching(/^demo-[0-9a-f]{8}$/),
      switch: { type: 'own', workers: 1, cpus: [], bridge: 'default' },
    });
    expect(machines).toHaveLength(2);
    expect(machines[0]).toEqual({
      name: 'vm1',
      engine: 'qemu',
      cpus: 1,
      memoryMiB: 256,
      image: { type: 'tiny' },
      diskBytes: undefined,
      disks: [],
      mac: expect.stringMatching(/^52(:[0-9a-f]{2}){5}$/),
      managementMac: expect.stringMatching(/^52(:[0-9a-f]{2}){5}$/),
      addresses: [expect.stringMatching(/^10\.83\.[0-9]+\.1\/16$/)],
      sshPort: undefined,
      user: 'test',
      password: 'test',
      sshKeys: [],
      userData: undefined,
      qemuArguments: [],
      deviceOptions: {},
    });
  });

  test('has neighbours in machines that differ in a number', () => {
    const [first, second] = plan({ machines: { vm1: {}, vm2: {} } }).machines;
    expect(second!.addresses[0]).toBe(first!.addresses[0]!.replace('.1/', '.2/'));
  });

  test.for([
    ['/srv/My Lab (2)/lab.yaml', 'my-lab-2'],
    ['/srv/2026-tests/lab.yaml', 'tests'],
    ['/srv/a-name-of-23-characters-and-more/lab.yaml', 'a-name-of-23-characters'],
    ['/lab.yaml', 'lab'],
    ['/srv/実験/lab.yaml', 'lab'],
  ])('at %s is called %s', ([file, name]) => {
    const lab = planOf({ machines: { vm1: {} } }, { file: file! });
    expect(lab.name).toBe(name);
    // What is made up has to be what could have been given.
    expect(planOf({ name: name!, machines: { vm1: {} } }, { file: file! })).toEqual(lab);
  });

  test('has another id at another path', () => {
    const definition: LabDefinition = { name: 'same', machines: { vm1: {} } };
    expect(planOf(definition, { file: '/a/lab.yaml' }).id).not.toBe(
      planOf(definition, { file: '/b/lab.yaml' }).id,
    );
  });
});

describe('what is given', () => {
  test('is taken, in the units of the plan and with absolute paths', () => {
    expect(
      machinePlan({
        image: 'images/disk.qcow2',
        memory: '2G',
        disk: '20G',
        disks: ['1T', '512M'],
        mac: '52:54:00:00:00:0A',
        addresses: ['192.168.0.1/24'],
        sshPort: 2222,
        userData: { packages: ['tcpdump'] },
        deviceOptions: { packed: 'on', mrg_rxbuf: false, guest_tso4: true, host_mtu: 1500 },
      }),
    ).toMatchObject({
      image: { type: 'file', path: '/srv/demo/images/disk.qcow2' },
      memoryMiB: 2048,
      diskBytes: 20 * 2 ** 30,
      disks: [{ bytes: 2 ** 40 }, { bytes: 512 * 2 ** 20 }],
      mac: '52:54:00:00:00:0a',
      addresses: ['192.168.0.1/24'],
      sshPort: 2222,
      userData: { mode: 'merge', content: { packages: ['tcpdump'] } },
      deviceOptions: { packed: 'on', mrg_rxbuf: 'off', guest_tso4: 'on', host_mtu: '1500' },
    });
  });

  test('as user-data in a text replaces all of it', () => {
    const userData = '#!/bin/sh\n';
    expect(machinePlan({ image: 'builtin:debian', userData }).userData).toEqual({
      mode: 'replace',
      content: userData,
    });
  });

  test('as an empty list of addresses leaves the card without any', () => {
    expect(machinePlan({ addresses: [] }).addresses).toEqual([]);
  });

  test('as an image decides how much memory there is unless that is given', () => {
    const sha256 = 'A'.repeat(64);
    const url = 'https://example.org/disk.qcow2';
    expect(machinePlan({ image: 'builtin:debian' })).toMatchObject({
      image: { type: 'debian' },
      memoryMiB: 1024,
    });
    expect(machinePlan({ image: { url, sha256 }, memory: '512M' })).toMatchObject({
      image: { type: 'url', url, checksum: { algorithm: 'sha256', sum: sha256.toLowerCase() } },
      memoryMiB: 512,
    });
  });

  test('as either checksum of an image is the one that counts', () => {
    const url = 'https://example.org/disk.qcow2';
    const sha512 = 'B'.repeat(128);
    expect(machinePlan({ image: { url, sha512 } }).image).toEqual({
      type: 'url',
      url,
      checksum: { algorithm: 'sha512', sum: sha512.toLowerCase() },
    });
  });

  test('as a switch to attach to is its control socket', () => {
    const lab = plan({ switch: { attach: '../run/control' }, machines: { vm1: {} } });
    expect(lab.switch).toEqual({
      type: 'attach',
      control: '/srv/run/control',
      bridge: 'default',
    });
  });

  test.for([{}, { attach: '/run/control' }])('as a bridge is one of either switch: %j', (own) => {
    const lab = plan({ switch: { ...own, bridge: 'blue' }, machines: { vm1: {} } });
    expect(lab.switch.bridge).toBe('blue');
  });

  test('is not changed', () => {
    const definition = { machines: { vm1: { image: 'builtin:debian', userData: { a: [1] } } } };
    const before = structuredClone(definition);
    plan(definition);
    expect(definition).toEqual(before);
  });
});

describe('refused is', () => {
  test.for<[string, unknown, string[]]>([
    [
      'one MAC address for two machines',
      { machines: { a: { mac: '52:54:00:00:00:0a' }, b: { mac: '52:54:00:00:00:0A' } } },
      ['machines.b.mac: MAC address 52:54:00:00:00:0a is taken at machines.a.mac already'],
    ],
    [
      'one address twice, whatever its prefix or spelling',
      {
        machines: { a: { addresses: ['10.1.0.1/24', 'fd00::1/64', '10.1.0.1/8', 'fd00:0::1/48'] } },
      },
      [
        'machines.a.addresses.2: address 10.1.0.1 is taken at machines.a.addresses.0 already',
        'machines.a.addresses.3: address fd00::1 is taken at machines.a.addresses.1 already',
      ],
    ],
    [
      'an address that no card can have',
      { machines: { a: { addresses: ['10.1.0.1/24', '192.168.0.1', 'fd00::1'] } } },
      [
        'machines.a.addresses.1: "192.168.0.1" has no prefix length; write 192.168.0.1/24',
        'machines.a.addresses.2: "fd00::1" has no prefix length; write fd00::1/64',
      ],
    ],
    [
      'one port for the ssh of two machines',
      { machines: { a: { sshPort: 2222 }, b: { sshPort: 2222 } } },
      ['machines.b.sshPort: port 2222 is taken at machines.a.sshPort already'],
    ],
    [
      'a setting that the tiny guest could not make use of',
      { machines: { a: { disk: '1G', userData: {} } } },
      ['disk', 'userData'].map(
        (key) =>
          `machines.a.${key}: builtin:tiny has neither disk nor cloud-init; give the machine an image such as builtin:debian`,
      ),
    ],
    [
      'what User-mode Linux has not',
      {
        machines: {
          a: { engine: 'uml', image: 'builtin:debian', cpus: 2, disk: '1G', sshPort: 22 },
          b: { engine: 'uml', qemuArguments: [], deviceOptions: {}, userData: '#x' },
        },
      },
      [
        'machines.a.disk: User-mode Linux has no disks',
        'machines.a.sshPort: User-mode Linux has no ssh: `tsvswitch lab exec` and `console` reach it without',
        'machines.a.image: User-mode Linux boots builtin:tiny, not "builtin:debian"',
        'machines.a.cpus: User-mode Linux has one processor, not 2',
        'machines.b.userData: User-mode Linux has no cloud-init',
        'machines.b.qemuArguments: User-mode Linux is not QEMU',
        "machines.b.deviceOptions: User-mode Linux has no options for its network card: what it agrees on is the switch's offer",
      ].map((line) => `${line}; remove this, or \`engine: uml\``),
    ],
    [
      'a setting of a switch that runs already',
      { switch: { attach: '/run/control', workers: 2 }, machines: { a: {} } },
      ['switch.workers: the switch that attach names has been given its own; remove this'],
    ],
    [
      'more CPUs than workers',
      { switch: { cpus: [1, 2] }, machines: { a: {} } },
      ['switch.cpus: 2 CPUs for one worker; give at most one each'],
    ],
    [
      'what the schema does not allow, with the rest',
      { machines: { a: { mac: '52:54:00:00:00:01' }, b: { mac: '52:54:00:00:00:01', cpus: 0 } } },
      [
        'machines.b.cpus: must be at least 1, not 0',
        'machines.b.mac: MAC address 52:54:00:00:00:01 is taken at machines.a.mac already',
      ],
    ],
  ])('%s', ([, definition, lines]) => {
    expect(() => plan(definition as LabDefinition)).toThrow(
      expect.objectContaining({ code: 'LAB_INVALID', message: lines.join('\n') }),
    );
  });

  test('what is no plain data', () => {
    const cycle: Record<string, unknown> = {};
    cycle.machines = { vm1: { userData: cycle } };
    for (const definition of [cycle, { machines: { vm1: { cpus: 1n } } }]) {
      expect(() => plan(definition as unknown as LabDefinition)).toThrow(
        expect.objectContaining({ code: 'LAB_INVALID' }),
      );
    }
    expect(() => plan(undefined as unknown as LabDefinition)).toThrow('must be a mapping');
  });
});

/** Names that are alike, so that hashes of stems and numbers meet. */
const name = fc.oneof(
  fc
    .tuple(fc.constantFrom('vm', 'a', 'web-'), fc.integer({ min: 0, max: 300 }))
    .map((parts) => parts.join('')),
  fc.stringMatching(/^[a-z]([a-z0-9-]{0,22}[a-z0-9])?$/),
);
const mac = fc
  .integer({ min: 1, max: 0xff })
  .map((byte) => `52:54:00:00:00:${byte.toString(16).padStart(2, '0')}`);
const address = fc
  .tuple(fc.constantFrom('10.83.0.', '192.168.0.'), fc.integer({ min: 1, max: 254 }))
  .map((parts) => `${parts.join('')}/24`);
const machine = fc.record(
  {
    image: fc.constantFrom('builtin:tiny', 'builtin:debian', './disk.qcow2'),
    cpus: fc.integer({ min: 1, max: 255 }),
    memory: fc.constantFrom('64M', '2G'),
    mac,
    addresses: fc.array(address, { maxLength: 3 }),
    sshPort: fc.integer({ min: 1, max: 65_535 }),
  },
  { requiredKeys: [] },
);
const anyLab = fc
  .uniqueArray(fc.tuple(name, machine), { minLength: 1, maxLength: 20, selector: ([key]) => key })
  .map((entries) => {
    const given = new Set<string>();
    // Only the first to ask for something gets it: what is left is a valid definition.
    const first = (value: unknown) =>
      !given.has(String(value)) && given.add(String(value)) !== undefined;
    const machines = entries.map(([key, { mac, addresses, sshPort, ...rest }]) => [
      key,
      {
        ...rest,
        ...(mac !== undefined && first(mac) && { mac }),
        ...(addresses !== undefined && { addresses: addresses.filter(first) }),
        ...(sshPort !== undefined && first(sshPort) && { sshPort }),
      },
    ]);
    return { machines: Object.fromEntries(machines) } as LabDefinition;
  });

describe('every valid definition', () => {
  test('is planned without two machines that share an address', () => {
    fc.assert(
      fc.property(anyLab, (definition) => {
        const { machines } = plan(definition);
        const macs = machines.flatMap((each) => [each.mac, each.managementMac]);
        expect(new Set(macs).size).toBe(2 * machines.length);
        const addresses = machines.flatMap((each) => each.addresses);
        const bare = addresses.map((each) => each.split('/')[0]);
        expect(new Set(bare).size).toBe(bare.length);
        expect(addresses.map(addressProblem)).toEqual(addresses.map(() => undefined));
        expect(machines.map((each) => each.name)).toEqual(Object.keys(definition.machines));
      }),
      { numRuns: 50 },
    );
  });

  test('is planned the same again, and its plan survives being written as JSON', () => {
    fc.assert(
      fc.property(anyLab, (definition) => {
        expect(plan(definition)).toEqual(plan(structuredClone(definition)));
        expect(JSON.parse(JSON.stringify(plan(definition)))).toEqual(plan(definition));
      }),
      { numRuns: 30 },
    );
  });

  test('keeps every machine as it is when one without wishes is added at the end', () => {
    fc.assert(
      fc.property(anyLab, name, (definition, added) => {
        fc.pre(!(added in definition.machines));
        const more = plan({ machines: { ...definition.machines, [added]: {} } });
        expect(more.machines.slice(0, -1)).toEqual(plan(definition).machines);
      }),
      { numRuns: 50 },
    );
  });

  test('keeps every machine as it is when one is removed that was in nobody’s way', () => {
    fc.assert(
      fc.property(anyLab, fc.nat(), (definition, choice) => {
        const before = plan(definition);
        fc.pre(before.machines.length > 1);
        const { name: removed, addresses } = before.machines[choice % before.machines.length]!;
        const { [removed]: _, ...rest } = definition.machines;
        const kept = before.machines.filter((each) => each.name !== removed);
        const after = plan({ machines: rest });
        const moved = after.machines.filter(
          (each, index) => each.addresses[0] !== kept[index]!.addresses[0],
        );
        // Whoever moves, moves to where the removed machine was, or to where another one left.
        const left = [...addresses, ...kept.flatMap((each) => each.addresses)];
        expect(moved.filter((each) => !left.includes(each.addresses[0]!))).toEqual([]);
        const withoutMoved = (each: { name: string }) =>
          !moved.some((one) => one.name === each.name);
        expect(after.machines.filter(withoutMoved)).toEqual(kept.filter(withoutMoved));
      }),
      { numRuns: 50 },
    );
  });
});

describe('a derived address that is taken', () => {
  test('gives way to the next one, always the same', () => {
    const claims = () => {
      const [macs, addresses] = [new Set<string>(), new Set<string>()];
      return Array.from({ length: 20 }, () => [
        deriveMac('lab', 'vm1', 'net1', macs),
        deriveAddress('lab', 'vm1', addresses),
      ]);
    };
    expect(new Set(claims().flat()).size).toBe(40);
    expect(claims()).toEqual(claims());
  });

  test('by a machine that is not of the definition gives way, too', () => {
    const definition = { machines: { vm1: {} } };
    const { machines } = plan(definition);
    const [other] = planOf(definition, { file: '/srv/lab/lab.yaml' }, machines).machines;
    const has = ({ mac, managementMac, addresses }: MachinePlan) => [
      mac,
      managementMac,
      ...addresses,
    ];
    expect(new Set([...has(machines[0]!), ...has(other!)]).size).toBe(6);
  });

  test('by hand is left to the machine that wants it', () => {
    const [{ mac, addresses }] = plan({ machines: { vm1: {} } }).machines as [
      LabPlan['machines'][0],
    ];
    const [first, second] = plan({ machines: { vm1: {}, taker: { mac, addresses } } }).machines;
    expect(second).toMatchObject({ mac, addresses });
    expect(first!.mac).not.toBe(mac);
    expect(first!.addresses).not.toEqual(addresses);
  });
});
