/**
 * The kernel of the tiny guest: the distribution's own package, unpacked into the cache folder.
 *
 * The package is downloaded with apt-get as any user and unpacked with dpkg-deb; it is not
 * installed, and nothing outside the cache folder changes. Kept of it are the kernel image and the
 * few modules the guest loads. A kernel that is in the cache is used as it is, without asking apt:
 * a lab comes up without a network, and does not change under its user.
 *
 * What it does not do: run on a system without apt, or build a kernel.
 */

import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { cachedFolder, cacheFolder } from '../machine/cache.ts';
import { failure } from '../model/errors.ts';

export interface GuestKernel {
  /** Package and version, such as linux-image-6.1.0-56-cloud-amd64_6.1.192-2. */
  readonly name: string;
  /** The bzImage. */
  readonly image: string;
  /** Uncompressed modules in the order they are to be loaded. */
  readonly modules: readonly string[];
}

/** What the guest's network card and its control port need, in the order of the dependencies. */
const moduleOrder = [
  'virtio_ring',
  'virtio',
  'virtio_pci_modern_dev',
  'virtio_pci_legacy_dev',
  'virtio_pci',
  'failover',
  'net_failover',
  'virtio_net',
  'virtio_console',
] as const;

/**
 * The packages that stand for "the newest kernel for a virtual machine": Debian's, then Ubuntu's.
 */
const metaPackages = ['linux-image-cloud-amd64', 'linux-image-virtual'] as const;

/** With the modules in the name: a cache of other ones is another entry. */
const modulesHash = createHash('sha256').update(moduleOrder.join()).digest('hex');
const entryPrefix = `kernel-${modulesHash.slice(0, 8)}-`;

export async function guestKernel(): Promise<GuestKernel> {
  const cached = await cachedGuestKernel();
  if (cached !== undefined) return cached;
  const packages = await kernelPackages();
  const name = packages.map(({ file }) => file)[0]!;
  const folder = await cachedFolder(`${entryPrefix}${name}`, (into) => unpack(packages, into));
  return loadKernel(folder);
}

/** The newest kernel in the cache, or undefined; downloads nothing. */
export async function cachedGuestKernel(): Promise<GuestKernel | undefined> {
  const root = cacheFolder();
  const names = existsSync(root) ? await readdir(root) : [];
  const folders = names
    .filter((name) => name.startsWith(entryPrefix) && !name.endsWith('.partial'))
    .map((name) => join(root, name));
  const dated = await Promise.all(
    folders.map(async (folder) => ({ folder, madeMs: (await stat(folder)).mtimeMs })),
  );
  const newest = dated.sort((a, b) => b.madeMs - a.madeMs)[0];
  return newest && loadKernel(newest.folder);
}

async function loadKernel(folder: string): Promise<GuestKernel> {
  const order = await readFile(join(folder, 'modules'), 'utf8');
  return {
    name: basename(folder).slice(entryPrefix.length),
    image: join(folder, 'vmlinuz'),
    modules: order.split('\n').flatMap((name) => (name === '' ? [] : [join(folder, name)])),
  };
}

interface KernelPackage {
  readonly name: string;
  /** Package and version as one file name. */
  readonly file: string;
}

/**
 * The package with the kernel image first, then the ones with its modules where those are apart.
 */
async function kernelPackages(): Promise<KernelPackage[]> {
  for (const meta of metaPackages) {
    const image = (await dependencies(meta)).find((name) => /^linux-image-\d/.test(name));
    if (image === undefined) continue;
    const modules = (await dependencies(image)).filter((name) => /^linux-modules-\d/.test(name));
    return Promise.all([image, ...modules].map(withVersion));
  }
  throw failure('kernel-packages-unknown', { packages: metaPackages.join(', ') });
}

async function dependencies(name: string): Promise<string[]> {
  const { execa } = await import('execa');
  const { stdout } = await execa('apt-cache', ['depends', '--important', name], { reject: false });
  return Array.from((stdout ?? '').matchAll(/^ [ |]Depends: (\S+)$/gm), (match) => match[1]!);
}

async function withVersion(name: string): Promise<KernelPackage> {
  const { execa } = await import('execa');
  const { stdout } = await execa('apt-cache', ['show', '--no-all-versions', name]);
  const version = /^Version: (\S+)$/m.exec(stdout)?.[1] ?? 'unknown';
  return { name, file: `${name}_${version}` };
}

async function unpack(packages: readonly KernelPackage[], folder: string): Promise<void> {
  const { execa } = await import('execa');
  const root = join(folder, 'root');
  await mkdir(root);
  try {
    for (const { name } of packages) await download(name, folder);
    for (const file of (await readdir(folder)).filter((name) => name.endsWith('.deb'))) {
      await execa('dpkg-deb', ['-x', join(folder, file), root]);
      await rm(join(folder, file));
    }
    const boot = join(root, 'boot');
    const image = (await readdir(boot)).find((name) => name.startsWith('vmlinuz-'));
    if (image === undefined) {
      throw failure('kernel-package-empty', { file: packages[0]!.file });
    }
    await copyFile(join(boot, image), join(folder, 'vmlinuz'));
    const names = await takeModules(modulesFolder(root), folder, moduleOrder);
    await writeFile(join(folder, 'modules'), `${names.join('\n')}\n`);
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

async function download(name: string, folder: string): Promise<void> {
  const { execa } = await import('execa');
  try {
    // Root's apt would download as user _apt, who may not write here; it warns and goes on as root.
    await execa('apt-get', ['download', '-q', name], { cwd: folder });
  } catch (cause) {
    throw failure('kernel-download-failed', { name }, { cause });
  }
}

/** Of a package that is unpacked in `root`: usr/lib/modules since Debian 13, lib/modules before. */
export function modulesFolder(root: string): string | undefined {
  return ['usr/lib/modules', 'lib/modules']
    .map((path) => join(root, path))
    .find((path) => existsSync(path));
}

/**
 * Copies the modules of the one kernel that has them below `base` to `folder`, uncompressed, and
 * returns their file names in the order of `modules`; those compiled into the kernel are left out.
 */
export async function takeModules(
  base: string | undefined,
  folder: string,
  modules: readonly string[],
): Promise<string[]> {
  const files = base === undefined ? [] : await readdir(base, { recursive: true });
  const builtinList = files.find((file) => basename(file) === 'modules.builtin');
  const builtin = builtinList ? await readFile(join(base!, builtinList), 'utf8') : '';
  const taken: string[] = [];
  for (const module of modules) {
    // File names have a hyphen where some module names have an underscore.
    const pattern = new RegExp(`/${module.replaceAll('_', '[-_]')}\\.ko(\\.xz|\\.zst|\\.gz)?$`);
    if (new RegExp(pattern.source, 'm').test(builtin)) continue;
    const file = files.find((candidate) => pattern.test(`/${candidate}`));
    if (file === undefined) {
      throw failure('kernel-module-missing', { module });
    }
    const name = `${module}.ko`;
    await writeFile(join(folder, name), await uncompressed(join(base!, file)));
    taken.push(name);
  }
  return taken;
}

async function uncompressed(file: string): Promise<Uint8Array> {
  const program = { '.xz': 'xz', '.zst': 'zstd', '.gz': 'gzip' }[
    /\.(xz|zst|gz)$/.exec(file)?.[0] ?? ''
  ];
  if (program === undefined) return readFile(file);
  const { execa } = await import('execa');
  return (await execa(program, ['-dc', file], { encoding: 'buffer' })).stdout;
}
