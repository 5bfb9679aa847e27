/**
 * Real machines that stay connected while their switch is killed or restarted under a service
 * manager that keeps their sessions: QEMU without an option to reconnect, and User-mode Linux,
 * which cannot. One of them pings the other all the time.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ControlClient } from '../../src/control/client.ts';
import { prepareEngine } from '../../src/tiny/engine.ts';
import { TinyNetwork } from '../../src/tiny/network.ts';
import { Command } from '../support/command.ts';
import { ServiceManager } from '../support/service-manager.ts';

const bootLimitMs = 300_000;
const commandLimitMs = 60_000;

let folder: string;
let manager: ServiceManager;
let network: TinyNetwork | undefined;
/** Processes that took over. */
const pids: number[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'kept-'));
  manager = ServiceManager.listen(folder);
});

afterEach(async () => {
  await network?.close();
  for (const pid of pids.splice(0)) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It was upgraded itself.
    }
  }
  await Command.killAll();
  manager.close();
  rmSync(folder, { recursive: true });
});

test.each([
  ['qemu', 'SIGKILL'],
  ['qemu', 'SIGTERM'],
  // Its rings are packed, of which a process that is killed leaves no trace.
  ['uml', 'SIGTERM'],
] as const)(
  'machines of %s go on after %s, time and again',
  {
    timeout: 2 * bootLimitMs,
  },
  async (engine, signal) => {
    network = await TinyNetwork.create({ machines: 2, engine: await prepareEngine(engine, 2) });
    const ports = [1, 2].flatMap((number) => ['--socket', network!.portSocket(number)]);
    let command = manager.start(ports);
    await manager.told('READY=1');
    await Promise.all([network.boot(1), network.boot(2)]);
    const run = (line: string) => network!.machines[1]!.shell.check(line, commandLimitMs);
    await run(`ping -i 0.1 ${network.address(1)} >/tmp/pings 2>&1 & echo started`);
    // Returns once that has had five more answers.
    const goesOn = () => {
      const answers = 'grep -c seq= /tmp/pings';
      const more = `goal=$(($(${answers}) + 5)); until [ $(${answers}) -ge $goal ]; do sleep 0.1; done`;
      return run(more);
    };
    await goesOn();
    for (let starts = 2; starts <= 4; starts++) {
      await command.stop(signal);
      command = manager.start(ports);
      await manager.told('READY=1', starts);
      await goesOn();
      expect(command.stdout).not.toMatch(/left|broke|ended/);
    }
    // And in all else the machine is as it was: another one begins anew.
    await network.machines[0]!.stop();
    await network.boot(1);
    await goesOn();
  },
);

test.each(['qemu', 'uml'] as const)(
  'machines of %s go on while their switch is upgraded, and lose no ping',
  { timeout: 2 * bootLimitMs },
  async (engine) => {
    network = await TinyNetwork.create({ machines: 2, engine: await prepareEngine(engine, 2) });
    const ports = [1, 2].flatMap((number) => ['--socket', network!.portSocket(number)]);
    const control = join(folder, 'control.sock');
    const command = manager.start([...ports, '--control', control]);
    await manager.told('READY=1');
    await Promise.all([network.boot(1), network.boot(2)]);
    const run = (line: string) => network!.machines[1]!.shell.check(line, commandLimitMs);
    await run(`ping -i 0.01 ${network.address(1)} >/tmp/pings 2>&1 & echo $! >/tmp/pid`);
    const answers = 'grep -c seq= /tmp/pings';
    const goesOn = () =>
      run(`goal=$(($(${answers}) + 5)); until [ $(${answers}) -ge $goal ]; do sleep 0.1; done`);
    await goesOn();
    for (let time = 0; time < 3; time++) {
      await using client = await ControlClient.connect(control);
      const { pid, sessions } = await client.upgrade();
      pids.push(pid);
      expect(sessions).toBe(2);
      await manager.told(`MAINPID=${pid}`);
      await goesOn();
    }
    await run('kill -INT $(cat /tmp/pid); sleep 0.5');
    // The last ones may have been under way.
    const answered = (await run('cat /tmp/pings')).matchAll(/seq=(\d+)/g);
    const numbers = Array.from(answered, ([, number]) => Number(number));
    expect(numbers.toSorted((a, b) => a - b)).toEqual(numbers.map((_, i) => i));
    expect(await run('grep -c DUP /tmp/pings || true')).toMatch(/^0/);
    expect(command.stdout).not.toMatch(/left|broke|ended/);
    // And in all else the machine is as it was: another one begins anew.
    await network.machines[0]!.stop();
    await network.boot(1);
  },
);
