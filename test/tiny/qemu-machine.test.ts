/** qemu-machine.ts and shell.ts with a real guest, which needs no network for this. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { probeKvm } from '../../src/machine/kvm.ts';
import { TsvswitchError } from '../../src/model/errors.ts';
import { tinyGuest, tinyGuestBoot } from '../../src/tiny/guest.ts';
import { Machine, type StartOptions } from '../../src/tiny/qemu-machine.ts';

const bootLimitMs = 240_000;
const commandLimitMs = 120_000;
let folder: string;
let options: StartOptions;
let machine: Machine | undefined;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'machine-'));
  const guest = await tinyGuest();
  const { accelerator } = await probeKvm(guest.kernel.image);
  options = {
    name: 'vm1',
    folder,
    cpus: 1,
    memoryMiB: 256,
    memory: { type: 'memfd' },
    accelerator,
    boot: tinyGuestBoot(guest, 'vm1', '192.168.0.1/24'),
    cards: [],
  };
}, 180_000);

afterEach(async () => {
  await machine?.stop();
  machine = undefined;
  rmSync(folder, { recursive: true, force: true });
});

async function booted(): Promise<Machine> {
  machine = await Machine.start(options);
  await machine.shell.ready(bootLimitMs);
  return machine;
}

test('commands bring back their output and status, one after the other', {
  timeout: 2 * bootLimitMs,
}, async () => {
  const { shell } = await booted();
  const [hostname, failing, several, faked] = await Promise.all([
    shell.run('hostname', commandLimitMs),
    shell.run('printf "no line end"; exit 3', commandLimitMs),
    shell.run('echo one; echo; echo two >&2', commandLimitMs),
    shell.run('echo "@end 0 0"', commandLimitMs),
  ]);
  expect(hostname).toEqual({ output: 'vm1', status: 0 });
  expect(failing).toEqual({ output: 'no line end', status: 3 });
  expect(several).toEqual({ output: 'one\n\ntwo', status: 0 });
  expect(faked).toEqual({ output: '@end 0 0', status: 0 });
  await expect(shell.check('false', commandLimitMs)).rejects.toThrow('`false` ended with status 1');
});

test('a command over its time limit fails, and the next one still gets its own answer', {
  timeout: 2 * bootLimitMs,
}, async () => {
  const { shell } = await booted();
  await expect(shell.run('echo late; sleep 1; echo later', 100)).rejects.toThrow('within 0.1 s');
  expect(await shell.run('echo mine', commandLimitMs)).toEqual({ output: 'mine', status: 0 });
});

test('QEMU that is killed fails what was waited for, and says by what', {
  timeout: 2 * bootLimitMs,
}, async () => {
  const killed = await booted();
  const waiting = killed.shell.run('sleep 3600', 3_600_000);
  process.kill(killed.pid, 'SIGKILL');
  await expect(waiting).rejects.toThrow('vm1: QEMU was ended by SIGKILL');
  await expect(killed.shell.run('true', commandLimitMs)).rejects.toThrow('SIGKILL');
  expect((await killed.ended).message).toContain('SIGKILL');
});

test('QEMU that refuses its arguments says so in its own words', async () => {
  options = { ...options, extraArguments: ['-device', 'no-such-device'] };
  await expect(booted()).rejects.toMatchObject({
    code: 'MACHINE_FAILED',
    message: expect.stringMatching(/vm1: QEMU ended with status 1:[\s\S]*no-such-device/),
  });
});

test('a start that is given up ends QEMU', async () => {
  const givenUp = new AbortController();
  const start = Machine.start({ ...options, signal: givenUp.signal });
  givenUp.abort(new TsvswitchError('CLOSED', 'given up'));
  await expect(start).rejects.toThrow('given up');
  const { stdout } = await execa('ps', ['-ww', '-eo', 'args']);
  expect(stdout).toContain('ps -ww');
  expect(stdout).not.toContain(folder);
});
