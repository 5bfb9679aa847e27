/**
 * lab.ts with real machines: a lab is brought up once, and then everything that can happen to it
 * does.
 *
 * The tests build on each other in the order they stand: booting takes seconds, so each boot serves
 * several of them.
 *
 * @module-tag huge-pages
 */

import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { ControlClient } from '../../src/control/client.ts';
import { Lab, type LabDefinition, type LabStatus } from '../../src/lab/lab.ts';
import { findMarked } from '../../src/machine/detached-process.ts';

const command = resolve('dist/cli/main.js');
const bootLimitMs = 600_000;
/** Gone within a moment, on a busy host too. */
const soon = { timeout: 60_000, interval: 50 };
const definition: LabDefinition = {
  name: 'pair',
  switch: { bridge: 'blue' },
  machines: { vm1: {}, vm2: {} },
};

let folder: string;
let lab: Lab;

function open(what: LabDefinition, origin = 'pair.yaml'): Promise<Lab> {
  return Lab.open(what, { command, origin: join(folder, origin) });
}

async function pidsOf(some: Lab): Promise<Record<string, number>> {
  const { machines } = await some.status();
  return Object.fromEntries(
    machines.map((machine) => [machine.name, 'pid' in machine ? machine.pid : 0]),
  );
}

async function statesOf(some: Lab): Promise<Record<string, string>> {
  const { machines } = await some.status();
  return Object.fromEntries(machines.map(({ name, state }) => [name, state]));
}

async function answered(some: Lab): Promise<string[]> {
  const { pings } = await some.ping();
  return pings.flatMap(({ from, to, roundTripMs }) =>
    roundTripMs === undefined ? [] : [`${from}-${to}`],
  );
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'lab-'));
  vi.stubEnv('XDG_STATE_HOME', join(folder, 'state'));
  vi.stubEnv('XDG_RUNTIME_DIR', join(folder, 'run'));
  lab = await open(definition);
}, bootLimitMs);

afterAll(async () => {
  await lab.down({ destroy: true });
  rmSync(folder, { recursive: true, force: true });
  vi.unstubAllEnvs();
}, bootLimitMs);

test('a lab that was never up is down, and asking leaves nothing behind', async () => {
  expect(await statesOf(lab)).toEqual({ vm1: 'stopped', vm2: 'stopped' });
  await expect(lab.machine('vm1').exec('true')).rejects.toMatchObject({ code: 'MACHINE_FAILED' });
  expect(() => lab.machine('vm3')).toThrow('no machine vm3; it has vm1, vm2');
  expect(readdirSync(folder)).toEqual([]);
});

test('up makes every machine ready, and each answers every other one', {
  timeout: bootLimitMs,
}, async () => {
  const stages: string[] = [];
  await lab.up({
    progress: ({ machine, stage, state }) => stages.push(`${machine} ${stage} ${state}`),
  });
  expect(stages).toEqual(expect.arrayContaining(['vm1 start done', 'vm1 ready done']));
  expect(await statesOf(lab)).toEqual({ vm1: 'running', vm2: 'running' });
  expect(await answered(lab)).toEqual(['vm1-vm2', 'vm2-vm1']);
});

test('every machine is on the bridge that the file names', async () => {
  await using control = await ControlClient.connect((await lab.status()).switch.control);
  const { ports } = await control.status();
  expect(ports.map(({ name, bridge }) => [name, bridge])).toEqual([
    ['vm1', 'blue'],
    ['vm2', 'blue'],
  ]);
});

test('exec brings back both outputs and the status, and passes input and words on as they are', async () => {
  const vm1 = lab.machine('vm1');
  const result = await vm1.exec('cat; echo wrong >&2; exit 3', { input: 'in' });
  expect(result).toEqual({ stdout: 'in', stderr: 'wrong\n', status: 3 });
  const words = ['', 'a b', `it's "$HOME" \\ *`];
  expect(await vm1.check(['printf', '<%s>', ...words])).toBe(words.map((w) => `<${w}>`).join(''));
  await expect(vm1.exec('sleep 60', { limitMs: 1000 })).rejects.toMatchObject({ code: 'TIMEOUT' });
});

test('a machine has its name, its user, and each card by its MAC', async () => {
  const [{ mac, addresses }] = (await lab.status()).machines as [LabStatus['machines'][number]];
  const said = await lab
    .machine('vm1')
    .check('hostname; whoami; ip addr show net1; ip addr show net0; sudo echo sudo');
  for (const part of ['vm1\n', mac, addresses[0]!, '10.0.2.15/24', 'sudo\n']) {
    expect(said).toContain(part);
  }
});

test('another process sees the same lab and changes nothing of what is as planned', {
  timeout: bootLimitMs,
}, async () => {
  const before = await lab.status();
  const script = `
    const { Lab } = await import(${JSON.stringify(resolve('dist/lab/lab.js'))});
    const origin = ${JSON.stringify(join(folder, 'pair.yaml'))};
    const lab = await Lab.open(${JSON.stringify(definition)}, { origin });
    await lab.up();
    console.log(JSON.stringify(await lab.status()));`;
  const { stdout } = await execa(process.execPath, ['--input-type=module', '-e', script]);
  const seen: LabStatus = JSON.parse(stdout);
  const lasting = ({ machines, ...rest }: LabStatus) => ({
    ...rest,
    switch: { ...rest.switch, uptimeMs: 0 },
    machines: machines.map((machine) => ({ ...machine, uptimeMs: 0 })),
  });
  expect(lasting(seen)).toEqual(lasting(before));
});

