/**
 * The tiny guest for User-mode Linux: Debian's package user-mode-linux, with the initramfs of
 * guest.ts.
 *
 * The kernel is a program of this host, and what it needs of modules lies beside it. They are taken
 * into the cache folder, since another package may have them compressed.
 *
 * Source: the Debian package user-mode-linux, /usr/lib/uml/modules/VERSION.
 */

import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { cachedFolder } from '../machine/cache.ts';
import { umlProgram } from '../machine/uml.ts';
import { guestOf, programPath, type TinyGuest } from './guest.ts';
import { takeModules } from './kernel.ts';

const modulesRoot = '/usr/lib/uml/modules';
/**
 * virtio itself and virtio_uml are compiled in. IPv6 first: a card that is up by then has no
 * address of it.
 */
const moduleOrder = ['crc_ccitt', 'ipv6', 'failover', 'net_failover', 'virtio_net'] as const;
const modulesHash = createHash('sha256').update(moduleOrder.join()).digest('hex');
const entryPrefix = `uml-modules-${modulesHash.slice(0, 8)}-`;

/** `kernel.image` is the program to run. Throws PROGRAM_MISSING, GUEST_KERNEL_UNAVAILABLE. */
export async function umlGuest(): Promise<TinyGuest> {
  const image = await programPath(umlProgram, 'user-mode-linux');
  const version = (await execa(image, ['--version'], { stdin: 'ignore' })).stdout.trim();
  const folder = await cachedFolder(`${entryPrefix}${version}`, async (into) => {
    const names = await takeModules(join(modulesRoot, version), into, moduleOrder);
    await writeFile(join(into, 'modules'), names.join('\n'));
  });
  const names = (await readFile(join(folder, 'modules'), 'utf8')).split('\n');
  const modules = names.filter((name) => name !== '').map((name) => join(folder, name));
  return guestOf({ name: `User-mode Linux ${version}`, image, modules });
}
