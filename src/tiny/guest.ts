/**
 * The tiny guest: a machine that boots in seconds from what the host already has.
 *
 * Kernel: kernel.ts. User space: an initramfs of busybox, iperf3 with its shared libraries,
 * the virtio modules and the init script below. There is no disk and no image to download. Address
 * and name come on the kernel command line, so that one initramfs serves every machine.
 *
 * ttyS0 is the kernel's console with a shell for people. shell.ts sends commands to a virtio
 * port, or to another serial line where the command line names one, so that what the kernel says
 * can never cut into an answer. What init says and expects there is documented in shell.ts.
 *
 * The same initramfs, with other modules, is what User-mode Linux boots (uml-guest.ts).
 */

import { createHash } from 'node:crypto';
import { access, constants, readFile, writeFile } from 'node:fs/promises';
import { basename, delimiter, join } from 'node:path';
import { execa } from 'execa';
import { cachedFolder } from '../machine/cache.ts';
import type { DirectBoot } from '../machine/qemu.ts';
import { failure } from '../model/errors.ts';
import { type CpioEntry, cpioArchive } from './cpio.ts';
import { type GuestKernel, guestKernel } from './kernel.ts';

export interface TinyGuest {
  readonly kernel: GuestKernel;
  readonly initramfs: string;
  readonly initramfsBytes: number;
}

/** The kernel and the initramfs, made or taken from the cache. */
export async function tinyGuest(): Promise<TinyGuest> {
  return guestOf(await guestKernel());
}

/** The initramfs for a kernel, made or taken from the cache. */
export async function guestOf(kernel: GuestKernel): Promise<TinyGuest> {
  const archive = cpioArchive(await initramfsEntries(kernel.modules));
  const version = createHash('sha256').update(archive).digest('hex').slice(0, 16);
  const folder = await cachedFolder(`initramfs-${version}`, (into) =>
    writeFile(join(into, 'initramfs'), archive),
  );
  return { kernel, initramfs: join(folder, 'initramfs'), initramfsBytes: archive.length };
}

/**
 * Without no_timer_check a kernel that boots while the host is busy may find that an emulated timer
 * is late, and panics: "IO-APIC + timer doesn't work!". Kernels that know they run on KVM leave the
 * check out.
 */
export const tinyKernelOptions = 'console=ttyS0 quiet loglevel=3 no_timer_check';

/**
 * How QEMU boots the guest as machine `hostname` with `address` (such as 192.168.0.1/24) on eth0.
 */
export function tinyGuestBoot(guest: TinyGuest, hostname: string, address: string): DirectBoot {
  return {
    kernel: guest.kernel.image,
    initrd: guest.initramfs,
    // A name with a dot is not the kernel's to understand: it ignores it and init reads it.
    commandLine: `${tinyKernelOptions} guest.hostname=${hostname} guest.address=${address}`,
  };
}

/** Everything in the initramfs. `modules` are files of the host, in loading order. */
export async function initramfsEntries(modules: readonly string[]): Promise<CpioEntry[]> {
  const busybox = await programPath('busybox', 'busybox-static');
  const applets = (await execa(busybox, ['--list'])).stdout.split('\n');
  return [
    { type: 'folder', path: 'proc' },
    { type: 'folder', path: 'sys' },
    { type: 'folder', path: 'tmp' },
    { type: 'folder', path: 'root' },
    // The kernel opens it for init before devtmpfs is mounted.
    { type: 'character-device', path: 'dev/console', major: 5, minor: 1 },
    { type: 'file', path: 'init', content: Buffer.from(initScript(modules)), executable: true },
    ...(await programEntries('busybox', 'busybox-static')),
    ...applets
      .filter((applet) => applet !== 'busybox')
      .map((applet): CpioEntry => ({ type: 'link', path: `bin/${applet}`, target: 'busybox' })),
    ...(await programEntries('iperf3', 'iperf3')),
    ...(await optionalEntries('ethtool')),
    ...(await Promise.all(modules.map((path) => fileEntry(path, `modules/${basename(path)}`)))),
  ];
}

function initScript(modules: readonly string[]): string {
  const names = modules.map((path) => basename(path)).join(' ');
  return `#!/bin/sh
export PATH=/bin HOME=/root TERM=linux
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev

for module in ${names}; do
  insmod "/modules/$module" || echo "init: module $module does not load"
done

for word in $(cat /proc/cmdline); do
  case "$word" in
    guest.hostname=*) hostname "\${word#*=}" ;;
    guest.address=*) address="\${word#*=}" ;;
    guest.mac=*) mac="\${word#*=}" ;;
    guest.control=*) control="/dev/\${word#*=}" ;;
  esac
done
ip link set lo up
[ -n "$mac" ] && ip link set eth0 address "$mac"
[ -n "$address" ] && ip link set eth0 up && ip addr add "$address" dev eth0

# The console: a shell that comes back when it is left.
export PS1='\\h:\\w# '
(cd /root; while :; do setsid cttyhack sh </dev/ttyS0 >/dev/ttyS0 2>&1; done) &

# A machine of a lab goes on as tiny-seed.ts says, and does not come back.
[ -f /lab/init ] && . /lab/init

# The control port, if there is one: one command a line, in a shell of its own.
set -- \${control:-/dev/vport*p1}
while [ ! -c "$1" ]; do sleep 3600; done
exec 3<>"$1"
[ -n "$control" ] && stty raw -echo <&3
exec <&3 >&3 2>&3
echo "@ready $(hostname)"
while :; do
  while read -r id command; do
    echo "@begin $id"
    (eval "$command") </dev/null
    status=$?
    echo
    echo "@end $id $status"
  done
  # A serial line whose other end is gone has nobody left to run for.
  [ -n "$control" ] && poweroff -f
  sleep 1
done
`;
}

/** A program of this host, into /bin, and the libraries it needs, where they are here. */
export async function programEntries(program: string, debianPackage: string): Promise<CpioEntry[]> {
  const path = await programPath(program, debianPackage);
  const libraries = await sharedLibraries(path);
  return [
    await fileEntry(path, `bin/${program}`),
    ...(await Promise.all(libraries.map((library) => fileEntry(library, library.slice(1))))),
  ];
}

/** A program that is of use in the guest and need not be on this host. */
async function optionalEntries(program: string): Promise<CpioEntry[]> {
  return (await findProgram(program)) === undefined ? [] : programEntries(program, program);
}

async function fileEntry(from: string, path: string): Promise<CpioEntry> {
  return { type: 'file', path, content: await readFile(from), executable: true };
}

/** Throws PROGRAM_MISSING, with the package to install. */
export async function programPath(program: string, debianPackage: string): Promise<string> {
  const path = await findProgram(program);
  if (path !== undefined) return path;
  throw failure('tiny-program-missing', { program, package: debianPackage });
}

async function findProgram(program: string): Promise<string | undefined> {
  // Servers are in sbin, which only root's PATH has.
  for (const folder of [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin']) {
    const path = join(folder, program);
    if (
      await access(path, constants.X_OK).then(
        () => true,
        () => false,
      )
    )
      return path;
  }
  return undefined;
}

/** The shared libraries of a program and its loader, by their absolute paths; none if static. */
async function sharedLibraries(program: string): Promise<string[]> {
  const { stdout } = await execa('ldd', [program], { reject: false });
  return Array.from(
    (stdout ?? '').matchAll(/^\s+(?:\S+ => )?(\/\S+) \(0x[0-9a-f]+\)$/gm),
    (match) => match[1]!,
  );
}
