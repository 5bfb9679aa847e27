/**
 * What qemu-img says of a disk image, and which images a machine may be made from.
 *
 * The format is found out here, once, and told to QEMU ever after, so that nothing a guest writes
 * into its disk can make QEMU take it for something else. Taken are raw disks and qcow2 files that
 * stand alone: one that names a backing or data file could name any file of this host.
 *
 * What it does not do: change an image.
 *
 * Source: qemu-img(1); QEMU qapi/block-core.json, ImageInfo.
 */

import { access, constants, open } from 'node:fs/promises';
import { execa } from 'execa';
import { failure } from '../../model/errors.ts';

export interface DiskImage {
  /** Absolute. */
  readonly path: string;
  readonly format: 'qcow2' | 'raw';
  /** What a guest sees as the size of its disk. */
  readonly virtualBytes: number;
}

/**
 * Looking at an image takes milliseconds, making one likewise: only a dead file system takes
 * longer.
 */
const limitMs = 60_000;

/** Runs qemu-img and returns what it prints; `about` is what its failure is a failure of. */
export async function qemuImg(about: string, args: readonly string[]): Promise<string> {
  const result = await execa('qemu-img', args, {
    reject: false,
    stdin: 'ignore',
    timeout: limitMs,
  });
  if (!result.failed) return result.stdout;
  if (result.code === 'ENOENT') {
    throw failure('qemu-img-missing');
  }
  const said = (result.stderr || result.shortMessage || '').replace(/^qemu-img: /, '').trim();
  if (said.includes('No space left on device')) {
    throw failure('disk-full', { about });
  }
  if (/unsupported .*feature/i.test(said)) {
    throw failure('image-too-new', { about, cause: said });
  }
  if (/Failed to get .* lock/.test(said)) {
    throw failure('image-open-elsewhere', { about });
  }
  throw failure('image-qemu-img-failed', { about, cause: said });
}

/** The fields of ImageInfo that are looked at. */
interface ImageInfo {
  readonly format: string;
  readonly 'virtual-size': number;
  readonly 'backing-filename'?: string;
  readonly encrypted?: boolean;
  readonly 'format-specific'?: { readonly data?: { readonly 'data-file'?: string } };
}

/** What the image at `path`, which is absolute, is; throws if no machine should be made from it. */
export async function inspectImage(path: string): Promise<DiskImage> {
  await access(path, constants.R_OK).catch((cause: NodeJS.ErrnoException) => {
    const why =
      cause.code === 'ENOENT' ? 'there is no such file' : `it cannot be read (${cause.code})`;
    throw failure('image-unreadable', { path, cause: why }, { cause });
  });
  const output = await qemuImg(`image ${path}`, ['info', '--output=json', path]);
  const info = JSON.parse(output) as ImageInfo;
  const { format } = info;
  if (format !== 'qcow2' && format !== 'raw') {
    throw failure('image-format', { path, format });
  }
  const backing = info['backing-filename'];
  if (backing !== undefined) {
    throw failure('image-is-difference', { path, backing });
  }
  const dataFile = info['format-specific']?.data?.['data-file'];
  if (dataFile !== undefined) {
    throw failure('image-data-elsewhere', { path, dataFile });
  }
  if (info.encrypted) throw failure('image-encrypted', { path });
  // Whatever is not known to qemu-img is a raw disk to it, so look what else it may be.
  if (format === 'raw') await checkRaw(path);
  return { path, format, virtualBytes: info['virtual-size'] };
}

const packed: readonly { readonly program: string; readonly magic: Buffer }[] = [
  { program: 'xz -d', magic: Buffer.from('fd377a585a00', 'hex') },
  { program: 'gzip -d', magic: Buffer.from('1f8b08', 'hex') },
  { program: 'zstd -d', magic: Buffer.from('28b52ffd', 'hex') },
  { program: 'bzip2 -d', magic: Buffer.from('BZh') },
  { program: 'unzip', magic: Buffer.from('PK\x03\x04') },
];

const sectorBytes = 512;

async function checkRaw(path: string): Promise<void> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    if (size === 0 || size % sectorBytes !== 0) {
      throw failure('image-no-sectors', { path, bytes: size });
    }
    const { buffer: head } = await file.read(Buffer.alloc(sectorBytes), 0, sectorBytes, 0);
    const found = packed.find(({ magic }) => head.subarray(0, magic.length).equals(magic));
    if (found) throw failure('image-packed', { path, program: found.program });
  } finally {
    await file.close();
  }
}
