/**
 * Every setting, changed while frames go: what does not disturb loses none, what does says so, and
 * what was not meant is not touched.
 */

import { readFileSync, statSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Change, Disturbance, ProcessPort, SwitchSettings } from '../../src/index.ts';
import { settingsOf } from '../../src/model/check.ts';
import { reopeningKeys } from '../../src/model/difference.ts';
import { portSchemas, switchSettings } from '../../src/model/settings-schema.ts';
import { TestGuest } from '../../src/testing/index.ts';
import { broadcast, ethernetFrame, frameBetween, macOf, numberOf } from '../support/ethernet.ts';
import {
  announce,
  deliveredTo,
  dropsOf,
  expectDelivery,
  SwitchNetwork,
} from '../support/network.ts';

const uid = process.getuid!();
const gid = process.getgid!();

let network: SwitchNetwork;
let guests: TestGuest[];

beforeEach(async () => {
  network = SwitchNetwork.open(3, { workers: 2 });
  guests = [
    await network.connect(0),
    await network.connect(1, { queueSize: 2048 }),
    await network.connect(2),
  ];
  for (const index of guests.keys()) await announce(index, guests);
  network.vswitch.addPort({ process: 'source' });
});
afterEach(() => network.close());

const burstFrames = 400;

/**
 * What `act` does while a worker has hundreds of frames to give to guest 1, of a guest and of the
 * process: all of them arrive, in order.
 */
async function duringTraffic<Result>(act: () => Result): Promise<Result> {
  const [guest, receiver] = guests as [TestGuest, TestGuest];
  const source = network.vswitch.port('source') as ProcessPort;
  const sent = Array.from({ length: burstFrames }, (_, number) => number);
  const ofProcess = sent.map((number) => frameBetween(7, 1, number));
  const ofGuest = sent.slice(0, 100);
  for (const number of ofGuest) await guest.send(frameBetween(0, 1, number));
  expect(source.send(ofProcess)).toBe(burstFrames);
  const result = act();
  expect(source.send(ofProcess)).toBe(burstFrames);
  for (const number of ofGuest) await guest.send(frameBetween(0, 1, number));
  await Promise.all([source.flush(), guest.flush()]);
  const received = { process: [] as number[], guest: [] as number[] };
  for (let i = 0; i < 2 * (sent.length + ofGuest.length); i++) {
    const frame = await receiver.receive();
    received[frame[11] === 7 ? 'process' : 'guest'].push(numberOf(frame));
  }
  expect(received).toEqual({ process: [...sent, ...sent], guest: [...ofGuest, ...ofGuest] });
  return result;
}

const applied = (edit: (settings: SwitchSettings) => void): readonly Change[] => {
  const settings = network.vswitch.settings;
  edit(settings);
  const plan = network.vswitch.plan(settings);
  const changes = network.vswitch.apply(settings);
  expect(changes).toEqual(plan);
  expect(network.vswitch.settings).toEqual(settingsOf(settings));
  return changes;
};
const p2 = (settings: SwitchSettings) => settings.ports.p2 as { kind: 'vhost-user' } & never;

