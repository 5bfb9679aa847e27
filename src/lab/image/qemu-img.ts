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
import { TsvswitchError } from '../../model/errors.ts';

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
    throw new TsvswitchError(
      'PROGRAM_MISSING',
      'qemu-img is not installed; run `apt-get install qemu-utils` as root',
    );
  }
  const said = (result.stderr || result.shortMessage || '').replace(/^qemu-img: /, '').trim();
  if (said.includes('No space left on device')) {
    throw new TsvswitchError('DISK_FULL', `${about}: the file system is full; make room on it`);
  }
  if (/unsupported .*feature/i.test(said)) {
    throw new TsvswitchError(
      'IMAGE_REFUSED',
      `${about}: it was made for a newer QEMU than the one here (${said}); install a newer ` +
        'qemu-utils',
    );
  }
  if (/Failed to get .* lock/.test(said)) {
    throw new TsvswitchError(
      'IMAGE_REFUSED',
      `${about}: another process has it open for writing; stop that machine, or use a copy of ` +
        'the image',
    );
  }
  throw new TsvswitchError('IMAGE_REFUSED', `${about}: ${said}`);
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
    throw new TsvswitchError('IMAGE_UNAVAILABLE', `image ${path}: ${why}`, { cause });
  });
  const output = await qemuImg(`image ${path}`, ['info', '--output=json', path]);
  const info = JSON.parse(output) as ImageInfo;
  const { format } = info;
  if (format !== 'qcow2' && format !== 'raw') {
    throw refused(path, `its format is ${format}, not qcow2 or raw; ${convert(path)}`);
  }
  const backing = info['backing-filename'];
  if (backing !== undefined) {
    throw refused(path, `it is only what differs from ${backing}; ${convert(path)}`);
  }
  const dataFile = info['format-specific']?.data?.['data-file'];
  if (dataFile !== undefined) {
    throw refused(path, `its data is in another file, ${dataFile}; ${convert(path)}`);
  }
  if (info.encrypted) throw refused(path, `it is encrypted; ${convert(path)}`);
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
      throw refused(
        path,
        `${size} bytes are no raw disk: it would have whole sectors of 512 bytes`,
      );
    }
    const { buffer: head } = await file.read(Buffer.alloc(sectorBytes), 0, sectorBytes, 0);
    const found = packed.find(({ magic }) => head.subarray(0, magic.length).equals(magic));
    if (found) throw refused(path, `it is packed; unpack it with \`${found.program}\``);
  } finally {
    await file.close();
  }
}

function refused(path: string, why: string): TsvswitchError {
  return new TsvswitchError('IMAGE_REFUSED', `image ${path}: ${why}`);
}

function convert(path: string): string {
  return `make one with \`qemu-img convert -O qcow2 ${path} NEW.qcow2\``;
}
