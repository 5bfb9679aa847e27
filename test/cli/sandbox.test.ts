/**
 * The command with least privilege: what the kernel says of its threads while it works, for an
 * ordinary user, and that all it does after its start is still possible. What the filters deny is
 * in native/test/platform/sandbox_test.cc.
 */

import { chmodSync, ftruncateSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ControlClient } from '../../src/control/client.ts';
import type { WrittenSettings } from '../../src/model/settings.ts';
import { TestGuest } from '../../src/testing/index.ts';
import { vringFdLayout } from '../../src/vhost-user/message.ts';
import { Command } from '../support/command.ts';
import { frameBetween, numberOf } from '../support/ethernet.ts';
import { needs } from '../support/needs.ts';

/** As whom the command runs: nobody if we may choose, else who we are, which is not root then. */
const user = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sandbox-'));
  chmodSync(folder, 0o777);
});

afterEach(async () => {
  await Command.killAll();
  rmSync(folder, { recursive: true });
});

const socket = (name: string) => join(folder, `${name}.sock`);

/** What /proc/PID/task/TID/status says of each thread, by its name. */
function threadsOf(pid: number): { name: string; status: Record<string, string> }[] {
  const tasks = `/proc/${pid}/task`;
  return readdirSync(tasks).map((id) => {
    const lines = readFileSync(join(tasks, id, 'status'), 'utf8')
      .trim()
      .split('\n');
    const status = Object.fromEntries(lines.map((line) => line.split(/:\s*/, 2)));
    return { name: status.Name!, status };
  });
}

async function expectFrames(from: TestGuest, to: TestGuest, count: number): Promise<void> {
  for (let number = 0; number < count; number++) {
    await from.send(frameBetween(0, 1, number));
    expect(numberOf(await to.receive())).toBe(number);
  }
}

test('it can have every setting changed', async () => {
  const control = join(folder, 'control');
  const command = await Command.start([socket('a')], ['--control', control]);
  await command.said(`taking requests on ${control}`);
  await using client = await ControlClient.connect(control);
  const settings = await client.settings();
  const { a } = settings.ports;
  const uid = process.getuid!();
  Object.assign(settings, { workers: 2, idleUs: 0, balance: true, partition: [['a'], ['b']] });
  Object.assign(a!, { bridge: 'blue', mode: '600', group: process.getgid!(), allow: [uid] });
  settings.ports.b = { ...a!, path: socket('b'), ringReset: true } as typeof a & object;
  settings.ports.c = { ...a!, connect: socket('c') } as typeof a & object;
  for (const key of ['path', 'group', 'source'] as const) {
    Reflect.deleteProperty(settings.ports.c, key);
  }
  await client.apply(settings);
  await command.said('settings were applied: ');
  expect(await client.apply(await client.settings())).toEqual([]);
  Object.assign(settings, { workers: 1, partition: [] });
  Object.assign(settings.ports.b!, { ringReset: false });
  await client.apply(settings);
  await using one = await TestGuest.connect({ path: socket('a') });
  await using other = await TestGuest.connect({ path: socket('b') });
  await expectFrames(one, other, 5);
});

test('an ordinary user without any capability joins two guests, on filtered threads', async () => {
  const control = join(folder, 'control');
  const command = await Command.start([socket('a'), socket('b')], ['--control', control], user);
  await command.said(`taking requests on ${control}`);
  await using a = await TestGuest.connect({ path: socket('a') });
  await using b = await TestGuest.connect({ path: socket('b') });
  await expectFrames(a, b, 20);
  await using client = await ControlClient.connect(control);
  await client.addWorker();
  await expectFrames(b, a, 20);
  const threads = threadsOf(command.pid);
  const workers = threads.filter(({ name }) => name === 'tsvswitch-work');
  expect(workers).toHaveLength(2);
  for (const { status } of threads) {
    expect(status).toMatchObject({
      CapEff: '0000000000000000',
      CapPrm: '0000000000000000',
      NoNewPrivs: '1',
      Seccomp: '2',
    });
    expect(status.Uid).toMatch(/^([1-9]\d*)\t\1\t\1\t\1$/);
  }
  const others = threads.filter(({ name }) => name !== 'tsvswitch-work');
  const filters = (of: typeof threads) => of.map(({ status }) => Number(status.Seccomp_filters));
  // A container may have put some of its own under all of them.
  const [present] = filters(others);
  for (const count of filters(others)) expect(count).toBe(present);
  for (const count of filters(workers)) expect(count).toBe(present! + 1);
  expect((await command.stop()).status).toBe(0);
});

const allowedCpus = threadsOf(process.pid)[0]!.status.Cpus_allowed_list!;