describe('a change of', () => {
  /** Of the port of guest 2, unless it is of the switch. */
  const changes: Record<string, { edit: (settings: SwitchSettings) => void; by?: Disturbance }> = {
    'port.bridge': { edit: (s) => Object.assign(p2(s), { bridge: 'blue' }) },
    'port.source': { edit: (s) => Object.assign(p2(s), { source: sourceOf(macOf(2)) }) },
    'port.down': { edit: (s) => Object.assign(p2(s), { down: true }) },
    'port.mtu': { edit: (s) => Object.assign(p2(s), { mtu: 9000 }) },
    'port.mode': { edit: (s) => Object.assign(p2(s), { mode: '600' }) },
    'port.group': { edit: (s) => Object.assign(p2(s), { group: gid }) },
    'port.allow': { edit: (s) => Object.assign(p2(s), { allow: [uid] }), by: 'unlisted' },
    'port.path': { edit: (s) => Object.assign(p2(s), { path: network.path(9) }), by: 'port' },
    'port.connect': {
      edit(settings) {
        delete settings.ports.p2;
        settings.ports.p2 = { ...settings.ports.p1!, connect: network.path(8) } as never;
        delete (settings.ports.p2 as { path?: string }).path;
      },
      by: 'port',
    },
    'port.ringReset': { edit: (s) => Object.assign(p2(s), { ringReset: true }), by: 'port' },
    'port.inBand': { edit: (s) => Object.assign(p2(s), { inBand: true }), by: 'port' },
    'port.kind': {
      edit(settings) {
        settings.ports.p2 = { kind: 'process', bridge: 'default' };
      },
      by: 'port',
    },
    workers: { edit: (s) => Object.assign(s, { workers: 3 }) },
    cpus: { edit: (s) => Object.assign(s, { cpus: [ownCpu()] }) },
    idleUs: { edit: (s) => Object.assign(s, { idleUs: 0 }) },
    balance: { edit: (s) => Object.assign(s, { balance: true }) },
    ageingSeconds: {
      edit(settings) {
        settings.ageingSeconds = 7;
        settings.bridges.default = { ageingSeconds: 7 };
      },
    },
    bridges: { edit: (s) => Object.assign(s.bridges, { red: { ageingSeconds: 1 } }) },
    ports: {
      edit(settings) {
        settings.ports.x = { kind: 'process', bridge: 'default' };
      },
    },
    fdb: { edit: (s) => Object.assign(s, { fdb: [{ mac: macOf(9), port: 'p2' }] }) },
    links: {
      edit(settings) {
        settings.links = [{ from: 'p2', impairment: { blackhole: true } }];
      },
    },
    partition: {
      edit(settings) {
        settings.partition = [['p0', 'p1'], ['p2']];
      },
    },
  };

  test.each(Object.entries(changes))('%s loses no frame of others', async (_, { edit, by }) => {
    const made = await duringTraffic(() => applied(edit));
    expect(made.map(({ disturbs }) => disturbs)).toEqual([
      ...made.slice(1).map(() => 'nobody'),
      by ?? 'nobody',
    ]);
    const left = network.eventsOf('frontend-left').map(({ port }) => port);
    expect(left).toEqual(by === 'port' ? ['p2'] : []);
  });

  test('covers every setting that there is', () => {
    const ofPorts = Object.keys(portSchemas['vhost-user'].properties).map((key) => `port.${key}`);
    expect(Object.keys(changes).sort()).toEqual(
      [...ofPorts, ...Object.keys(switchSettings.properties)].sort(),
    );
    const reopening = Object.keys(changes).filter((key) => changes[key]!.by === 'port');
    expect(reopening.sort()).toEqual(
      ['kind', ...reopeningKeys['vhost-user']].map((key) => `port.${key}`).sort(),
    );
  });
});

function sourceOf(...macs: string[]) {
  return { macs, addresses: [] };
}

/** One that this process may use. */
function ownCpu(): number {
  const status = readFileSync('/proc/self/status', 'utf8');
  return Number.parseInt(/^Cpus_allowed_list:\s*(.*)$/m.exec(status)![1]!, 10);
}

