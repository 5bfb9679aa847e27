/**
 * Live migration of running guests between QEMUs, on one switch and from one switch to another:
 * what they receive on the way is all there afterwards, and frames find them. And migrations that
 * come to nothing.
 *
 * The tests are stages of one journey: two guests boot once, and are wherever the last one left
 * them; where one fails, the journey ends. One guest has split rings and leaves it to SEND_RARP to
 * say where it is; the other has two pairs of packed rings and says so itself. Both switches run in
 * this process.
 */

import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { Switch, type SwitchEvent } from '../../src/index.ts';
import { probeKvm } from '../../src/machine/kvm.ts';
import { tinyGuest } from '../../src/tiny/guest.ts';
import { differingPages, type MigratingGuest, MigrationQemu, Road } from '../support/migration.ts';
import { Pinger } from '../support/pinger.ts';

const bootLimitMs = 300_000;
const commandLimitMs = 180_000;
const testLimitMs = 600_000;
const waitLimit = { timeout: 180_000 };
const mebibyte = 1 << 20;
/** Fewer than a receiveq offers buffers for. */
const frames = 64;
/** Names that QEMU gives to what it shares with a switch. */
const memoryFile = 'memory-backend-memfd';
const logFile = 'vhost-log';

/** A guest, and where it is at present. */
interface Traveller extends MigratingGuest {
  qemu: MigrationQemu;
  /** Name of the port it is on. */
  port: string;
}

let folder: string;
let vswitch: Switch;
/** Joined to the first one by a port of each. */
let otherSwitch: Switch;
let vm1: Traveller;
let vm2: Traveller;
/** Mappings of the memory of both. */
let memoriesOfTwo: number;
const events: SwitchEvent[] = [];
const qemus: MigrationQemu[] = [];
const hosts: Pinger[] = [];
let isStranded = false;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'migration-'));
  vswitch = Switch.open();
  otherSwitch = Switch.open();
  for (const each of [vswitch, otherSwitch]) each.on('event', (event) => events.push(event));
  for (const name of ['a', 'b', 'c', 'd']) vswitch.addPort({ path: join(folder, name) });
  otherSwitch.addPort({ path: join(folder, 'e') });
  const [near, far] = [join(folder, 'near'), join(folder, 'far')];
  vswitch.addPort({ dgram: near, peer: far });
  otherSwitch.addPort({ dgram: far, peer: near });

  const tiny = await tinyGuest();
  const { accelerator } = await probeKvm(tiny.kernel.image);
  const boot = async (number: number, port: string, card: MigratingGuest['card']) => {
    const guest = {
      tiny,
      accelerator,
      hostname: `vm${number}`,
      ip: `192.168.0.${number}`,
      mac: `52:54:00:00:00:0${number}`,
      card: card ?? {},
    };
    const traveller = { ...guest, port, qemu: await startQemu(guest, port) };
    await traveller.qemu.machine.shell.ready(bootLimitMs);
    await run(traveller, 'dd if=/dev/urandom of=/tmp/data bs=1M count=4');
    return traveller;
  };
  [vm1, vm2] = await Promise.all([
    boot(1, 'a', { deviceOptions: { guest_announce: 'off' } }),
    boot(2, 'b', { queuePairs: 2, deviceOptions: { packed: 'on' } }),
  ]);
  memoriesOfTwo = mappings(memoryFile);
}, 2 * bootLimitMs);

beforeEach(({ skip }) => skip(isStranded, 'an earlier stage failed'));

afterEach(({ task }) => {
  isStranded ||= task.result?.state === 'fail';
  for (const host of hosts.splice(0)) host.close();
});

afterAll(async () => {
  await Promise.all(qemus.map((qemu) => qemu.stop()));
  vswitch?.close();
  otherSwitch?.close();
  rmSync(folder, { recursive: true, force: true });
});

async function startQemu(
  guest: MigratingGuest,
  port: string,
  extraArguments: readonly string[] = [],
): Promise<MigrationQemu> {
  const name = `${guest.hostname}-${qemus.length}`;
  const place = { name, folder, socket: join(folder, port) };
  const qemu = await MigrationQemu.start(guest, place, extraArguments);
  qemus.push(qemu);
  return qemu;
}

/** A QEMU on another port that waits for a guest, and where it does. */
async function expecting(guest: MigratingGuest, port: string) {
  const path = join(folder, `to-${port}`);
  rmSync(path, { force: true });
  return { path, destination: await startQemu(guest, port, ['-incoming', `unix:${path}`]) };
}

