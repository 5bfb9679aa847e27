/**
 * A switch that connects to real machines, which listen (QEMU's chardev with server=on): while one
 * of them pings the other, the switch is killed and started anew, and a machine is ended and booted
 * anew.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { probeKvm } from '../../src/machine/kvm.ts';
import type { Accelerator } from '../../src/machine/qemu.ts';
import { type TinyGuest, tinyGuest, tinyGuestBoot } from '../../src/tiny/guest.ts';
import { tinyMemoryMiB } from '../../src/tiny/network.ts';
import { Machine } from '../../src/tiny/qemu-machine.ts';
import { SwitchProcess } from '../../src/tiny/switch-process.ts';

const bootLimitMs = 300_000;
const commandLimitMs = 180_000;
const testLimitMs = 600_000;

let folder: string;
let tiny: TinyGuest;
let accelerator: Accelerator;
let vswitch: SwitchProcess;
const machines: Machine[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'client-mode-'));
  tiny = await tinyGuest();
  ({ accelerator } = await probeKvm(tiny.kernel.image));
  vswitch = await startSwitch();
  await Promise.all([boot(1), boot(2)]);
  await machines[1]!.shell.check(
    'ping -i 0.1 192.168.0.1 >/tmp/pings 2>&1 & echo started',
    commandLimitMs,
  );
}, 2 * bootLimitMs);

afterAll(async () => {
  await Promise.all(machines.map((machine) => machine.stop()));
  await vswitch?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const socketOf = (number: number) => join(folder, `port${number}`);

function startSwitch(): Promise<SwitchProcess> {
  return SwitchProcess.start({
    script: resolve('dist/cli/main.js'),
    sockets: [],
    extraArguments: [1, 2].flatMap((number) => ['--connect', socketOf(number)]),
    limitMs: commandLimitMs,
  });
}

/** QEMU waits for the switch before it starts the guest. */
async function boot(number: number): Promise<void> {
  const name = `vm${number}`;
  const machine = await Machine.start({
    name,
    folder,
    cpus: 1,
    memoryMiB: tinyMemoryMiB,
    memory: { type: 'memfd' },
    accelerator,
    boot: tinyGuestBoot(tiny, name, `192.168.0.${number}/24`),
    cards: [
      {
        type: 'vhost-user',
        socket: socketOf(number),
        mac: `52:54:00:00:00:0${number}`,
        reconnect: 'server=on,wait=off',
      },
    ],
  });
  machines[number - 1] = machine;
  await machine.shell.ready(bootLimitMs);
}

/** Returns once that ping has had five more answers. */
function pingGoesOn(): Promise<string> {
  const answers = 'grep -c seq= /tmp/pings';
  const more = `goal=$(($(${answers}) + 5)); until [ $(${answers}) -ge $goal ]; do sleep 0.1; done`;
  return machines[1]!.shell.check(more, commandLimitMs);
}

test('a ping goes on after the switch was killed and started anew', {
  timeout: testLimitMs,
}, async () => {
  await pingGoesOn();
  await vswitch.stop('SIGKILL');
  vswitch = await startSwitch();
  await pingGoesOn();
  expect(vswitch.messages('ring-broken')).toEqual([]);
});

test('a ping goes on after its target was ended and booted anew', {
  timeout: testLimitMs,
}, async () => {
  await pingGoesOn();
  await machines[0]!.stop();
  await boot(1);
  await pingGoesOn();
  expect(vswitch.messages('ring-broken')).toEqual([]);
});