describe('has its effect while the guest stays connected:', () => {
  test('another bridge', async () => {
    applied((settings) => Object.assign(settings.ports.p2!, { bridge: 'blue' }));
    expect(network.vswitch.port('p2')!.bridge).toBe('blue');
    const before = deliveredTo(guests[2]!);
    await guests[0]!.send(ethernetFrame({ from: macOf(0), to: broadcast }));
    await guests[0]!.flush();
    await guests[1]!.receive();
    expect(deliveredTo(guests[2]!)).toBe(before);
    expect(network.vswitch.bridge.fdb.map(({ port }) => port)).not.toContain('p2');
    applied((settings) => Object.assign(settings.ports.p1!, { bridge: 'blue' }));
    await expectDelivery(guests[2]!, guests[1]!, [
      ethernetFrame({ from: macOf(2), to: broadcast }),
    ]);
    expect(network.eventsOf('frontend-left')).toEqual([]);
  });

  test('source rules, tightened, changed and lifted', async () => {
    const send = async (from: string) => {
      await guests[2]!.send(ethernetFrame({ from, to: macOf(1) }));
      await guests[2]!.flush();
      return dropsOf(network.vswitch.port('p2')!.counters).spoofedMac ?? 0;
    };
    applied((settings) => Object.assign(settings.ports.p2!, { source: sourceOf(macOf(2)) }));
    expect(await send(macOf(3))).toBe(1);
    applied((settings) => Object.assign(settings.ports.p2!, { source: sourceOf(macOf(3)) }));
    expect(await send(macOf(3))).toBe(1);
    expect(await send(macOf(2))).toBe(2);
    applied((settings) => {
      delete settings.ports.p2!.source;
    });
    expect(await send(macOf(2))).toBe(2);
  });

  test('who may connect: the file at once, a frontend that is not listed any more is sent away', async () => {
    const modeOf = () => (statSync(network.path(2)).mode & 0o777).toString(8);
    applied((settings) => Object.assign(settings.ports.p2!, { mode: '600' }));
    expect(modeOf()).toBe('600');
    applied((settings) => Object.assign(settings.ports.p2!, { allow: [uid] }));
    expect(network.eventsOf('frontend-left')).toEqual([]);
    applied((settings) => Object.assign(settings.ports.p2!, { allow: [uid + 1] }));
    expect(network.eventsOf('frontend-left')).toMatchObject([{ port: 'p2' }]);
    expect(network.eventsOf('frontend-refused')).toMatchObject([
      { port: 'p2', sentence: expect.stringContaining(`only uid ${uid + 1} may connect`) },
    ]);
    await expect(TestGuest.connect({ path: network.path(2) })).rejects.toThrow();
    applied((settings) => Object.assign(settings.ports.p2!, { allow: [`:${gid}`] }));
    await expectDelivery(await network.connect(2), guests[1]!, [frameBetween(2, 1, 1)]);
  });

  test('the MTU of a guest that reads it here, and of the next one elsewhere', async () => {
    await guests[2]!.close();
    const reads = await network.connect(2, { controlQueue: true });
    expect(await reads.config()).toMatchObject({ mtu: 1500 });
    applied((settings) => Object.assign(settings.ports.p2!, { mtu: 1400 }));
    expect(await reads.config()).toMatchObject({ mtu: 1400 });
    const port = network.vswitch.port('p2')!;
    const before = deliveredTo(reads);
    await guests[0]!.send(frameBetween(0, 2, 0, 14 + 1401));
    await guests[0]!.flush();
    expect(deliveredTo(reads)).toBe(before);
    expect(dropsOf(port.counters)).toEqual({ overMtu: 1 });
    expect(network.eventsOf('frontend-left')).toHaveLength(1);
  });

  test('a partition and links', async () => {
    const heard = async () => {
      const before = deliveredTo(guests[2]!);
      await guests[0]!.send(frameBetween(0, 2, 0));
      await guests[0]!.flush();
      return deliveredTo(guests[2]!) - before;
    };
    expect(await heard()).toBe(1);
    applied((settings) => Object.assign(settings, { partition: [['p0'], ['p2']] }));
    expect(await heard()).toBe(0);
    applied((settings) => Object.assign(settings, { partition: [] }));
    expect(await heard()).toBe(1);
    applied((settings) =>
      settings.links.push({ from: 'p0', to: 'p2', impairment: { blackhole: true } }),
    );
    expect(await heard()).toBe(0);
    applied((settings) => settings.links.pop());
    expect(await heard()).toBe(1);
    expect(network.events.map(({ type }) => type)).toEqual(
      expect.arrayContaining(['partitioned', 'healed', 'link-impaired', 'link-mended']),
    );
  });

  test('an address that is fixed goes where settings say, whatever is seen of it', async () => {
    const { vswitch } = network;
    const fix = (fdb: SwitchSettings['fdb']) => applied((s) => Object.assign(s, { fdb }));
    /** What guests 1 and 2 hear of a frame to the address of guest 9. */
    const heard = async () => {
      const before = [1, 2].map((index) => deliveredTo(guests[index]!));
      await guests[0]!.send(frameBetween(0, 9, 0));
      await guests[0]!.flush();
      return [1, 2].map((index, i) => deliveredTo(guests[index]!) - before[i]!);
    };
    expect(await heard()).toEqual([1, 1]);
    fix([{ mac: macOf(9), port: 'p2' }]);
    expect(await heard()).toEqual([0, 1]);
    vswitch.bridge.flush();
    await guests[1]!.send(frameBetween(9, 0, 0));
    await guests[1]!.flush();
    expect(await heard()).toEqual([0, 1]);
    expect(vswitch.bridge.fdb).toContainEqual(
      expect.objectContaining({ mac: macOf(9), port: 'p2', fixed: true }),
    );
    fix([{ mac: macOf(9) }]);
    expect(await heard()).toEqual([0, 0]);
    expect(dropsOf(vswitch.port('p0')!.counters)).toEqual({ dropEntry: 1 });
    fix([{ mac: macOf(9), port: 'p1' }]);
    expect(await heard()).toEqual([1, 0]);
    // It goes with its port, to another bridge or out of the switch.
    applied((settings) => Object.assign(settings.ports.p1!, { bridge: 'blue' }));
    expect(await heard()).toEqual([0, 1]);
    applied((settings) => Object.assign(settings.ports.p1!, { bridge: 'default' }));
    expect(await heard()).toEqual([1, 0]);
    vswitch.removePort(vswitch.port('p1')!);
    expect(vswitch.settings.fdb).toEqual([]);
    fix([{ mac: macOf(9), port: 'p2' }]);
    fix([]);
    expect(vswitch.bridge.fdb.map(({ mac }) => mac)).not.toContain(macOf(9));
  });

  test('down of a port: nothing goes through, nothing is learned, and its machine stays', async () => {
    const port = network.vswitch.port('p2')!;
    const heard = async () => {
      const before = deliveredTo(guests[1]!) + deliveredTo(guests[2]!);
      await guests[0]!.send(frameBetween(0, 2, 0));
      await guests[2]!.send(frameBetween(2, 1, 0));
      await Promise.all([guests[0]!.flush(), guests[2]!.flush()]);
      return deliveredTo(guests[1]!) + deliveredTo(guests[2]!) - before;
    };
    expect(await heard()).toBe(2);
    applied((settings) => Object.assign(p2(settings), { down: true }));
    expect(await heard()).toBe(0);
    expect(dropsOf(port.counters)).toEqual({ down: 2 });
    expect(port.isDown).toBe(true);
    network.vswitch.bridge.flush();
    await guests[2]!.send(frameBetween(2, 1, 0));
    await guests[2]!.flush();
    expect(network.vswitch.bridge.fdb.map(({ mac }) => mac)).not.toContain(macOf(2));
    // It is what its port was opened with, too.
    applied((settings) => Object.assign(p2(settings), { ringReset: true }));
    guests[2] = await network.connect(2);
    await heard();
    expect(deliveredTo(guests[2]!)).toBe(0);
    expect(dropsOf(network.vswitch.port('p2')!.counters)).toEqual({ down: 2 });
    applied((settings) => Object.assign(p2(settings), { down: false }));
    await heard();
    expect(await heard()).toBe(2);
  });

  test('workers that come, go and change their CPUs', async () => {
    const cpu = ownCpu();
    applied((settings) => Object.assign(settings, { workers: 3, cpus: [cpu] }));
    expect(network.vswitch.workers).toMatchObject([{ cpu }, {}, {}]);
    await duringTraffic(() => applied((settings) => Object.assign(settings, { workers: 1 })));
    expect(network.vswitch.workers).toMatchObject([{ number: 0, cpu }]);
    applied((settings) => Object.assign(settings, { cpus: [] }));
    expect(network.vswitch.workers).toEqual([{ number: 0, transmitqs: 4 }]);
    await duringTraffic(() => {});
  });
});

