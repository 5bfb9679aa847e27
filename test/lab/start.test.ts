/** start.ts: how long a machine's QEMU is waited for that runs, and yet does not begin. */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { planOf } from '../../src/lab/file/plan.ts';
import { monitorOpen } from '../../src/lab/start.ts';
import { LabState, type MachineFiles } from '../../src/lab/state.ts';
import { end, type ProcessRecord, startDetached } from '../../src/machine/detached-process.ts';

let folder: string;
let files: MachineFiles;
let running: ProcessRecord;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'start-'));
  const plan = planOf({ machines: { vm1: {} } }, { file: join(folder, 'lab.yaml') });
  const environment = { XDG_STATE_HOME: folder, XDG_RUNTIME_DIR: folder };
  files = new LabState(plan, environment).filesOf('vm1');
  for (const file of [files.qemuLog, files.qmpSocket]) {
    mkdirSync(dirname(file), { recursive: true });
  }
  running = await startDetached('sleep', ['600'], { log: files.qemuLog, folder, mark: folder });
});

afterEach(async () => {
  await end(running);
  rmSync(folder, { recursive: true });
});

test('a QEMU without a monitor is given up after a while, with the way to mend it', async () => {
  await expect(monitorOpen('vm1', files, running, 0)).rejects.toMatchObject({
    code: 'MACHINE_FAILED',
    message:
      `vm1: QEMU, process ${running.pid}, has not opened its monitor within 0 s; ` +
      `look into ${files.qemuLog}, then \`tsvswitch lab restart vm1\``,
  });
});

test('one that has opened it is not, however late', async () => {
  writeFileSync(files.qmpSocket, '');
  await monitorOpen('vm1', files, running, 0);
});

test('one that ends is not waited for', async () => {
  await end(running);
  await expect(monitorOpen('vm1', files, running, 60_000)).rejects.toThrow(/^vm1: QEMU ended/);
});
