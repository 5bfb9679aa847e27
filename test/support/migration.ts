/**
 * Live migration of tiny guests: QEMUs that know of it, the way between two of them, and whether
 * two have the same guest memory.
 *
 * Nothing here looks at a clock: what is waited for is what QEMU says in its events, so that it
 * holds however fast the machine is.
 *
 * Source: QEMU qapi/migration.json.
 */

import { EventEmitter, once } from 'node:events';
import { closeSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { vi } from 'vitest';
import type { Accelerator, VhostUserCard } from '../../src/machine/qemu.ts';
import { Qmp } from '../../src/machine/qmp.ts';
import { type TinyGuest, tinyGuestBoot } from '../../src/tiny/guest.ts';
import { tinyMemoryMiB } from '../../src/tiny/network.ts';
import { Machine } from '../../src/tiny/qemu-machine.ts';

/** What source and destination have in common. */
export interface MigratingGuest {
  readonly tiny: TinyGuest;
  readonly accelerator: Accelerator;
  readonly hostname: string;
  readonly ip: string;
  readonly mac: string;
  readonly card?: Pick<VhostUserCard, 'queuePairs' | 'deviceOptions'>;
  readonly cpus?: number;
}

export interface QemuPlace {
  /** Of the QEMU and of its files in `folder`. */
  readonly name: string;
  readonly folder: string;
  /** The port of a switch. */
  readonly socket: string;
}

/**
 * QEMU 7.2 without KVM loses writes of the guest: it clears its bitmap of them 64 pages at a time,
 * and lets translations that write without marking a page stand. Of memory that is no multiple of
 * 64 pages it clears the bits one by one, and does so right. 256 MiB arrived with wrong pages 4
 * times in 14, 8 KiB more never, of QEMU 7.2 with a guest that counted in a loop.
 *
 * Source: QEMU include/exec/ram_addr.h, cpu_physical_memory_sync_dirty_bitmap().
 */
const memoryBytes = (tinyMemoryMiB << 20) + 8192;

/** Statuses after which nothing of a migration happens any more. */
const finalStatuses: readonly string[] = ['completed', 'failed', 'cancelled'];

/** A QEMU that a guest is in, or that waits for one. */
export class MigrationQemu {
  readonly machine: Machine;
  readonly qmp: Qmp;
  /** Of the present or last migration, in order. */
  #statuses: string[] = [];

  private constructor(machine: Machine, qmp: Qmp) {
    this.machine = machine;
    this.qmp = qmp;
    qmp.on('event', ({ name, data }) => {
      if (name === 'MIGRATION') this.#statuses.push(String(data.status));
    });
  }

  /** Starts QEMU; the guest begins to boot, unless further arguments say that it is to come. */
  static async start(
    guest: MigratingGuest,
    { name, folder, socket }: QemuPlace,
    extraArguments: readonly string[] = [],
  ): Promise<MigrationQemu> {
    const qmpSocket = join(folder, `${name}.qmp`);
    const machine = await Machine.start({
      name,
      folder,
      cpus: guest.cpus ?? 1,
      memoryMiB: memoryBytes / 2 ** 20,
      memory: { type: 'memfd' },
      accelerator: guest.accelerator,
      boot: tinyGuestBoot(guest.tiny, guest.hostname, `${guest.ip}/24`),
      cards: [{ type: 'vhost-user', socket, mac: guest.mac, ...guest.card }],
      qmpSocket,
      extraArguments,
    });
    try {
      // The monitor comes a moment after the shell.
      const qmp = await vi.waitFor(() => Qmp.connect(name, qmpSocket), { timeout: 30_000 });
      const qemu = new MigrationQemu(machine, qmp);
      await qemu.setCapability('events');
      return qemu;
    } catch (error) {
      await machine.stop();
      throw error;
    }
  }

  setCapability(capability: string, state = true): Promise<unknown> {
    const capabilities = [{ capability, state }];
    return this.qmp.command('migrate-set-capabilities', { capabilities });
  }

  setParameters(parameters: Readonly<Record<string, number>>): Promise<unknown> {
    return this.qmp.command('migrate-set-parameters', parameters);
  }

  /** Begins to send the guest to whoever listens on the unix socket `path`. */
  async migrate(path: string): Promise<void> {
    this.#statuses = [];
    await this.qmp.command('migrate', { uri: `unix:${path}` });
  }

  /** Returns once the migration has got there; throws if it ends in another way. */
  async reached(status: string): Promise<void> {
    const ended = this.machine.ended.then((error) => {
      throw error;
    });
    ended.catch(() => {});
    while (!this.#statuses.includes(status)) {
      const last = this.#statuses.at(-1);
      if (last !== undefined && finalStatuses.includes(last)) {
        throw new Error(`${this.machine.name}: migration ${last}, not ${status}`);
      }
      await Promise.race([once(this.qmp, 'event'), ended]);
    }
  }

  /**
   * How often the source has begun to send what was written since it began the last time, and 1.
   */
  async passes(): Promise<number> {
    const { ram } = (await this.qmp.command('query-migrate')) as {
      ram?: Record<string, number>;
    };
    return ram?.['dirty-sync-count'] ?? 0;
  }

  /** Whether the guest runs, in QEMU's words. */
  async status(): Promise<string> {
    return ((await this.qmp.command('query-status')) as { status: string }).status;
  }

  async stop(): Promise<void> {
    this.qmp.close();
    await this.machine.stop();
  }
}

/** The way of one migration's stream from QEMU to QEMU; nothing passes but what is let. */
export class Road {
  /** Where the source connects to. */
  readonly path: string;
  readonly #server: Server;
  readonly #notice = new EventEmitter<{ change: [] }>();
  #bytesLeft = 0;
  #ended = false;
  #source: Socket | undefined;

  private constructor(path: string, server: Server) {
    this.path = path;
    this.#server = server;
  }

  static async open(path: string, destination: string): Promise<Road> {
    const server = createServer();
    const road = new Road(path, server);
    server.once('connection', (source) => void road.#lead(source, connect(destination)));
    server.listen(path);
    await once(server, 'listening');
    return road;
  }

  /** Returns when about so many bytes more have passed; throws if the stream ends before. */
  async pass(bytes: number): Promise<void> {
    this.#bytesLeft = bytes;
    this.#notice.emit('change');
    while (this.#bytesLeft > 0) {
      if (this.#ended) throw new Error('the stream of the migration has ended');
      await once(this.#notice, 'change');
    }
  }

  /** Whatever comes may pass. */
  clear(): void {
    this.#bytesLeft = Number.POSITIVE_INFINITY;
    this.#notice.emit('change');
  }

  close(): void {
    this.#source?.destroy();
    this.#server.close();
  }

  async #lead(source: Socket, destination: Socket): Promise<void> {
    this.#source = source;
    // An end that dies takes the other one's connection along, and that is how QEMU learns of it.
    destination.resume().once('close', () => source.destroy());
    await pipeline(source, (chunks) => this.#measure(chunks), destination).catch(() => {});
    this.#ended = true;
    this.#notice.emit('change');
  }

  async *#measure(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of chunks) {
      while (this.#bytesLeft <= 0) await once(this.#notice, 'change');
      yield chunk;
      this.#bytesLeft -= chunk.length;
      this.#notice.emit('change');
    }
  }
}

const pageBytes = 4096;
/** The largest power of two that memoryBytes is a multiple of. */
const readBytes = 8192;

/**
 * The guest addresses of the pages that are not the same in two QEMUs, neither of which runs its
 * guest.
 */
export function differingPages(one: number, other: number): string[] {
  const fds = [one, other].map((pid) => openSync(guestMemoryFile(pid), 'r'));
  const [a, b] = fds.map(() => Buffer.alloc(readBytes)) as [Buffer, Buffer];
  const pages: string[] = [];
  try {
    for (let at = 0; at < memoryBytes; at += readBytes) {
      for (const [i, buffer] of [a, b].entries()) {
        const bytes = readSync(fds[i]!, buffer, 0, readBytes, at);
        if (bytes !== readBytes) throw new Error(`${bytes} bytes of guest memory at ${at}`);
      }
      if (a.equals(b)) continue;
      for (let page = 0; page < readBytes; page += pageBytes) {
        const end = page + pageBytes;
        if (!a.subarray(page, end).equals(b.subarray(page, end))) {
          pages.push(`0x${(at + page).toString(16)}`);
        }
      }
    }
  } finally {
    for (const fd of fds) closeSync(fd);
  }
  return pages;
}

function guestMemoryFile(pid: number): string {
  const folder = `/proc/${pid}/fd`;
  const isMemory = (fd: string) =>
    readlinkSync(join(folder, fd)).startsWith('/memfd:memory-backend-memfd');
  const fd = readdirSync(folder).find(isMemory);
  if (fd === undefined) throw new Error(`process ${pid} has no guest memory`);
  return join(folder, fd);
}