test('a switch that was killed is seen, and started again under machines that run on', {
  timeout: bootLimitMs,
}, async () => {
  const pids = await pidsOf(lab);
  const { switch: before } = await lab.status();
  if (before.state !== 'running') throw new Error(`the switch is ${before.state}`);
  process.kill(before.pid, 'SIGKILL');
  await vi.waitFor(async () => expect((await lab.status()).switch.state).toBe('crashed'), soon);
  await lab.up();
  expect(await pidsOf(lab)).toEqual(pids);
  // QEMU looks for the switch once a second.
  await vi.waitFor(async () => expect(await answered(lab)).toEqual(['vm1-vm2', 'vm2-vm1']), {
    timeout: 120_000,
    interval: 200,
  });
});

test('a QEMU that was killed has crashed, one that its guest switched off has stopped', {
  timeout: bootLimitMs,
}, async () => {
  const pids = await pidsOf(lab);
  process.kill(pids.vm1!, 'SIGKILL');
  await lab
    .machine('vm2')
    .exec('poweroff -f', { limitMs: 5000 })
    .catch(() => {});
  await vi.waitFor(
    async () => expect(await statesOf(lab)).toEqual({ vm1: 'crashed', vm2: 'stopped' }),
    soon,
  );
  const [vm1] = (await lab.status()).machines;
  expect(vm1).toMatchObject({ log: expect.stringContaining('QEMU ended by itself or was killed') });
  await expect(lab.machine('vm1').exec('true')).rejects.toThrow('vm1: QEMU ended by itself');
});

test('up starts what has crashed, stops what is not in the file any more, and keeps the rest', {
  timeout: bootLimitMs,
}, async () => {
  const ports = (await lab.status()).machines.map(({ sshPort }) => sshPort);
  const three = await open({ ...definition, machines: { vm1: {}, vm3: {} } });
  await three.up();
  const first = await pidsOf(three);
  expect((await three.status()).machines[0]!.sshPort).toBe(ports[0]);
  expect(await statesOf(three)).toEqual({ vm1: 'running', vm3: 'running' });

  const changed = await open({ ...definition, machines: { vm1: {}, vm3: { cpus: 2 } } });
  expect((await changed.status()).machines.map(({ differs }) => differs)).toEqual([false, true]);
  await changed.up();
  const second = await pidsOf(changed);
  expect(second.vm1).toBe(first.vm1);
  expect(second.vm3).not.toBe(first.vm3);
  expect(await changed.machine('vm3').check('nproc')).toBe('2\n');

  const one = await open({ ...definition, machines: { vm1: {} } });
  await one.up();
  expect(await pidsOf(one)).toEqual({ vm1: first.vm1 });
  // The switch, who would start its next version, and a machine.
  expect(findMarked((await one.status()).folder)).toHaveLength(3);
});

test('a machine is added to the running lab and removed from it, and is refused what another has', {
  timeout: bootLimitMs,
}, async () => {
  const one = await open({ ...definition, machines: { vm1: {} } });
  const { vm1 } = await pidsOf(one);
  const { addresses } = one.plan.machines[0]!;
  await expect(one.add('vm4', { addresses })).rejects.toMatchObject({ code: 'BAD_OPTION' });
  await expect(one.add('vm1', {})).rejects.toThrow('the name is that of vm1');
  await one.add('vm4', {});
  expect(await answered(one)).toEqual(['vm1-vm4', 'vm4-vm1']);
  // An added one is not in the file, and stays nevertheless.
  const again = await open({ ...definition, machines: { vm1: {} } });
  await again.up();
  expect(await statesOf(again)).toEqual({ vm1: 'running', vm4: 'running' });
  await again.remove('vm4');
  expect(await pidsOf(again)).toEqual({ vm1 });
  expect(() => again.machine('vm4')).toThrow('no machine vm4');
});

test('two labs with the same machine names know nothing of each other', {
  timeout: bootLimitMs,
}, async () => {
  const { folder: firstFolder } = await lab.status();
  let secondFolder: string;
  {
    await using second = await open({ ...definition, machines: { vm1: {} } }, 'other.yaml');
    await second.up();
    const [a, b] = await Promise.all([lab.status(), second.status()]);
    secondFolder = b.folder;
    expect(b.machines[0]!.sshPort).not.toBe(a.machines[0]!.sshPort);
    expect(b.machines[0]!.mac).not.toBe(a.machines[0]!.mac);
    expect(await second.machine('vm1').check('hostname')).toBe('vm1\n');
  }
  expect(findMarked(secondFolder)).toEqual([]);
  expect(existsSync(secondFolder)).toBe(false);
  expect(findMarked(firstFolder)).toHaveLength(3);
});

test('down ends every process, and with destroy nothing is left at all', {
  timeout: bootLimitMs,
}, async () => {
  const { folder: own } = await lab.status();
  await lab.down();
  expect(findMarked(own)).toEqual([]);
  expect(readdirSync(join(folder, 'run'))).toEqual([]);
  expect(existsSync(join(own, 'machines', 'vm1'))).toBe(true);
  await lab.down({ destroy: true });
  expect(readdirSync(join(folder, 'state', 'tsvswitch', 'labs'))).toEqual([]);
});