function run({ qemu }: Traveller, command: string): Promise<string> {
  return qemu.machine.shell.check(command, commandLimitMs);
}

function pinging({ ip, mac }: MigratingGuest): Pinger {
  const host = new Pinger(vswitch, { ip: '192.168.0.99', mac: '52:54:00:00:00:99' }, { ip, mac });
  hosts.push(host);
  host.start();
  return host;
}

function counters(port: string) {
  return (vswitch.port(port) ?? otherSwitch.port(port))!.counters;
}

/** Returns once so many more frames were delivered to the guest on a port. */
async function delivered(port: string, frames: number): Promise<void> {
  const goal = counters(port).toGuest.frames + frames;
  const arrived = () => expect(counters(port).toGuest.frames).toBeGreaterThanOrEqual(goal);
  await vi.waitFor(arrived, waitLimit);
}

function portOf({ mac }: MigratingGuest, at = vswitch): string | undefined {
  return at.bridge.fdb.find((entry) => entry.mac === mac)?.port;
}

/** Whether what is written to the guest on a port is logged. */
function isLogged(port: string): boolean {
  const last = events.findLast((event) => event.type === 'logging' && event.port === port);
  return last?.type === 'logging' && last.enabled;
}

/** Bytes over TCP until finish() is called, which returns what either end has as their checksum. */
async function startStream(from: Traveller, to: Traveller) {
  await run(to, 'rm -f /tmp/received');
  await run(to, "nc -l -p 5000 -e sh -c 'sha256sum >/tmp/received' >/dev/null 2>&1 &");
  await run(to, 'until netstat -ltn | grep -q :5000; do sleep 0.1; done');
  await run(from, 'rm -f /tmp/enough /tmp/sent /tmp/copy; mkfifo /tmp/copy');
  await run(from, 'sha256sum </tmp/copy >/tmp/sent &');
  const endless = 'until [ -e /tmp/enough ]; do cat /tmp/data; done';
  await run(from, `(${endless} | tee /tmp/copy | nc ${to.ip} 5000) >/dev/null 2>&1 &`);
  const sumOf = async (end: Traveller, file: string) => {
    await run(end, `until [ -s ${file} ]; do sleep 0.1; done`);
    return (await run(end, `cat ${file}`)).split(' ')[0];
  };
  return {
    async finish() {
      await run(from, 'touch /tmp/enough');
      return { sent: await sumOf(from, '/tmp/sent'), received: await sumOf(to, '/tmp/received') };
    },
  };
}

/** What the open fds of this process refer to, without the inode numbers of sockets and pipes. */
function openFiles(): string[] {
  const target = (fd: string) => {
    try {
      return readlinkSync(join('/proc/self/fd', fd)).replace(/\[\d+\]/, '');
    } catch {
      // The one that the folder was read with.
      return '';
    }
  };
  return readdirSync('/proc/self/fd').map(target).sort();
}

/** How many mappings of this process are of files with such a name. */
function mappings(name: string): number {
  return readFileSync('/proc/self/maps', 'utf8').split(name).length - 1;
}

describe('a migration that comes to nothing', () => {
  test.each([
    {
      what: 'is cancelled',
      status: 'cancelled',
      end: (source: MigrationQemu) => source.qmp.command('migrate_cancel'),
    },
    {
      what: 'loses its destination',
      status: 'failed',
      end: async (_: MigrationQemu, destination: MigrationQemu) =>
        process.kill(destination.machine.pid, 'SIGKILL'),
    },
  ])(
    'and $what half way leaves the guest where it was, and nothing behind',
    {
      timeout: testLimitMs,
    },
    async ({ status, end }) => {
      const { qemu, port } = vm1;
      const host = pinging(vm1);
      await host.reached();
      const files = openFiles();

      const { path, destination } = await expecting(vm1, 'c');
      const road = await Road.open(join(folder, 'road'), path);
      await qemu.migrate(road.path);
      await road.pass(4 * mebibyte);
      expect(isLogged(port)).toBe(true);
      expect(mappings(logFile)).toBe(1);
      await host.reached();
      await end(qemu, destination);
      await qemu.reached(status);
      await destination.stop();
      road.close();

      expect(await qemu.status()).toBe('running');
      await host.reached();
      expect(portOf(vm1)).toBe(port);
      await vi.waitFor(() => expect(isLogged(port)).toBe(false), waitLimit);
      await vi.waitFor(() => expect(openFiles()).toEqual(files), waitLimit);
      expect(mappings(memoryFile)).toBe(memoriesOfTwo);
    },
  );

  test('because it is to be postcopy is refused by QEMU, and the guest goes on', {
    timeout: testLimitMs,
  }, async () => {
    const { qemu } = vm1;
    const { path, destination } = await expecting(vm1, 'c');
    await expect(destination.setCapability('postcopy-ram')).rejects.toMatchObject({
      code: 'MACHINE_FAILED',
      message: expect.stringMatching(/QEMU refused: .*postcopy/i),
    });
    // Somebody who asks at the source only is refused by the destination later.
    await qemu.setCapability('postcopy-ram');
    await qemu.migrate(path);
    await qemu.reached('failed');
    await qemu.setCapability('postcopy-ram', false);
    await destination.stop();
    expect(await qemu.status()).toBe('running');
    await pinging(vm1).reached();
  });
});

