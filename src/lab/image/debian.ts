/**
 * Builds `builtin:debian`: a disk, and the kernel and initrd that QEMU boots it with.
 *
 *   mmdebstrap ──► root.tar ──► mke2fs -d ──► disk.raw ──► qemu-img convert ──► disk.qcow2
 *                      └──► vmlinuz, modules, busybox ──► initrd
 *
 * The disk is one file system without partitions or boot loader, so that neither loop devices nor
 * mounts are needed. It works as root and as an ordinary user: mmdebstrap then uses a user
 * namespace, and fakeroot remembers owners while the file system is filled. Packages come from
 * where this host's apt gets Debian's, or from the mirror mmdebstrap chooses on a host that is not
 * Debian.
 *
 * What is in it is debian-recipe.ts's; it is kept in the cache folder under a hash of that.
 *
 * Source: mmdebstrap(1), mke2fs(8).
 */

import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { cachedFolder } from '../../machine/cache.ts';
import type { DirectBoot } from '../../machine/qemu.ts';
import { failure, type TsvswitchError } from '../../model/errors.ts';
import { type CpioEntry, cpioArchive } from '../../tiny/cpio.ts';
import { modulesFolder, takeModules } from '../../tiny/kernel.ts';
import * as recipe from './debian-recipe.ts';
import { type DiskImage, inspectImage, qemuImg } from './qemu-img.ts';
import type { ImageOptions } from './source.ts';

/** Where the host has no Debian to follow. */
const defaultSuite = 'bookworm';

/** Of the package debian-archive-keyring, which every Debian has. */
const archiveKeys = '/usr/share/keyrings/debian-archive-keyring.gpg';

/** Debian keeps mke2fs and chroot where an ordinary user's PATH does not lead. */
const environment = { PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
const isRoot = process.getuid?.() === 0;

/**
 * How mmdebstrap's lines of progress begin, in our words, and which part of the whole is done by
 * then.
 */
const phases = [
  ['I: running apt-get update', 'reading package lists', 0],
  ['I: downloading packages', 'downloading packages', 0.02],
  ['I: extracting archives', 'unpacking essential packages', 0.05],
  ['I: installing essential', 'installing essential packages', 0.2],
  ['I: installing remaining', 'installing packages', 0.35],
  ['I: creating tarball', 'packing', 0.8],
] as const;

/** The image, built if it is not there. */
export async function debianImage(
  options: ImageOptions,
): Promise<DiskImage & { readonly boot: DirectBoot }> {
  const suite = await debianSuite();
  const version = createHash('sha256')
    .update(JSON.stringify(recipe.all))
    .digest('hex')
    .slice(0, 16);
  const folder = await cachedFolder(
    `debian-${suite}-${version}`,
    (into) => build(suite, into, options),
    {
      signal: options.signal,
      waiting: () => options.progress?.({ phase: 'waiting for another process that builds it' }),
    },
  );
  return {
    ...(await inspectImage(join(folder, 'disk.qcow2'))),
    boot: {
      kernel: join(folder, 'vmlinuz'),
      initrd: join(folder, 'initrd'),
      commandLine: recipe.kernelCommandLine,
    },
  };
}

/** The code name of this host's Debian. */
async function debianSuite(): Promise<string> {
  const release = await readFile('/etc/os-release', 'utf8').catch(() => '');
  const name = /^VERSION_CODENAME=(\w+)$/m.exec(release)?.[1];
  return name !== undefined && /^ID=debian$/m.test(release) ? name : defaultSuite;
}

/**
 * Lines of sources.list: where this host's apt gets the packages of `suite` and their updates. None
 * on a host that is not Debian.
 */
async function aptSources(suite: string): Promise<string[]> {
  const only = ['Created-By: Packages', 'Origin: Debian', 'Component: main'];
  const { stdout = '' } = await execa(
    'apt-get',
    ['indextargets', '--format', '$(RELEASE) $(REPO_URI)', ...only],
    { reject: false },
  );
  const options = existsSync(archiveKeys) ? `[signed-by=${archiveKeys}] ` : '';
  return stdout.split('\n').flatMap((line) => {
    const [name, uri] = line.split(' ');
    const wanted = name === suite || name?.startsWith(`${suite}-`);
    return wanted ? [`deb ${options}${uri} ${name} main\n`] : [];
  });
}

/** How this host's apt fetches: through which proxies, with which checks. */
async function fetchOptions(): Promise<string[]> {
  const { stdout } = await execa('apt-config', ['dump', 'Acquire'], { reject: false });
  const wanted =
    /^Acquire::(https?|Check-Valid-Until|Check-Date|Retries|ForceIPv[46])\b.* "..*";$/i;
  return (stdout ?? '').split('\n').filter((line) => wanted.test(line));
}

async function build(
  suite: string,
  folder: string,
  { progress = () => {}, signal }: ImageOptions,
): Promise<void> {
  const archive = join(folder, 'root.tar');
  const raw = join(folder, 'disk.raw');
  const disk = join(folder, 'disk.qcow2');
  await bootstrap(suite, archive, progress, signal);
  progress({ phase: 'making the initrd', fraction: 0.86 });
  await makeBootFiles(archive, folder, signal);
  progress({ phase: 'making the file system', fraction: 0.88 });
  await makeFilesystem(archive, raw, signal);
  await rm(archive);
  progress({ phase: 'making the disk', fraction: 0.97 });
  await qemuImg(`image ${disk}`, ['convert', '-f', 'raw', '-O', 'qcow2', raw, disk]);
  await rm(raw);
}

/** Makes the archive of the installed system. */
async function bootstrap(
  suite: string,
  archive: string,
  progress: NonNullable<ImageOptions['progress']>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const sources = await aptSources(suite);
  const aptOptions = ['Acquire::Languages "none";', ...(await fetchOptions())];
  const args = [
    `--mode=${isRoot ? 'root' : 'unshare'}`,
    '--variant=apt',
    '--format=tar',
    `--include=${recipe.packages.join(',')}`,
    ...aptOptions.map((option) => `--aptopt=${option}`),
    ...recipe.dpkgOptions.map((option) => `--dpkgopt=${option}`),
    `--customize-hook=${recipe.customizeScript}`,
    ...[suite, archive],
    // Otherwise mmdebstrap chooses a mirror.
    ...(sources.length > 0 ? ['-'] : []),
  ];
  signal?.throwIfAborted();
  const child = execa('mmdebstrap', args, {
    input: sources.join(''),
    reject: false,
    // A group of its own, so that all of it can be told to end; it cleans up by itself.
    detached: true,
    // Debian's own initrd would take longer to make and to boot than the rest is worth.
    env: { ...environment, INITRD: 'No' },
  });
  const stop = () => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGTERM');
    } catch {
      // It has just ended.
    }
  };
  signal?.addEventListener('abort', stop);
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    const phase = phases.findLast(([words]) => text.includes(words));
    if (phase) progress({ phase: phase[1], fraction: phase[2] });
  });
  const result = await child;
  signal?.removeEventListener('abort', stop);
  signal?.throwIfAborted();
  if (!result.failed) return;
  const said = result.stderr?.split('\n').filter((line) => line.startsWith('E: ')) ?? [];
  const mending = isRoot
    ? 'is there a network, and does `apt-get update` work?'
    : 'is there a network, and does this user have ranges in /etc/subuid and /etc/subgid ' +
      '(package uidmap)? It also works as root';
  throw failed('mmdebstrap', result, `${said.slice(0, 3).join('\n')}\n${mending}`);
}

