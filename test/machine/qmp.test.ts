/** qmp.ts with a real QEMU that has no machine to speak of. */

import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { qemuProgram } from '../../src/machine/qemu.ts';
import { Qmp, type QmpEvent } from '../../src/machine/qmp.ts';

let folder: string;
let socket: string;
let qemu: ReturnType<typeof start>;

function start() {
  const monitor = `unix:${socket},server=on,wait=off`;
  return execa(
    qemuProgram,
    ['-nodefaults', '-display', 'none', '-machine', 'q35', '-S', '-qmp', monitor],
    { reject: false, timeout: 120_000, killSignal: 'SIGKILL' },
  );
}

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'qmp-'));
  socket = join(folder, 'qmp');
  qemu = start();
  await expect.poll(() => existsSync(socket)).toBe(true);
});

afterEach(async () => {
  qemu.kill('SIGKILL');
  await qemu;
  rmSync(folder, { recursive: true, force: true });
});

/** Of /proc: T is a process that was stopped. */
function stateOf(pid: number): string {
  return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]![0]!;
}

test('commands are answered, each with its own answer, and refusals are in the words of QEMU', async () => {
  const qmp = await Qmp.connect('vm1', socket);
  const [status, version] = await Promise.all([
    qmp.command('query-status'),
    qmp.command('query-version'),
  ]);
  expect(status).toMatchObject({ status: 'prelaunch' });
  expect(version).toHaveProperty('qemu.major');
  await expect(qmp.command('no-such-command')).rejects.toMatchObject({
    code: 'MACHINE_FAILED',
    message: 'vm1: QEMU refused: The command no-such-command has not been found',
  });
  qmp.close();
});

test('what happens to the machine is an event, and its end is told to whoever waits', async () => {
  const qmp = await Qmp.connect('vm1', socket);
  const events: QmpEvent[] = [];
  qmp.on('event', (event) => events.push(event));
  const closed = new Promise<void>((resolve) => qmp.once('close', resolve));
  await qmp.command('system_reset');
  await qmp.command('quit');
  await closed;
  expect(events.map(({ name }) => name)).toEqual(['RESET', 'SHUTDOWN']);
  expect(events[1]!.data).toMatchObject({ guest: false, reason: 'host-qmp-quit' });
  await expect(qmp.command('query-status')).rejects.toThrow('vm1: QEMU has ended');
});

test('an answer that does not come because QEMU is killed is an error', async () => {
  const qmp = await Qmp.connect('vm1', socket);
  qemu.kill('SIGSTOP');
  await expect.poll(() => stateOf(qemu.pid!)).toBe('T');
  const waiting = qmp.command('query-status');
  qemu.kill('SIGKILL');
  await expect(waiting).rejects.toMatchObject({ code: 'MACHINE_FAILED' });
  await expect(Qmp.connect('vm1', socket)).rejects.toMatchObject({ code: 'MACHINE_FAILED' });
});
