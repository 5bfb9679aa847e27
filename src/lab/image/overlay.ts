/**
 * The disks of a machine: what differs from its base image, and empty ones.
 *
 * The base is only ever read. Its format is written into the overlay, so QEMU does not guess it. A
 * disk appears under its name when it is whole, and one that is there is not touched.
 *
 * What it does not do: decide where disks are, or remove them.
 */

import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { failure } from '../../model/errors.ts';
import { type DiskImage, qemuImg } from './qemu-img.ts';

/** Makes the disk `path` on top of `base`, of `bytes`, or of the base's size if undefined. */
export async function makeOverlay(
  base: DiskImage,
  path: string,
  bytes: number | undefined,
): Promise<void> {
  if (bytes !== undefined && bytes < base.virtualBytes) {
    throw failure('disk-below-image', {
      path,
      bytes: sizeText(bytes),
      image: base.path,
      imageBytes: sizeText(base.virtualBytes),
    });
  }
  const backing = ['-F', base.format, '-b', base.path];
  await makeQcow2(path, backing, bytes ?? base.virtualBytes);
}

/** Makes the empty disk `path`. */
export async function makeDisk(path: string, bytes: number): Promise<void> {
  await makeQcow2(path, [], bytes);
}

async function makeQcow2(path: string, backing: readonly string[], bytes: number): Promise<void> {
  if (existsSync(path)) {
    throw failure('disk-exists', { path });
  }
  const partial = `${path}.${randomBytes(6).toString('hex')}.partial`;
  try {
    const args = ['create', '-q', '-f', 'qcow2', ...backing, partial, String(bytes)];
    await qemuImg(`disk ${path}`, args);
    await rename(partial, path);
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
}

/** 3221225472 as 3 GiB, 1000 as 1000 bytes: never rounded. */
function sizeText(bytes: number): string {
  const [unit, size] = (
    [
      ['GiB', 2 ** 30],
      ['MiB', 2 ** 20],
    ] as const
  ).find(([, size]) => bytes % size === 0) ?? ['bytes', 1];
  return `${bytes / size} ${unit}`;
}
