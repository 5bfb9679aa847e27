/**
 * A machine that is User-mode Linux: its command line, its environment, and its processes.
 *
 * The kernel is a program, and its driver virtio_uml a vhost-user frontend: no emulation, no KVM,
 * and up in a second or two. It has one processor, no disks here, and network cards on a switch
 * only. Two serial lines are fds of this process's: console, for people and for what the kernel
 * says, and control, for tiny/shell.ts. A guest that finds the control line closed powers itself
 * off (tiny/guest.ts), so it does not outlive whoever started it, however that one ended.
 *
 * Every process of the guest is one of the host, in the session of the first, and traced by it. The
 * first cannot be asked to end: SIGTERM makes it take its devices apart while they are in use, and
 * panic. They are all killed by their ids instead.
 *
 * Guest memory is a file that it makes below TMPDIR and unlinks at once. How it is lent the
 * registers of a newer processor: native/uml/whole_xstate.cc.
 *
 * Sources: Linux Documentation/virt/uml/user_mode_linux_howto_v2.rst, arch/um/drivers/virtio_uml.c.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { failure, type TsvswitchError } from '../model/errors.ts';
import { endSession } from './detached-process.ts';
import type { DirectBoot } from './qemu.ts';

export const umlProgram = 'linux.uml';

export interface UmlOptions {
  readonly name: string;
  readonly memoryMiB: number;
  /** A file system with room for the guest's memory. */
  readonly memoryFolder: string;
  /** Where it keeps what it is to clean up itself: its pid file and a socket. */
  readonly folder: string;
  /** `kernel` is the program. */
  readonly boot: DirectBoot;
  /** Sockets that switches listen on, a card each. They have to be there: a card tries once. */
  readonly sockets: readonly string[];
  /** Further words of the command line. */
  readonly extraArguments?: readonly string[];
  /** The start of a command line that runs it elsewhere, such as in another network namespace. */
  readonly enter?: readonly string[];
}

/** The fds of its serial lines; what is below them are the standard ones. */
const consoleFd = 3;
const controlFd = 4;
/** The guest's name of the second; the first is ttyS0, as under QEMU. */
export const umlControlLine = 'ttyS1';
/** Of virtio-net (virtio 1.2 §5). */
const networkDeviceId = 1;
/** What the kernel says on its console before it does. */
const haltedMark = 'reboot: System halted';
/** What it says beside its console, before that is there and when it dies. */
const saidCharactersMax = 16_384;

export function umlArguments(options: UmlOptions): string[] {
  const { name, memoryMiB, folder, boot, sockets, extraArguments = [] } = options;
  return [
    `mem=${memoryMiB}M`,
    `initrd=${boot.initrd}`,
    `uml_dir=${folder}`,
    `umid=${name}`,
    ...sockets.map((socket) => `virtio_uml.device=${socket}:${networkDeviceId}`),
    // No other lines: those unnamed would each look for a terminal program.
    ...['con=null', 'con0=null,fd:1', 'ssl=null'],
    ...[`ssl0=fd:${consoleFd}`, `ssl1=fd:${controlFd}`],
    ...boot.commandLine.split(' '),
    ...extraArguments,
  ];
}

/** Where whole_xstate.cc is, after a build from source and in the package. */
const preloads = [
  '../../build/release/Release/tsvswitch-uml.so',
  '../../prebuilds/linux-x64-glibc/tsvswitch-uml.so',
].map((path) => fileURLToPath(new URL(path, import.meta.url)));

function umlEnvironment(memoryFolder: string): NodeJS.ProcessEnv {
  const preload = preloads.find((path) => existsSync(path));
  return {
    ...process.env,
    TMPDIR: memoryFolder,
    ...(preload === undefined ? {} : { LD_PRELOAD: preload }),
  };
}

/** How it came to its end. */
export interface UmlEnd {
  /** Whether the guest switched the machine off, as it may. */
  readonly isShutdown: boolean;
  /** Continues "NAME: ". */
  readonly sentence: string;
}

/** A guest that runs, and its two lines. */
export class UmlProcess {
  readonly console: Socket;
  readonly control: Socket;
  /** Resolves when its first process has ended and the others were killed. */
  readonly ended: Promise<UmlEnd>;
  readonly #process: ChildProcess;

  private constructor(process: ChildProcess) {
    this.#process = process;
    [, , , this.console, this.control] = process.stdio as unknown as Socket[] as [
      unknown,
      unknown,
      unknown,
      Socket,
      Socket,
    ];
    for (const line of [this.console, this.control]) line.on('error', () => {});
    let said = '';
    for (const stream of [process.stdout!, process.stderr!]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        said = (said + text).slice(-saidCharactersMax);
      });
    }
    // While it takes its devices apart it may panic, when all that matters is done.
    let isHalted = false;
    this.console.on('data', (bytes: Buffer) => {
      if (bytes.includes(haltedMark)) isHalted = true;
    });
    this.ended = once(process, 'exit').then(async ([status, signal]) => {
      await endSession(process.pid!);
      return endOf(isHalted ? 0 : status, signal, said);
    });
  }

  /** Throws PROGRAM_MISSING. */
  static async start(options: UmlOptions): Promise<UmlProcess> {
    const { boot, memoryFolder, enter = [] } = options;
    const [program, ...args] = [...enter, boot.kernel, ...umlArguments(options)] as [string];
    const child = spawn(program, args, {
      // It would do so itself, a moment later.
      detached: true,
      env: umlEnvironment(memoryFolder),
      stdio: ['ignore', 'pipe', 'pipe', 'pipe', 'pipe'],
    });
    try {
      await once(child, 'spawn');
    } catch (cause) {
      throw umlMissing(cause);
    }
    return new UmlProcess(child);
  }

  get pid(): number {
    return this.#process.pid!;
  }

  /** As if the power were cut; returns when all of its processes are gone. May be called again. */
  async stop(): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.ended;
  }
}

function endOf(status: number | null, signal: string | null, said: string): UmlEnd {
  if (status === 0) return { isShutdown: true, sentence: 'it was switched off from inside' };
  const how = signal === null ? `ended with status ${status}` : `was ended by ${signal}`;
  const words = said.trim();
  return {
    isShutdown: false,
    sentence: `User-mode Linux ${how}${words === '' ? '' : `:\n${words}`}`,
  };
}

export function umlMissing(cause?: unknown): TsvswitchError {
  return failure('uml-missing', { program: umlProgram }, { cause });
}

/** A folder that has room for the memory of machines of these sizes. Throws MEMORY_SHORT. */
export async function umlMemoryFolder(sizesMiB: readonly number[]): Promise<string> {
  const neededMiB = sizesMiB.reduce((sum, size) => sum + size, 0);
  const seen: string[] = [];
  for (const folder of new Set(['/dev/shm', tmpdir()])) {
    const space = await statfs(folder).catch(() => undefined);
    if (space === undefined) continue;
    const freeMiB = Math.floor((space.bavail * space.bsize) / 2 ** 20);
    if (freeMiB >= neededMiB) return folder;
    seen.push(`${freeMiB} MiB in ${folder}`);
  }
  throw failure('uml-memory-short', {
    neededMiB,
    available: seen.join(' and ') || 'neither /dev/shm nor a temporary folder',
  });
}
