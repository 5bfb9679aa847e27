/** engines.ts: what is lacking is found out before anything is started, and said. */

import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { labEngines } from '../../src/lab/engines.ts';
import { qemuProgram } from '../../src/machine/qemu.ts';
import { parseQemuVersion } from '../../src/machine/qemu-version.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'host-'));
});

afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

test('this host can run a small machine', { timeout: 180_000 }, async () => {
  const { qemu, uml } = await labEngines([{ engine: 'qemu', memoryMiB: 64 }], 0);
  expect(['kvm', 'tcg']).toContain(qemu!.accelerator);
  expect(['memfd', 'hugepages']).toContain(qemu!.memory.type);
  expect(uml).toBeUndefined();
});

test('without QEMU it names the package', async () => {
  vi.stubEnv('PATH', folder);
  await expect(labEngines([{ engine: 'qemu', memoryMiB: 64 }], 0)).rejects.toMatchObject({
    code: 'PROGRAM_MISSING',
    message: expect.stringContaining('apt-get install qemu-system-x86'),
  });
});

test('machines that are User-mode Linux need no QEMU, but that, and room for their memory', {
  timeout: 180_000,
}, async () => {
  const { qemu, uml } = await labEngines([{ engine: 'uml', memoryMiB: 64 }], 0);
  expect(qemu).toBeUndefined();
  expect(uml!.guest.kernel.name).toMatch(/^User-mode Linux \d/);
  await expect(labEngines([{ engine: 'uml', memoryMiB: 2 ** 30 }], 0)).rejects.toMatchObject({
    code: 'MEMORY_SHORT',
    message: expect.stringMatching(/needs 1073741824 MiB, and there are \d+ MiB in \/dev\/shm/),
  });
  vi.stubEnv('PATH', folder);
  await expect(labEngines([{ engine: 'uml', memoryMiB: 64 }], 0)).rejects.toMatchObject({
    code: 'PROGRAM_MISSING',
    message: expect.stringContaining('apt-get install user-mode-linux'),
  });
});

test('a QEMU that is too old is refused with its version', async () => {
  const program = join(folder, qemuProgram);
  writeFileSync(program, '#!/bin/sh\necho "QEMU emulator version 4.2.1 (Debian 1:4.2-3ubuntu6)"\n');
  chmodSync(program, 0o755);
  vi.stubEnv('PATH', `${folder}${delimiter}${process.env.PATH}`);
  await expect(labEngines([{ engine: 'qemu', memoryMiB: 64 }], 0)).rejects.toMatchObject({
    code: 'PROGRAM_TOO_OLD',
    message: `${qemuProgram} is of version 4.2; a lab needs 6.2 or later`,
  });
});

test.each([
  ['QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)', [7, 2]],
  ['QEMU emulator version 10.0.2', [10, 0]],
  ['QEMU emulator version 6.2.0', [6, 2]],
])('%s is new enough', (text, version) => {
  expect(parseQemuVersion(text)).toEqual(version);
});

test('what says no version is no QEMU', () => {
  expect(() => parseQemuVersion('hello')).toThrow('is of version "hello"');
});

test('more memory than there is is refused with both numbers', { timeout: 180_000 }, async () => {
  const large = { engine: 'qemu', memoryMiB: 2 ** 30 } as const;
  await expect(labEngines([large, large], 0)).rejects.toMatchObject({
    code: 'MEMORY_SHORT',
    message: expect.stringMatching(/need 2147483776 MiB of memory and \d+ MiB are available/),
  });
});