/** Makes kernel and initrd; the initrd finds the disk and hands over to the system on it. */
async function makeBootFiles(
  archive: string,
  folder: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const root = join(folder, 'root');
  await mkdir(root);
  const wanted = ['./boot/vmlinuz-*', './usr/lib/modules/*', './usr/bin/busybox'];
  await run('tar', ['-xf', archive, '-C', root, '--wildcards', ...wanted], signal);
  const [kernel] = await readdir(join(root, 'boot'));
  await rename(join(root, 'boot', kernel!), join(folder, 'vmlinuz'));
  const names = await takeModules(modulesFolder(root), root, recipe.modules);
  const entries: CpioEntry[] = [
    // The kernel opens it for init before devtmpfs is mounted.
    { type: 'character-device', path: 'dev/console', major: 5, minor: 1 },
    fileEntry('init', Buffer.from(recipe.initScript(names))),
    fileEntry('bin/busybox', await readFile(join(root, 'usr/bin/busybox'))),
    ...recipe.initApplets.map(
      (name) => ({ type: 'link', path: `bin/${name}`, target: 'busybox' }) as const,
    ),
  ];
  for (const name of names) {
    entries.push(fileEntry(`modules/${name}`, await readFile(join(root, name))));
  }
  await writeFile(join(folder, 'initrd'), cpioArchive(entries));
  await rm(root, { recursive: true });
}

function fileEntry(path: string, content: Buffer): CpioEntry {
  return { type: 'file', path, content, executable: true };
}

/** Makes the file system that holds what is in the archive. */
async function makeFilesystem(
  archive: string,
  disk: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const root = `${disk}.root`;
  await mkdir(root);
  const script = `
    tar -xf "$1" -C "$2" --numeric-owner --exclude='./dev/*' &&
    mke2fs -q -t ext4 -L "$3" -E lazy_itable_init=0,lazy_journal_init=0 -d "$2" "$4" "$5k"
  `;
  const size = String(recipe.filesystemBytes / 1024);
  const command = ['sh', '-c', script, 'sh', archive, root, recipe.filesystemLabel, disk, size];
  const [program, ...args] = isRoot ? command : ['fakeroot', '--', ...command];
  await run(program!, args, signal);
  await rm(root, { recursive: true });
}

async function run(
  program: string,
  args: readonly string[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const result = await execa(program, args, {
    reject: false,
    stdin: 'ignore',
    env: environment,
    ...(signal && { cancelSignal: signal }),
  });
  signal?.throwIfAborted();
  if (result.failed) throw failed(program, result, result.stderr);
}

interface FailedRun {
  readonly code?: string | undefined;
  readonly stderr?: string | undefined;
  readonly shortMessage?: string | undefined;
}

function failed(program: string, result: FailedRun, said: string | undefined): TsvswitchError {
  if (result.code === 'ENOENT') {
    return failure('program-missing', { program });
  }
  if (result.stderr?.includes('No space left on device')) {
    return failure('debian-disk-full');
  }
  return failure('debian-build-failed', {
    program,
    cause: said?.trim() || result.shortMessage || '',
  });
}
