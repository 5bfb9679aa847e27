/**
 * Whether KVM really runs guests here.
 *
 * A device that opens is no proof: on some nested hosts /dev/kvm answers its API version and the
 * guest then never gets past the firmware. So a guest is run, for a few seconds at most, and must
 * get as far as a Linux kernel's first line on the serial port. The answer is kept in the cache
 * folder for as long as the machine is up, per user and QEMU binary.
 */

import { existsSync } from 'node:fs';
import { access, constants, mkdir, readFile, realpath, stat, writeFile } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { cacheFolder } from './cache.ts';
import { type Accelerator, qemuProgram } from './qemu.ts';

/** Long enough for a kernel under working KVM, where it takes well under a second. */
const probeLimitMs = 3000;

export interface KvmAnswer {
  readonly accelerator: Accelerator;
  /** Why, in a few words for people. */
  readonly reason: string;
}

/** The best accelerator for a guest; `kernel` is a bzImage to probe with. */
export async function probeKvm(kernel: string): Promise<KvmAnswer> {
  const usable = await access('/dev/kvm', constants.R_OK | constants.W_OK).then(
    () => true,
    () => false,
  );
  if (!usable) return { accelerator: 'tcg', reason: 'no access to /dev/kvm' };
  const key = await answerKey();
  const file = join(cacheFolder(), 'kvm-probe');
  const kept = await readFile(file, 'utf8').catch(() => '');
  const works = kept.startsWith(`${key} `) ? kept.endsWith(' yes\n') : await kernelStarts(kernel);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, `${key} ${works ? 'yes' : 'no'}\n`);
  return works
    ? { accelerator: 'kvm', reason: 'a guest runs under it' }
    : { accelerator: 'tcg', reason: '/dev/kvm is there, but a guest does not start under it' };
}

async function answerKey(): Promise<string> {
  const bootId = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
  const qemu = await realpath(programPath(qemuProgram) ?? '').catch(() => '');
  const builtMs = qemu === '' ? 0 : (await stat(qemu)).mtimeMs;
  return `${bootId} ${process.getuid?.()} ${builtMs}`;
}

/** As a shell would find it. */
function programPath(name: string): string | undefined {
  const folders = (process.env.PATH ?? '').split(delimiter);
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
}

async function kernelStarts(kernel: string): Promise<boolean> {
  const { execa } = await import('execa');
  const guest = execa(
    qemuProgram,
    [
      '-nodefaults',
      '-no-user-config',
      ...['-display', 'none'],
      ...['-machine', 'q35'],
      ...['-accel', 'kvm'],
      ...['-cpu', 'host'],
      ...['-m', '128M'],
      ...['-kernel', kernel],
      ...['-append', 'console=ttyS0 earlyprintk=serial,ttyS0'],
      ...['-serial', 'stdio'],
    ],
    {
      stdin: 'ignore',
      reject: false,
      buffer: false,
      timeout: probeLimitMs,
      // It has nothing to save, and a vCPU stuck in KVM need not listen to SIGTERM.
      killSignal: 'SIGKILL',
    },
  );
  let started = false;
  let text = '';
  guest.stdout.setEncoding('utf8').on('data', (part: string) => {
    // The last characters too, in case the words are cut in two.
    text = text.slice(-100) + part;
    if (!text.includes('Linux version')) return;
    started = true;
    guest.kill('SIGKILL');
  });
  await guest;
  return started;
}
