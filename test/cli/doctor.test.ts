/**
 * `tsvswitch doctor` as its users run it, beside a switch with real machines: QEMU whose firmware
 * drives the network card by itself, so that no guest has to be built or booted.
 */

import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Diagnosis } from '../../src/control/doctor/diagnosis.ts';
import { qemuProgram } from '../../src/machine/qemu.ts';
import { Command, type Exit } from '../support/command.ts';

let folder: string;
let control: string;

const socket = (name: string) => join(folder, `${name}.sock`);

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'doctor-'));
  control = join(folder, 'control');
});

afterEach(async () => {
  await Command.killAll();
  rmSync(folder, { recursive: true });
});

async function startSwitch(...ports: string[]): Promise<Command> {
  const command = await Command.start(ports.map(socket), ['--control', control]);
  await command.said(`taking requests on ${control}`);
  return command;
}

function doctor(...args: string[]): Promise<Exit> {
  return Command.run(['doctor', '--control', control, ...args]);
}

/** What is found at a port, and the status of the command. */
async function ailments(port: string): Promise<{ status: number | null; codes: string[] }> {
  const { status, stdout } = await doctor(port, '--json');
  const { ports } = JSON.parse(stdout) as { ports: Diagnosis[] };
  expect(ports.map((diagnosis) => diagnosis.port)).toEqual([port]);
  return { status, codes: ports[0]!.findings.map(({ code }) => code) };
}

describe('the command', () => {
  test('says one sentence of each port, of one if asked, and ends with 1', async () => {
    await startSwitch('web1', 'web2');
    const all = await doctor();
    expect(all).toMatchObject({ status: 1, stderr: '' });
    const lines = all.stdout.trimEnd().split('\n');
    const found = lines.filter((line) => line.includes('no machine has connected'));
    expect(found.map((line) => line.slice(0, 10))).toEqual(['port web1:', 'port web2:']);
    const one = await doctor('web2');
    expect(one).toMatchObject({ status: 1, stderr: '' });
    expect(one.stdout).not.toContain('web1');
  });

  test('of a port that is not there, and of a switch without ports, says so', async () => {
    await startSwitch('web1');
    const wrong = await doctor('web2');
    expect(wrong).toMatchObject({ status: 1, stdout: '' });
    expect(wrong.stderr).toBe('tsvswitch: there is no port web2; there are web1\n');
    await Command.killAll();
    await startSwitch();
    const none = await doctor();
    expect(none).toMatchObject({ status: 1, stdout: '' });
    expect(none.stderr).toMatch(/^tsvswitch: the switch at .* has no port; [^\n]*--socket/);
  });

  test('without a switch says how to start one', async () => {
    const exit = await doctor();
    expect(exit).toMatchObject({ status: 3, stdout: '' });
    expect(exit.stderr).toContain(`start one with \`tsvswitch --control ${control}\``);
  });

  test('with a wrong command line ends with 2', async () => {
    expect((await doctor('--fast')).status).toBe(2);
    expect((await doctor('web1', 'web2')).status).toBe(2);
  });

  test('finds a switch where nothing says where it is', async () => {
    const environment = process.env.XDG_RUNTIME_DIR;
    process.env.XDG_RUNTIME_DIR = folder;
    // Root's default place is not ours to try.
    const nobody = process.getuid!() === 0 ? { uid: 65_534, gid: 65_534 } : {};
    chmodSync(folder, 0o777);
    try {
      const command = await Command.start([socket('web1')], ['--control'], nobody);
      await command.said(`taking requests on ${join(folder, 'tsvswitch', 'control.sock')}`);
      const exit = await Command.run(['doctor'], nobody);
      expect(exit.stderr).toBe('');
      expect(exit.stdout).toMatch(/^port web1: no machine has connected/);
    } finally {
      if (environment === undefined) delete process.env.XDG_RUNTIME_DIR;
      else process.env.XDG_RUNTIME_DIR = environment;
    }
  });
});

describe('a machine', { timeout: 300_000 }, () => {
  /** Boots from the network, for which its firmware has a driver, again and again. */
  function startMachine(share: 'on' | 'off', ...args: string[]) {
    const size = '64M';
    const machine = execa(
      qemuProgram,
      [
        ...['-nodefaults', '-no-user-config', '-display', 'none', '-monitor', 'stdio'],
        ...['-boot', 'reboot-timeout=1'],
        ...['-machine', 'q35,memory-backend=mem', '-accel', 'tcg', '-m', size],
        ...['-object', `memory-backend-memfd,id=mem,size=${size},share=${share}`],
        ...['-chardev', `socket,id=port,path=${socket('web1')},reconnect=1`],
        ...['-netdev', 'vhost-user,id=net,chardev=port'],
        ...['-device', 'virtio-net-pci,netdev=net,vectors=0'],
        ...args,
      ],
      { reject: false, timeout: 280_000, killSignal: 'SIGKILL' },
    );
    return {
      monitor: (command: string) => machine.stdin!.write(`${command}\n`),
      stop: async () => {
        machine.kill('SIGKILL');
        await machine;
      },
    };
  }

  /** Asks until the machine has come so far. */
  function expectAilments(port: string, codes: string[], status: number): Promise<void> {
    return expect
      .poll(() => ailments(port), { timeout: 60_000, interval: 100 })
      .toEqual({ status, codes });
  }

  test('whose memory is private, and who comes back again and again, is told to share it', async () => {
    await startSwitch('web1', 'web2');
    const machine = startMachine('off');
    try {
      await expectAilments('web1', ['memory-not-shared'], 1);
      await expect.poll(async () => (await doctor('web1')).stdout).toContain('share=on');
    } finally {
      await machine.stop();
    }
  });

  test('that is paused, runs, and has its link switched off', async () => {
    await startSwitch('web1', 'web2');
    const machine = startMachine('on', '-S');
    try {
      await expectAilments('web1', ['driver-not-up'], 1);
      machine.monitor('cont');
      // Its firmware drives the card for a while only: one look sees all.
      const said = async () => (await doctor('web1')).stdout;
      await expect.poll(said).toMatch(/^port web1: carries frames\n[\s\S]*hugepages/);
      machine.monitor('set_link net off');
      await expectAilments('web1', ['driver-not-up'], 1);
    } finally {
      await machine.stop();
    }
    await expectAilments('web1', ['not-connected'], 1);
  });
});