describe('a port that is opened anew', () => {
  test('keeps its socket: who connects meanwhile waits, and is served', async () => {
    const inode = statSync(network.path(2)).ino;
    const changes = applied((settings) => Object.assign(settings.ports.p2!, { ringReset: true }));
    expect(changes).toMatchObject([{ type: 'port-reopened', port: 'p2', keys: ['ringReset'] }]);
    expect(statSync(network.path(2)).ino).toBe(inode);
    const again = await network.connect(2);
    await expectDelivery(again, guests[1]!, [frameBetween(2, 1, 1)]);
    expect(network.eventsOf('frontend-left').map(({ port }) => port)).toEqual(['p2']);
  });

  test('has its links and its side of a partition again', async () => {
    const { vswitch } = network;
    vswitch.impair({ from: 'p0', to: 'p2' }, { blackhole: true });
    vswitch.partition(['p0', 'p2'], ['p1']);
    const { links, partition } = vswitch.settings;
    applied((settings) => Object.assign(settings.ports.p2!, { inBand: true }));
    expect(vswitch.settings).toMatchObject({ links, partition });
    const again = await network.connect(2);
    await guests[0]!.send(frameBetween(0, 2));
    await guests[1]!.send(frameBetween(1, 2));
    await Promise.all([guests[0]!.flush(), guests[1]!.flush()]);
    expect(deliveredTo(again)).toBe(0);
  });
});

