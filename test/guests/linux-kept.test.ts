/**
 * Real machines that stay connected while their switch is killed or restarted under a service
 * manager that keeps their sessions: QEMU without an option to reconnect, and User-mode Linux,
 * which cannot. One of them pings the other all the time.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { prepareEngine } from '../../src/tiny/engine.ts';
import { TinyNetwork } from '../../src/tiny/network.ts';
import { Command } from '../support/command.ts';
import { ServiceManager } from '../support/service-manager.ts';

const bootLimitMs = 300_000;
const commandLimitMs = 60_000;

let folder: string;
let manager: ServiceManager;
let network: TinyNetwork | undefined;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'kept-'));
  manager = ServiceManager.listen(folder);
});

afterEach(async () => {
  await network?.close();
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
