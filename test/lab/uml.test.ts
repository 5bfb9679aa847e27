/**
 * A lab whose machines are User-mode Linux: everything a lab is asked for, without ssh, without
 * QEMU, and with none of its many processes left behind, however it comes to its end.
 */

import { existsSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { LabStatus } from '../../src/lab/report.ts';
import { LabFolder } from '../support/lab-command.ts';

const changeLimitMs = 600_000;
const soon = { timeout: 60_000, interval: 100 };
let folder: LabFolder;

beforeAll(async () => {
  folder = await LabFolder.make('machines: { vm1: { engine: uml }, vm2: { engine: uml } }\n');
});

afterAll(() => folder.dispose(), changeLimitMs);

async function expectSuccess(args: readonly string[]): Promise<string> {
  const exit = await folder.run(args);
  expect(exit, exit.stderr).toMatchObject({ status: 0, stderr: '' });
  return exit.stdout;
}

async function machines(): Promise<LabStatus['machines']> {
  return (JSON.parse(await expectSuccess(['status', '--json'])) as LabStatus).machines;
}

const pidOf = (machine: LabStatus['machines'][number] | undefined) =>
  (machine as { pid: number }).pid;

/** The host of a machine and everything the guest is, by the words they were started with. */
function processesOf(machine: string): string[] {
  return folder.leftovers().filter((words) => words.includes(`umid=${machine} `));
}

test('up makes them ready, and they answer each other and move data', {
  timeout: changeLimitMs,
}, async () => {
  expect(await expectSuccess(['up'])).toMatch(/vm1: ready/);
  expect(await machines()).toMatchObject([
    { name: 'vm1', state: 'running', engine: 'uml' },
    { name: 'vm2', state: 'running', engine: 'uml' },
  ]);
  expect(await expectSuccess(['ping'])).toMatch(/^vm1 +- +\d+\.\d\d ms$/m);
  expect(await expectSuccess(['iperf', 'vm1', 'vm2', '--seconds', '1'])).toMatch(/MB arrived/);
});

test('the card has the MAC and the address that status shows', async () => {
  const [vm1] = await machines();
  const shown = await expectSuccess(['exec', 'vm1', '--', 'ip', 'addr', 'show', 'net1']);
  expect(shown).toContain(vm1!.mac);
  expect(shown).toContain(vm1!.addresses[0]);
});

test('exec gives arguments and bytes as they are, keeps outputs apart, and ends as the program did', async () => {
  const odd = ["it's", 'two words', '$HOME', '*', '', 'a\nb'];
  const argument = await folder.run(['exec', 'vm1', '--', 'printf', '<%s>', ...odd]);
  expect(argument).toMatchObject({ status: 0, stdout: `<it's><two words><$HOME><*><><a\nb>` });
  const bytes = Array.from({ length: 20_000 }, (_, i) => String.fromCharCode(32 + (i % 90))).join(
    '',
  );
  const input = await folder.run(['exec', 'vm1', 'cat'], { input: bytes });
  expect(input).toMatchObject({ status: 0, stdout: bytes });
  const failing = await folder.run(['exec', 'vm1', '--', 'sh', '-c', 'echo oh >&2; exit 42']);
  expect(failing).toMatchObject({ status: 42, stdout: '', stderr: 'oh' });
});

test('commands run side by side, show what they write as they go, and end with who asked', async () => {
  const following = folder.start(['exec', 'vm1', '--', 'sh', '-c', 'echo begun; sleep 3600']);
  await following.said('begun');
  const isRunning = async () => (await expectSuccess(['exec', 'vm1', 'ps'])).includes('sleep 3600');
  expect(await isRunning()).toBe(true);
  await following.stop('SIGKILL');
  await vi.waitFor(async () => expect(await isRunning()).toBe(false), soon);
});

test('ssh is refused with the ways that there are', async () => {
  const exit = await folder.run(['ssh', 'vm1']);
  expect(exit).toMatchObject({ status: 2, stdout: '' });
  expect(exit.stderr).toContain(
    'tsvswitch: vm1 is User-mode Linux, which has no ssh; use `tsvswitch lab exec vm1 -- COMMAND` or `tsvswitch lab console vm1`',
  );
});

test('console is a terminal on the machine, and logs has what it showed', async () => {
  const visitor = folder.startInTerminal(['console', 'vm2']);
  await visitor.said('Ctrl-] leaves it');
  visitor.type('\recho $((6 * 7))-$(hostname)\r');
  await visitor.said('42-vm2');
  visitor.type('\x1d');
  expect(await visitor.exited).toMatchObject({ status: 0 });
  expect(await expectSuccess(['logs', 'vm2'])).toContain('42-vm2');
});

test('restart and a reboot from inside bring it back, and leave the other alone', {
  timeout: changeLimitMs,
}, async () => {
  const [before1, before2] = await machines();
  await expectSuccess(['restart', 'vm1']);
  const [after1, after2] = await machines();
  expect(pidOf(after1)).not.toBe(pidOf(before1));
  expect(pidOf(after2)).toBe(pidOf(before2));
  const boot = () => expectSuccess(['exec', 'vm2', 'cat', '/proc/sys/kernel/random/boot_id']);
  const first = await boot();
  await folder.run(['exec', 'vm2', '--', 'reboot', '-f']);
  await vi.waitFor(async () => expect(await boot()).not.toBe(first), soon);
  await vi.waitFor(() => expectSuccess(['ping']), soon);
  expect(pidOf((await machines())[1])).toBe(pidOf(before2));
});

test('one that was switched off from inside has stopped, one whose host was killed has crashed', {
  timeout: changeLimitMs,
}, async () => {
  const [vm1] = await machines();
  await folder.run(['exec', 'vm2', '--', 'poweroff', '-f']);
  process.kill(pidOf(vm1), 'SIGKILL');
  await vi.waitFor(
    async () =>
      expect(await machines()).toMatchObject([
        { state: 'crashed', log: expect.stringContaining('User-mode Linux ended by itself') },
        { state: 'stopped' },
      ]),
    soon,
  );
  // Nobody is left to talk to it: it powers itself off.
  await vi.waitFor(() => expect(processesOf('vm1')).toEqual([]), soon);
  expect(processesOf('vm2')).toEqual([]);
});

test('up starts them again, on a new switch too, to which this driver does not come back', {
  timeout: changeLimitMs,
}, async () => {
  await expectSuccess(['up']);
  await expectSuccess(['ping']);
  const status = JSON.parse(await expectSuccess(['status', '--json'])) as LabStatus;
  process.kill((status.switch as unknown as { pid: number }).pid, 'SIGKILL');
  await vi.waitFor(async () => {
    expect(JSON.parse(await expectSuccess(['status', '--json'])).switch.state).toBe('crashed');
  }, soon);
  await expectSuccess(['up']);
  await expectSuccess(['ping']);
});

test('down --destroy leaves no process, socket or log, also of one whose guest hangs', {
  timeout: changeLimitMs,
}, async () => {
  const [vm1] = await machines();
  // The first child of the host is the kernel; stopped, it can neither hear nor end.
  const children = readFileSync(`/proc/${pidOf(vm1)}/task/${pidOf(vm1)}/children`, 'utf8');
  process.kill(Number(children.split(' ')[0]), 'SIGSTOP');
  expect(processesOf('vm1').length).toBeGreaterThan(2);
  await expectSuccess(['down', '--destroy']);
  expect(folder.leftovers()).toEqual([]);
  expect(existsSync(folder.environment.XDG_STATE_HOME!)).toBe(true);
});
