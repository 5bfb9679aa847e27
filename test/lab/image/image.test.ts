/** image.ts and overlay.ts on images that qemu-img made, and on what is none. */

import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { baseImage } from '../../../src/lab/image/image.ts';
import { makeDisk, makeOverlay } from '../../../src/lab/image/overlay.ts';
import type { DiskImage } from '../../../src/lab/image/qemu-img.ts';

const mebibyte = 2 ** 20;
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'image-'));
});

afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

async function create(name: string, ...args: string[]): Promise<string> {
  const path = join(folder, name);
  await execa('qemu-img', ['create', '-q', ...args, path, '8M']);
  return path;
}

function file(path: string) {
  return baseImage({ type: 'file', path });
}

/** What an independent look at a disk finds. */
async function look(path: string): Promise<Record<string, unknown>> {
  return JSON.parse((await execa('qemu-img', ['info', '--output=json', path])).stdout);
}

describe('an image in a file', () => {
  test.each(['qcow2', 'raw'] as const)(
    'that is %s is known as that, with its size',
    async (format) => {
      const path = await create('image', '-f', format);
      expect(await file(path)).toEqual({ type: 'disk', path, format, virtualBytes: 8 * mebibyte });
    },
  );

  test.each(['vmdk', 'vdi', 'vpc'])(
    'that is %s is refused, with the command that converts it',
    async (format) => {
      const path = await create('image', '-f', format);
      await expect(file(path)).rejects.toMatchObject({
        code: 'IMAGE_REFUSED',
        message: expect.stringContaining(`qemu-img convert -O qcow2 ${path}`),
      });
    },
  );

  test('that names a backing file is refused', async () => {
    const path = await create('image', '-f', 'qcow2', '-u', '-F', 'raw', '-b', '/etc/passwd');
    await expect(file(path)).rejects.toMatchObject({
      code: 'IMAGE_REFUSED',
      message: expect.stringContaining('/etc/passwd'),
    });
  });

  test('that names a data file is refused', async () => {
    const data = join(folder, 'data');
    const path = await create('image', '-f', 'qcow2', '-o', `data_file=${data}`);
    await expect(file(path)).rejects.toMatchObject({
      code: 'IMAGE_REFUSED',
      message: expect.stringContaining(data),
    });
  });

  test('that is missing is an error that names it', async () => {
    const path = join(folder, 'none');
    await expect(file(path)).rejects.toMatchObject({
      code: 'IMAGE_UNAVAILABLE',
      message: expect.stringContaining(path),
    });
  });

  test.each([
    ['packed', gzipSync(Buffer.alloc(1 << 20)), 'gzip -d'],
    ['empty', Buffer.alloc(0), 'whole sectors'],
    ['a web page', Buffer.from('<html>not found</html>'), 'whole sectors'],
    [
      'a damaged qcow2',
      Buffer.concat([Buffer.from('QFI\xfb\0\0\0\x03', 'latin1'), Buffer.alloc(1016, 0xff)]),
      'image',
    ],
  ])('that is %s is refused', async (_, content, words) => {
    const path = join(folder, 'image');
    writeFileSync(
      path,
      Buffer.concat([
        content,
        content.length > 512 ? Buffer.alloc(-content.length & 511) : Buffer.alloc(0),
      ]),
    );
    await expect(file(path)).rejects.toMatchObject({
      code: 'IMAGE_REFUSED',
      message: expect.stringContaining(words),
    });
  });

  test('that is of a newer QEMU is refused, with what to install', async () => {
    const path = await create('image', '-f', 'qcow2');
    const bytes = readFileSync(path);
    // An incompatible feature nobody has defined (QEMU docs/interop/qcow2.txt, bytes 72 to 79).
    bytes[73] = 1;
    writeFileSync(path, bytes);
    await expect(file(path)).rejects.toMatchObject({
      code: 'IMAGE_REFUSED',
      message: expect.stringContaining('install a newer qemu-utils'),
    });
  });

  test('that a machine writes to is refused', async () => {
    const path = await create('image', '-f', 'qcow2');
    const machine = execa('qemu-system-x86_64', [
      ...['-machine', 'none', '-display', 'none', '-nodefaults', '-monitor', 'stdio'],
      ...['-drive', `if=none,id=disk,format=qcow2,file=${path}`],
    ]);
    await new Promise((resolve) => machine.stdout.once('data', resolve));
    await expect(file(path)).rejects.toMatchObject({
      code: 'IMAGE_REFUSED',
      message: expect.stringContaining('stop that machine'),
    });
    machine.stdin.end('quit\n');
    await machine;
  });
});

test('without qemu-img the package to install is named', async () => {
  const path = await create('image', '-f', 'qcow2');
  vi.stubEnv('PATH', folder);
  await expect(file(path)).rejects.toMatchObject({
    code: 'PROGRAM_MISSING',
    message: expect.stringContaining('qemu-utils'),
  });
});

describe('an overlay', () => {
  async function base(format: 'qcow2' | 'raw' = 'qcow2'): Promise<DiskImage> {
    const image = await file(await create('base', '-f', format));
    if (image.type !== 'disk') throw new Error('a file is a disk');
    return image;
  }

  test.each(['qcow2', 'raw'] as const)(
    'of a %s image has the size asked for and names its base with the format',
    async (format) => {
      const image = await base(format);
      const path = join(folder, 'overlay');
      await makeOverlay(image, path, 1024 * mebibyte);
      expect(await look(path)).toMatchObject({
        format: 'qcow2',
        'virtual-size': 1024 * mebibyte,
        'backing-filename': image.path,
        'backing-filename-format': format,
      });
    },
  );

  test('has the size of its base unless another is asked for', async () => {
    const path = join(folder, 'overlay');
    await makeOverlay(await base(), path, undefined);
    expect(await look(path)).toMatchObject({ 'virtual-size': 8 * mebibyte });
  });

  test('may not be smaller than its base', async () => {
    const path = join(folder, 'overlay');
    await expect(makeOverlay(await base(), path, 7 * mebibyte)).rejects.toMatchObject({
      code: 'BAD_OPTION',
      message: expect.stringMatching(/7 MiB .* 8 MiB/),
    });
    expect(existsSync(path)).toBe(false);
  });

  test('takes what is written, and its base nothing', async () => {
    const image = await base();
    const before = readFileSync(image.path);
    const path = join(folder, 'overlay');
    await makeOverlay(image, path, undefined);
    await execa('qemu-io', ['-f', 'qcow2', '-c', 'write -P 1 0 1M', path]);
    await execa('qemu-io', ['-f', 'qcow2', '-c', 'read -P 1 0 1M', path]);
    expect(readFileSync(image.path).equals(before)).toBe(true);
  });

  test('does not take the place of a file that is there', async () => {
    const path = join(folder, 'overlay');
    writeFileSync(path, 'precious');
    await expect(makeOverlay(await base(), path, undefined)).rejects.toMatchObject({
      code: 'DISK_EXISTS',
    });
    expect(readFileSync(path, 'utf8')).toBe('precious');
  });

  test('that cannot be made leaves nothing', async () => {
    const image = await base();
    rmSync(image.path);
    await expect(makeOverlay(image, join(folder, 'overlay'), undefined)).rejects.toMatchObject({
      code: 'IMAGE_REFUSED',
    });
    expect(readdirSync(folder)).toEqual([]);
  });
});

test('an empty disk has the size asked for', async () => {
  const path = join(folder, 'disk');
  await makeDisk(path, 5 * mebibyte);
  expect(await look(path)).toMatchObject({ format: 'qcow2', 'virtual-size': 5 * mebibyte });
});
