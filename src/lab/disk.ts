/**
 * The disks of a machine, and what the first of them was made from.
 *
 * A disk holds only what differs from its image, so it means something on top of that image alone,
 * byte for byte. Beside it stands which image that was, written before the disk is made: a machine
 * that is started again needs no image to be found, downloaded or built, and one whose image has
 * been replaced or removed is refused instead of being given a disk of nonsense. Nothing here
 * removes a disk.
 */

import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { Drive } from '../machine/qemu.ts';
import { failure } from '../model/errors.ts';
import type { MachinePlan } from './file/plan.ts';
import type { BaseImage } from './image/image.ts';
import { makeDisk, makeOverlay } from './image/overlay.ts';
import { qemuImg } from './image/qemu-img.ts';
import type { ImageSource } from './image/source.ts';
import type { MachineFiles } from './state.ts';

/** What a disk was made from. */
interface Origin {
  readonly source: ImageSource;
  readonly image: BaseImage;
  /** Of the image's file, by which it is known again. */
  readonly stamp: string;
  /** The size that was last asked for. */
  readonly diskBytes?: number | undefined;
}

/** How an image is called by people. */
export function imageName(source: ImageSource): string {
  switch (source.type) {
    case 'tiny':
    case 'debian':
      return `builtin:${source.type}`;
    case 'file':
      return source.path;
    case 'url':
      return source.url;
  }
}

/**
 * The image of the disk that the machine has; undefined if it has none yet. Throws DISK_EXISTS if
 * it is of another image than the plan's, IMAGE_REFUSED if that image is not what it was.
 */
export function imageOfDisk(machine: MachinePlan, files: MachineFiles): BaseImage | undefined {
  const origin = originOf(files);
  if (origin === undefined) return undefined;
  const { name } = machine;
  const removal = `\`tsvswitch lab remove ${name}\` removes the disk`;
  const remedy = `${removal}, and the next \`up\` makes a new one`;
  if (!isDeepStrictEqual(origin.source, machine.image)) {
    throw failure('disk-of-other-image', {
      name,
      image: imageName(origin.source),
      wanted: imageName(machine.image),
      remedy,
    });
  }
  if (origin.image.type === 'disk' && stampOf(origin.image.path) !== origin.stamp) {
    throw failure('disk-image-changed', { name, path: origin.image.path, remedy });
  }
  return origin.image;
}

/** The disks of a machine, made or grown where they are not as planned. */
export async function openDisks(
  machine: MachinePlan,
  image: BaseImage,
  files: MachineFiles,
): Promise<Drive[]> {
  const drives: Drive[] = [];
  if (image.type === 'disk') {
    await openFirst(machine, image, files);
    drives.push({ path: files.disk, format: 'qcow2' });
  }
  for (const [index, { bytes }] of machine.disks.entries()) {
    const path = join(files.folder, `disk${index + 1}.qcow2`);
    await (existsSync(path) ? grow(path, bytes) : makeDisk(path, bytes));
    drives.push({ path, format: 'qcow2' });
  }
  return drives;
}

async function openFirst(
  { image: source, diskBytes }: MachinePlan,
  image: Extract<BaseImage, { type: 'disk' }>,
  files: MachineFiles,
): Promise<void> {
  const before = originOf(files);
  if (before !== undefined && before.diskBytes === diskBytes) return;
  const origin: Origin = { source, image, stamp: stampOf(image.path), diskBytes };
  if (before !== undefined) {
    if (diskBytes !== undefined) await grow(files.disk, diskBytes);
    writeFileSync(files.diskOrigin, JSON.stringify(origin), { mode: 0o600 });
    return;
  }
  writeFileSync(files.diskOrigin, JSON.stringify(origin), { mode: 0o600 });
  await makeOverlay(image, files.disk, diskBytes);
}

function originOf(files: MachineFiles): Origin | undefined {
  if (!existsSync(files.disk)) return undefined;
  return JSON.parse(readFileSync(files.diskOrigin, 'utf8')) as Origin;
}

/** Of the size it has already it stays as it is; qemu-img refuses to make it smaller. */
async function grow(path: string, bytes: number): Promise<void> {
  await qemuImg(`disk ${path}`, ['resize', '-q', path, String(bytes)]);
}

function stampOf(path: string): string {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat === undefined ? 'gone' : `${stat.ino} ${stat.size} ${stat.mtimeMs}`;
}