test(
  'a pinned worker has its CPU for itself, as far as this process goes',
  needs(/[-,]/.test(allowedCpus) ? undefined : `needs two CPUs, there is only ${allowedCpus}`),
  async () => {
    const control = join(folder, 'control');
    const cpu = Number.parseInt(allowedCpus, 10);
    const command = await Command.start([], ['--cpus', `${cpu}`, '--control', control]);
    await command.said(`taking requests on ${control}`);
    await using client = await ControlClient.connect(control);
    await client.addWorker();
    const threads = threadsOf(command.pid);
    const pinned = threads.filter(({ status }) => status.Cpus_allowed_list === `${cpu}`);
    expect(pinned.map(({ name }) => name)).toEqual(['tsvswitch-work']);
    for (const thread of threads) {
      if (thread === pinned[0]) continue;
      expect(thread.status.Cpus_allowed_list).not.toMatch(new RegExp(`^${cpu}\\b`));
    }
    await command.stop();
  },
);

test('guest memory is mapped so that no core file has it, and there is no core file', async () => {
  const command = await Command.start([socket('a')], []);
  await using _ = await TestGuest.connect({ path: socket('a') });
  const smaps = readFileSync(`/proc/${command.pid}/smaps`, 'utf8');
  const mappings = smaps.split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
  const guests = mappings.filter((mapping) => mapping.split('\n', 1)[0]!.includes('/memfd:'));
  expect(guests).toHaveLength(1);
  // dd: do not dump.
  for (const mapping of guests) expect(mapping).toMatch(/^VmFlags:.* dd( |$)/m);
  const limits = readFileSync(`/proc/${command.pid}/limits`, 'utf8');
  expect(limits).toMatch(/^Max core file size +1 +1 /m);
});

test('ports come and go, memory is truncated and machines come back behind the filters', async () => {
  const control = join(folder, 'control');
  const args = ['--control', control, '--socket', socket('a')];
  const command = await Command.start([], args, user);
  await command.said(`taking requests on ${control}`);
  const client = await ControlClient.connect(control);
  await client.addPort({ path: socket('b'), source: { addresses: ['10.0.0.1'] } });
  await client.addPort({ path: socket('c'), mode: '666', allow: [process.getuid!()] });
  await using a = await TestGuest.connect({ path: socket('a') });
  await using c = await TestGuest.connect({ path: socket('c') });
  await expectFrames(a, c, 5);
  const victim = await TestGuest.connect({ path: socket('b'), memory: 'file' });
  // From now on nothing here may touch that memory, as a guest does that is called.
  for (const index of [0, 1]) {
    await victim.frontend.tell('SET_VRING_CALL', vringFdLayout, { index, hasFd: false });
  }
  ftruncateSync(victim.memory.fd, 0);
  victim.raw.kick(1);
  await command.said("port b: the file behind the guest's memory was truncated");
  victim.disconnect();
  await expectFrames(a, c, 5);
  await client.removePort('b');
  await client.close();
  const { status, stderr } = await command.stop();
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
});

test('whatever settings say, the filters leave all that applying them takes', async () => {
  const control = join(folder, 'control');
  const command = await Command.start([socket('a')], ['--control', control], user);
  await command.said(`taking requests on ${control}`);
  await using client = await ControlClient.connect(control);
  const gid = user.gid ?? process.getgid!();
  const settings: Required<WrittenSettings> = {
    workers: 3,
    cpus: [Number.parseInt(allowedCpus, 10)],
    idleUs: 0,
    balance: true,
    ageingSeconds: 1,
    bridges: { blue: { ageingSeconds: 2 } },
    ports: {
      a: { path: socket('a'), mode: '600', mtu: 9000 },
      b: { path: socket('b'), group: gid, allow: ['root', ':root', process.getuid!()] },
      c: { connect: socket('nobody'), bridge: 'blue', ringReset: true, inBand: true },
      d: { kind: 'dgram', path: socket('d'), peer: socket('peer') },
      e: { kind: 'process', source: { macs: ['52:54:00:00:00:01'], addresses: ['10.0.0.0/8'] } },
    },
    fdb: [
      { mac: '52:54:00:00:00:09', port: 'a' },
      { mac: '52:54:00:00:00:0a', bridge: 'blue' },
    ],
    links: [{ from: 'a', to: 'b', impairment: { delayMs: 1, jitterMs: 1, loss: 0.1 } }],
    partition: [['a'], ['d']],
  };
  await client.apply(settings);
  expect(await client.settings()).toMatchObject(settings);
  await using a = await TestGuest.connect({ path: socket('a') });
  await using b = await TestGuest.connect({ path: socket('b') });
  // What is there is exchanged, moved and taken away.
  await client.apply({ ports: { a: { path: socket('other') }, b: { path: socket('b') } } });
  await using other = await TestGuest.connect({ path: socket('other') });
  await expectFrames(other, b, 5);
  expect(a.memory.bytes.length).toBeGreaterThan(0);
  await client.close();
  const { status, stdout, stderr } = await command.stop();
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  expect(stdout).not.toContain('Operation not permitted');
});

test('--no-sandbox leaves the process as it was started', async () => {
  const command = await Command.start([socket('a')], ['--no-sandbox']);
  const own = threadsOf(process.pid)[0]!.status;
  for (const { status } of threadsOf(command.pid)) {
    expect(status.Seccomp_filters).toBe(own.Seccomp_filters);
    expect(status.NoNewPrivs).toBe(own.NoNewPrivs);
  }
  await command.stop();
});