test('two ports exchange their sockets, and a new one takes that of one that goes', async () => {
  const inodes = [1, 2].map((index) => statSync(network.path(index)).ino);
  applied((settings) => {
    Object.assign(settings.ports.p1!, { path: network.path(2) });
    Object.assign(settings.ports.p2!, { path: network.path(1) });
  });
  expect([1, 2].map((index) => statSync(network.path(index)).ino)).toEqual(inodes);
  expect(network.vswitch.port('p1')).toMatchObject({ path: network.path(2) });
  applied((settings) => {
    settings.ports.new = { ...settings.ports.p1!, bridge: 'new' };
    delete settings.ports.p1;
  });
  expect(statSync(network.path(2)).ino).toBe(inodes[1]);
  expect(network.vswitch.ports.map(({ name }) => name).sort()).toEqual([
    'new',
    'p0',
    'p2',
    'source',
  ]);
});

test('a bridge goes when no port is on it any more, and is made anew', () => {
  const { vswitch } = network;
  applied((settings) => Object.assign(settings.ports.p2!, { bridge: 'blue' }));
  const blue = vswitch.bridges.find(({ name }) => name === 'blue')!;
  applied((settings) => {
    Object.assign(settings.ports.p2!, { bridge: 'default' });
    delete settings.bridges.blue;
  });
  expect(vswitch.bridges.map(({ name }) => name)).toEqual(['default']);
  expect(blue.fdb).toEqual([]);
  applied((settings) => Object.assign(settings.bridges, { green: {} }));
  expect(vswitch.settings.bridges.green).toEqual({ ageingSeconds: 300 });
  expect(blue.fdb).toEqual([]);
});

test('who hears of a change finds it made, and may make the next one', () => {
  const { vswitch } = network;
  const seen: string[][] = [];
  const types: string[] = [];
  vswitch.on('event', ({ type }) => types.push(type));
  vswitch.once('port-removed', () => {
    seen.push(Object.keys(vswitch.settings.ports));
    vswitch.addPort({ process: 'next' });
  });
  const wanted = vswitch.settings;
  delete wanted.ports.p2;
  wanted.ports.other = { kind: 'process', bridge: 'default' };
  const changes = vswitch.apply(wanted);
  expect(types.slice(-2)).toEqual(['port-removed', 'settings-applied']);
  expect(changes).toHaveLength(2);
  vswitch.apply(vswitch.settings);
  expect(types.at(-1)).toBe('settings-applied');
  expect(types.filter((type) => type === 'settings-applied')).toHaveLength(1);
  expect(seen).toEqual([['p0', 'p1', 'source', 'other']]);
  expect(Object.keys(vswitch.settings.ports)).toEqual(['p0', 'p1', 'source', 'other', 'next']);
});

test('of 500 ports one is changed, and no other loses a frame', async () => {
  const many = Object.fromEntries(
    Array.from({ length: 497 }, (_, index) => [
      `x${index}`,
      { kind: 'process' as const, bridge: `b${index % 20}` },
    ]),
  );
  await duringTraffic(() => applied((settings) => Object.assign(settings.ports, many)));
  const changes = await duringTraffic(() =>
    applied((settings) => Object.assign(settings.ports.x100!, { bridge: 'b1' })),
  );
  expect(changes).toMatchObject([{ type: 'port-changed', port: 'x100', keys: ['bridge'] }]);
});