describe('a guest migrates', () => {
  test.each([
    { name: 'vm1', to: 'c' },
    { name: 'vm2', to: 'd' },
  ])(
    '$name to another port, with what came after its memory was copied',
    {
      timeout: testLimitMs,
    },
    async ({ name, to }) => {
      const guest = name === 'vm1' ? vm1 : vm2;
      const { qemu: source, port: from } = guest;
      const host = pinging(guest);
      await host.reached();
      host.stop();
      // Its driver is put aside: nobody but the switch touches the buffers that it has offered.
      await run(guest, 'ip link set eth0 down');
      const received = async () =>
        Number(await run(guest, 'cat /sys/class/net/eth0/statistics/rx_packets'));
      const before = await received();
      const { path, destination } = await expecting(guest, to);
      const road = await Road.open(join(folder, 'road'), path);

      // The guest writes more in the first pass than may be left at the end: a second one has to
      // follow.
      await source.setParameters({ 'downtime-limit': 10 });
      await source.migrate(road.path);
      await road.pass(mebibyte);
      await run(guest, 'dd if=/dev/urandom of=/tmp/written bs=1M count=16');
      while ((await source.passes()) < 2) await road.pass(mebibyte);
      await run(guest, 'true');
      // By now every page was sent.
      const arrival = delivered(from, frames);
      host.send(Array.from({ length: frames }, () => randomBytes(1400)));
      await arrival;
      await source.qmp.command('stop');
      road.clear();
      await Promise.all([source.reached('completed'), destination.reached('completed')]);
      expect(differingPages(source.machine.pid, destination.machine.pid)).toEqual([]);

      Object.assign(guest, { qemu: destination, port: to });
      await destination.qmp.command('cont');
      if (guest === vm1) {
        // The guest can have said nothing yet: it was SEND_RARP.
        await vi.waitFor(() => expect(portOf(guest)).toBe(to), waitLimit);
        expect(host.announcements.rarp).toBeGreaterThan(0);
      }
      await run(guest, 'ip link set eth0 up');
      await vi.waitFor(async () => {
        expect(await received()).toBeGreaterThanOrEqual(before + frames);
      }, waitLimit);
      host.start();
      await host.reached();
      expect(portOf(guest)).toBe(to);
      await source.stop();
      road.close();
    },
  );

  test('to another switch while it receives a stream, and answers from there', {
    timeout: testLimitMs,
  }, async () => {
    const { qemu: source } = vm2;
    const stream = await startStream(vm1, vm2);
    const host = pinging(vm2);
    await host.reached();
    const { path, destination } = await expecting(vm2, 'e');
    // So that it comes to an end on a machine that sends slowly.
    await source.setCapability('auto-converge');
    await source.migrate(path);
    await Promise.all([source.reached('completed'), destination.reached('completed')]);
    Object.assign(vm2, { qemu: destination, port: 'e' });
    await host.reached();
    expect([portOf(vm2), portOf(vm2, otherSwitch)]).toEqual(['near', 'e']);
    await vi.waitFor(() => expect(host.announcements.arp).toBeGreaterThan(0), waitLimit);
    await delivered('e', 100);
    await source.stop();
    const { sent, received } = await stream.finish();
    expect(received).toBe(sent);
  });

  test('and no log or memory of where it was is left, nor a broken queue', {
    timeout: testLimitMs,
  }, async () => {
    await vi.waitFor(() => expect(mappings(logFile)).toBe(0), waitLimit);
    expect(mappings(memoryFile)).toBe(memoriesOfTwo);
    expect(events.map(({ type }) => type)).not.toContain('ring-broken');
  });
});
