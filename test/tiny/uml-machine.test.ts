/** uml.ts, uml-machine.ts and whole_xstate.cc with real guests, which need no network for this. */

import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { descendantsOf, ended, findMarked, isAlive } from '../../src/machine/detached-process.ts';
import {
  type UmlOptions,
  umlArguments,
  umlControlLine,
  umlMemoryFolder,
} from '../../src/machine/uml.ts';
import { tinyGuestBoot } from '../../src/tiny/guest.ts';
import { umlGuest } from '../../src/tiny/uml-guest.ts';
import { UmlMachine } from '../../src/tiny/uml-machine.ts';

const bootLimitMs = 240_000;
const commandLimitMs = 120_000;
let folder: string;
let options: UmlOptions;
let machine: UmlMachine | undefined;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'uml-'));
  const { commandLine, ...boot } = tinyGuestBoot(await umlGuest(), 'vm1', '192.168.0.1/24');
  options = {
    name: 'vm1',
    memoryMiB: 128,
    memoryFolder: await umlMemoryFolder([128]),
    folder,
    boot: { ...boot, commandLine: `${commandLine} guest.control=${umlControlLine}` },
    sockets: [],
  };
}, 180_000);

afterEach(async () => {
  await machine?.stop();
  machine = undefined;
  await rm(folder, { recursive: true, force: true });
});

async function booted(): Promise<UmlMachine> {
  machine = await UmlMachine.start(options);
  await machine.shell.ready(bootLimitMs);
  return machine;
}

test('its command line has a card for each socket, and only the two lines that are used', () => {
  const words = umlArguments({ ...options, sockets: ['/a', '/b'] });
  expect(words).toEqual(
    expect.arrayContaining(['mem=128M', 'virtio_uml.device=/a:1', 'virtio_uml.device=/b:1']),
  );
  expect(words).toEqual(expect.arrayContaining(['con=null', 'ssl=null', 'ssl0=fd:3', 'ssl1=fd:4']));
});

test('commands bring back their output and status, one after the other', {
  timeout: 2 * bootLimitMs,
}, async () => {
  const { shell } = await booted();
  const [hostname, failing, several] = await Promise.all([
    shell.run('hostname', commandLimitMs),
    shell.run('printf "no line end"; exit 3', commandLimitMs),
    shell.run('echo one; echo; echo two >&2', commandLimitMs),
  ]);
  expect(hostname).toEqual({ output: 'vm1', status: 0 });
  expect(failing).toEqual({ output: 'no line end', status: 3 });
  expect(several).toEqual({ output: 'one\n\ntwo', status: 0 });
  const long = 'x'.repeat(3500);
  expect(await shell.check(`echo ${long}`, commandLimitMs)).toBe(long);
});

test('the registers of its processes stay theirs while others run and pages are swapped in', {
  timeout: 2 * bootLimitMs,
}, async () => {
  const { shell } = await booted();
  // The C library of the guest copies with the widest registers there are, iperf3's dynamic one
  // included.
  await shell.check('dd if=/dev/urandom of=/tmp/data bs=1M count=8 2>/dev/null', commandLimitMs);
  const sums = await shell.check(
    'for i in 1 2 3 4; do (cp /tmp/data /tmp/$i; sha256sum </tmp/$i; iperf3 --version >/dev/null) & done; wait; sha256sum </tmp/data',
    commandLimitMs,
  );
  expect(sums.split('\n')).toHaveLength(5);
  expect(new Set(sums.split('\n')).size).toBe(1);
});

test('stop ends all of its processes', { timeout: 2 * bootLimitMs }, async () => {
  const running = await booted();
  const processes = descendantsOf(running.pid);
  expect(processes.length).toBeGreaterThan(1);
  await running.stop();
  expect(processes.filter(isAlive)).toEqual([]);
});

test('one that is killed fails what was waited for, says by what, and leaves none behind', {
  timeout: 2 * bootLimitMs,
}, async () => {
  const killed = await booted();
  const processes = descendantsOf(killed.pid);
  const waiting = killed.shell.run('sleep 3600', 3_600_000);
  process.kill(killed.pid, 'SIGKILL');
  await expect(waiting).rejects.toThrow('vm1: User-mode Linux was ended by SIGKILL');
  expect(processes.filter(isAlive)).toEqual([]);
});

test('one that is given a file which is no initrd says what it said', {
  timeout: 2 * bootLimitMs,
}, async () => {
  options = { ...options, boot: { ...options.boot, initrd: '/nonexistent/initrd' } };
  machine = await UmlMachine.start(options);
  await expect(machine.shell.ready(bootLimitMs)).rejects.toMatchObject({
    code: 'MACHINE_FAILED',
    message: expect.stringMatching(/^vm1: User-mode Linux [\s\S]*\/nonexistent\/initrd/),
  });
});

test('it does not outlive a process that was killed with its machines', {
  timeout: 2 * bootLimitMs,
}, async () => {
  const script = `
    const { UmlMachine } = await import(${JSON.stringify(resolve('dist/tiny/uml-machine.js'))});
    const machine = await UmlMachine.start(${JSON.stringify(options)});
    await machine.shell.ready(${bootLimitMs});
    console.log('ready');
    await new Promise(() => setInterval(() => {}, 1000));`;
  const parent = execa(process.execPath, ['--input-type=module', '-e', script], {
    env: { TSVSWITCH_LAB: folder },
    reject: false,
  });
  await new Promise<void>((resolve) => parent.stdout.once('data', () => resolve()));
  const processes = descendantsOf(parent.pid!);
  expect(processes.length).toBeGreaterThan(2);
  parent.kill('SIGKILL');
  await parent;
  const gone = await Promise.all(processes.map((one) => ended(one, 60_000)));
  expect(gone.every(Boolean)).toBe(true);
  expect(findMarked(folder)).toEqual([]);
});

test('the kernel and its log are on the console', { timeout: 2 * bootLimitMs }, async () => {
  const { shell, consoleLog } = await booted();
  await shell.check('echo "<1>a word of the kernel" >/dev/kmsg', commandLimitMs);
  await expect.poll(() => readFileSync(consoleLog, 'utf8')).toContain('a word of the kernel');
});
