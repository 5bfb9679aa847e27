/** lab.ts with machines that cannot be: what is said, and that nothing else is concerned. */

import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Lab, type LabDefinition } from '../../src/lab/lab.ts';

const limitMs = 600_000;
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lab-'));
  vi.stubEnv('XDG_STATE_HOME', join(folder, 'state'));
  vi.stubEnv('XDG_RUNTIME_DIR', join(folder, 'run'));
});

afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

function open(machines: LabDefinition['machines'], control?: string): Promise<Lab> {
  const attached = control === undefined ? {} : { switch: { attach: control } };
  return Lab.open(
    { name: 'refused', machines, ...attached },
    { command: resolve('dist/cli/main.js') },
  );
}

test('QEMU that refuses its arguments is quoted, and the other machine gets ready', {
  timeout: limitMs,
}, async () => {
  await using lab = await open({ good: {}, bad: { qemuArguments: ['-device', 'no-such-device'] } });
  await expect(lab.up()).rejects.toMatchObject({
    code: 'MACHINE_FAILED',
    message: expect.stringMatching(/^bad: QEMU ended[\s\S]*'no-such-device' is not a valid device/),
  });
  const { machines } = await lab.status();
  expect(machines).toMatchObject([
    { name: 'good', state: 'running' },
    { name: 'bad', state: 'crashed', log: expect.stringContaining('no-such-device') },
  ]);
});

test('an ssh port that somebody listens on is refused before the machine starts', {
  timeout: limitMs,
}, async () => {
  const server = createServer();
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  await using lab = await open({ vm1: { sshPort: port } });
  await expect(lab.up()).rejects.toMatchObject({
    code: 'LAB_PORT_TAKEN',
    message: expect.stringContaining(`vm1: port ${port} of 127.0.0.1 is taken`),
  });
  expect((await lab.status()).machines[0]!.state).toBe('stopped');
  server.close();
});

test('a switch to attach to that is not there is named', async () => {
  await using lab = await open({ vm1: {} }, join(folder, 'control'));
  await expect(lab.up()).rejects.toMatchObject({
    code: 'CONTROL_UNREACHABLE',
    message: expect.stringContaining(join(folder, 'control')),
  });
  expect(await lab.status()).toMatchObject({ switch: { type: 'attach', state: 'stopped' } });
});
