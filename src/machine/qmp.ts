/**
 * A client of QEMU's machine protocol: asks a machine to do something, and hears what happens to
 * it.
 *
 * One line is one JSON value. QEMU greets, is told qmp_capabilities, and from then on answers each
 * command with the id it was sent, in any order, with events in between. QEMU serves one client at
 * a time and lets a second one wait without a word; connect() then fails when its time is up.
 *
 * What it does not do: know what a command means, or reconnect.
 *
 * Source: QEMU docs/interop/qmp-spec.rst, qapi/run-state.json.
 */

import { EventEmitter } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { failure, type TsvswitchError } from '../model/errors.ts';

export interface QmpEvent {
  /** Such as SHUTDOWN, RESET or GUEST_PANICKED. */
  readonly name: string;
  readonly data: Readonly<Record<string, unknown>>;
}

interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** QEMU answers at once, unless it is busy with its disks. */
const answerLimitMs = 10_000;
/**
 * Its socket is there a moment before it listens, and it may hang up on who comes while another
 * leaves.
 */
const connectTriesMax = 40;
const connectPauseMs = 50;

/**
 * Emits `event` for what happens to the machine, and `close` once nothing can be asked any more.
 */
export class Qmp extends EventEmitter<{ event: [QmpEvent]; close: [] }> {
  readonly #name: string;
  readonly #socket: Socket;
  /** By id; the greeting, which has none, is waited for under 0. */
  readonly #pending = new Map<number, Pending>();
  #nextId = 1;

  private constructor(name: string, socket: Socket) {
    super();
    this.#name = name;
    this.#socket = socket;
    createInterface({ input: socket, crlfDelay: Number.POSITIVE_INFINITY })
      .on('line', (line) => this.#take(line))
      // It passes the socket's errors on; a close follows.
      .on('error', () => {});
    socket.on('error', () => {});
    socket.on('close', () => {
      for (const { reject } of this.#pending.values()) reject(this.#failure('QEMU has ended'));
      this.#pending.clear();
      this.emit('close');
    });
  }

  /**
   * Connects to the monitor of the machine `name`. Throws MACHINE_FAILED if QEMU does not answer
   * there.
   */
  static async connect(name: string, path: string): Promise<Qmp> {
    for (let tries = 1; ; tries++) {
      const qmp = new Qmp(name, connect(path));
      try {
        await qmp.#answer(0, 'greet; does somebody else talk to it?');
        await qmp.command('qmp_capabilities');
        return qmp;
      } catch (error) {
        const wasHungUp = qmp.#socket.destroyed;
        qmp.close();
        if (!wasHungUp || tries === connectTriesMax) throw error;
        await sleep(connectPauseMs);
      }
    }
  }

  /** Returns what QEMU returns. Throws MACHINE_FAILED with QEMU's words if it refuses. */
  command(name: string, options: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    const id = this.#nextId++;
    const answer = this.#answer(id, `answer ${name}`);
    this.#socket.write(`${JSON.stringify({ execute: name, arguments: options, id })}\n`);
    return answer;
  }

  /** May be called again. */
  close(): void {
    this.#socket.destroy();
  }

  async #answer(id: number, purpose: string): Promise<unknown> {
    if (this.#socket.destroyed) throw this.#failure('QEMU has ended');
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise((resolve, reject) => {
        this.#pending.set(id, { resolve, reject });
        const late = `QEMU did not ${purpose} within ${answerLimitMs / 1000} s`;
        timer = setTimeout(() => reject(this.#failure(late)), answerLimitMs);
      });
    } finally {
      clearTimeout(timer);
      this.#pending.delete(id);
    }
  }

  #take(line: string): void {
    const said = parsed(line);
    if (said === undefined) return;
    if (typeof said.event === 'string') {
      this.emit('event', { name: said.event, data: (said.data ?? {}) as QmpEvent['data'] });
      return;
    }
    const pending = this.#pending.get('QMP' in said ? 0 : Number(said.id));
    if ('error' in said) {
      const { desc } = said.error as { desc?: unknown };
      pending?.reject(this.#failure(`QEMU refused: ${String(desc)}`));
    } else {
      pending?.resolve(said.return);
    }
  }

  #failure(reason: string): TsvswitchError {
    return failure('qmp-failed', { name: this.#name, cause: reason });
  }
}

function parsed(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    // The first half of a line, of a QEMU that was killed.
    return undefined;
  }
}
