/** disk.ts with real images: a disk goes with the image it was made from, and with no other. */

import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { imageOfDisk, openDisks } from '../../src/lab/disk.ts';
import { type LabPlan, type MachinePlan, planOf } from '../../src/lab/file/plan.ts';
import { baseImage } from '../../src/lab/image/image.ts';
import { LabState, type MachineFiles } from '../../src/lab/state.ts';

const mebibyte = 2 ** 20;
let folder: string;
let files: MachineFiles;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'disk-'));
  for (const name of ['base.img', 'other.img']) {
    await execa('qemu-img', ['create', '-f', 'qcow2', join(folder, name), '8M']);
  }
  files = new LabState(plan({}), { XDG_STATE_HOME: folder, XDG_RUNTIME_DIR: folder }).filesOf(
    'vm1',
  );
  mkdirSync(files.folder, { recursive: true });
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

function plan(machine: object): LabPlan {
  const machines = { vm1: { image: './base.img', ...machine } };
  return planOf({ name: 'disks', machines }, { file: join(folder, 'lab.yaml') });
}

function machine(changes: object = {}): MachinePlan {
  return plan(changes).machines[0]!;
}

/** As a start does it. */
async function opened(planned: MachinePlan): Promise<string[]> {
  const image = imageOfDisk(planned, files) ?? (await baseImage(planned.image));
  return (await openDisks(planned, image, files)).map(({ path }) => path);
}

async function bytesOf(path: string): Promise<number> {
  const { stdout } = await execa('qemu-img', ['info', '--output=json', path]);
  return JSON.parse(stdout)['virtual-size'];
}

test('a disk is made once, and grown when more is asked for', async () => {
  const paths = await opened(machine({ disk: '16M', disks: ['1M'] }));
  expect(paths).toEqual([files.disk, join(files.folder, 'disk1.qcow2')]);
  expect(await Promise.all(paths.map(bytesOf))).toEqual([16 * mebibyte, mebibyte]);
  await execa('qemu-io', ['-c', 'write -P 7 15M 64k', files.disk]);

  const more = await opened(machine({ disk: '32M', disks: ['2M', '1M'] }));
  expect(await Promise.all(more.map(bytesOf))).toEqual([32, 2, 1].map((size) => size * mebibyte));
  const { stdout } = await execa('qemu-io', ['-c', 'read -P 7 15M 64k', files.disk]);
  expect(stdout).not.toContain('verification failed');
  await expect(opened(machine({ disk: '16M' }))).rejects.toMatchObject({
    code: expect.any(String),
  });
  expect(await bytesOf(files.disk)).toBe(32 * mebibyte);
});

test('a disk of one image is not given to a machine of another one', async () => {
  await opened(machine());
  await expect(opened(machine({ image: './other.img' }))).rejects.toMatchObject({
    code: 'DISK_EXISTS',
    message: expect.stringMatching(/base\.img, not from .*other\.img; .*lab remove vm1/),
  });
  expect(existsSync(files.disk)).toBe(true);
});

test('a disk whose image was replaced or removed is refused before QEMU reads nonsense', async () => {
  await opened(machine());
  copyFileSync(join(folder, 'other.img'), join(folder, 'base.img'));
  await expect(opened(machine())).rejects.toMatchObject({ code: 'IMAGE_REFUSED' });
  rmSync(join(folder, 'base.img'));
  await expect(opened(machine())).rejects.toThrow('base.img, which its disk is on top of');
});

test('a tiny machine has no disk but those it asks for', async () => {
  const tiny = planOf({ machines: { vm1: {} } }, { file: join(folder, 'lab.yaml') }).machines[0]!;
  expect(await opened(tiny)).toEqual([]);
});
