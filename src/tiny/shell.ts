/**
 * Runs commands in a guest and brings back their output and exit status.
 *
 * The line is a virtio port of the guest, which QEMU offers as a unix socket, or a serial line of
 * User-mode Linux; on it the guest's init (guest.ts) talks as follows, one line each:
 *
 *   guest: @ready HOSTNAME             once after every boot
 *   host:  ID COMMAND                  one shell command; ID is random: no output can fake an end
 *   guest: @begin ID
 *   guest: whatever the command writes, then a line end
 *   guest: @end ID STATUS
 *
 * One command runs at a time; further ones wait their turn. Time limits are the caller's to choose,
 * and count from the moment the command is sent. Not a terminal: commands read nothing.
 */

import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { failure, type TsvswitchError } from '../model/errors.ts';

export interface CommandResult {
  /** Standard output and error together, without the last line end. */
  readonly output: string;
  readonly status: number;
}

/** What the shell is waiting for: a boot or the end of a command. */
type Awaited = { readonly reject: (error: Error) => void } & (
  | { readonly type: 'boot'; readonly resolve: () => void }
  | {
      readonly type: 'command';
      readonly id: string;
      readonly resolve: (result: CommandResult) => void;
      /** undefined until the guest has begun; what comes earlier belongs to a command given up. */
      lines: string[] | undefined;
    }
);

interface Settle<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (error: Error) => void;
}

/**
 * QEMU makes the socket early, but a busy machine may take its time to run it; should it end, that
 * shows.
 */
const connectTriesMax = 1500;
const connectPauseMs = 20;

export class GuestShell {
  readonly #name: string;
  readonly #socket: Socket;
  #turn: Promise<unknown> = Promise.resolve();
  #awaited: Awaited | undefined;
  #rest = '';
  #boots = 0;
  #lost: Error | undefined;

  private constructor(name: string, socket: Socket, ended: Promise<Error>) {
    this.#name = name;
    this.#socket = socket;
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => this.#take(text));
    // An error is followed by close; QEMU closes the port when it ends, and then tells why.
    socket.on('error', () => {});
    socket.on('close', () => void ended.then((error) => this.#lose(error)));
  }

  /**
   * Connects to QEMU's `socket` as soon as it is there. `name` appears in errors; `ended` says why
   * QEMU ended, once it has.
   */
  static async connect(
    name: string,
    socket: string,
    ended: Promise<Error>,
    signal?: AbortSignal,
  ): Promise<GuestShell> {
    let lastError: unknown;
    for (let tries = 0; tries < connectTriesMax; tries++) {
      signal?.throwIfAborted();
      try {
        return new GuestShell(name, await connected(socket), ended);
      } catch (error) {
        lastError = error;
        await sleep(connectPauseMs);
      }
    }
    throw failure(
      'qemu-no-control-port',
      { name },
      {
        cause: lastError,
      },
    );
  }

  /** On a line that is there already, of a machine whose `ended` says why it ended. */
  static over(name: string, line: Socket, ended: Promise<Error>): GuestShell {
    return new GuestShell(name, line, ended);
  }

  /** Resolves when the guest has booted. */
  async ready(limitMs: number): Promise<void> {
    await this.#inTurn(async () => {
      if (this.#boots === 0) await this.#nextBoot('boot', limitMs);
    });
  }

  async run(command: string, limitMs: number): Promise<CommandResult> {
    if (command.includes('\n')) {
      throw failure('guest-command-lines', { command: JSON.stringify(command) });
    }
    return this.#inTurn(() => {
      const id = randomBytes(8).toString('hex');
      const result = this.#wait<CommandResult>(`finish \`${command}\``, limitMs, (settle) => ({
        type: 'command',
        id,
        lines: undefined,
        ...settle,
      }));
      this.#socket.write(`${id} ${command}\n`);
      return result;
    });
  }

  /** Like run(), but a status other than 0 is an error. Returns the output. */
  async check(command: string, limitMs: number): Promise<string> {
    const { output, status } = await this.run(command, limitMs);
    if (status !== 0) {
      throw failure('guest-command-failed', { name: this.#name, command, status, output });
    }
    return output;
  }

  /** Resets the machine from inside, without a shutdown, and resolves when it has booted again. */
  async reboot(limitMs: number): Promise<void> {
    await this.#inTurn(() => {
      const booted = this.#nextBoot('boot again', limitMs);
      this.#socket.write('reboot reboot -f\n');
      return booted;
    });
  }

  /** Gives up the line; what was under way fails. */
  close(): void {
    this.#lose(failure('shell-closed', { name: this.#name }));
    this.#socket.destroy();
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(work);
    this.#turn = mine.catch(() => {});
    return mine;
  }

  #nextBoot(purpose: string, limitMs: number): Promise<void> {
    return this.#wait<void>(purpose, limitMs, (settle) => ({ type: 'boot', ...settle }));
  }

  #wait<T>(purpose: string, limitMs: number, awaited: (settle: Settle<T>) => Awaited): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#lost !== undefined) return reject(this.#lost);
      const done = () => {
        clearTimeout(timer);
        this.#awaited = undefined;
      };
      const settle = {
        resolve: (value: T) => {
          done();
          resolve(value);
        },
        reject: (error: Error) => {
          done();
          reject(error);
        },
      };
      const timer = setTimeout(() => {
        const progress = this.#progress();
        settle.reject(this.#failure(`did not ${purpose} within ${limitMs / 1000} s${progress}`));
      }, limitMs);
      this.#awaited = awaited(settle);
    });
  }

  /** How far the command that is waited for has come, for an error. */
  #progress(): string {
    if (this.#awaited?.type !== 'command') return '';
    const { lines } = this.#awaited;
    if (lines === undefined) return ' (the guest never began it)';
    return lines.length === 0 ? ' (it began)' : ` (it began and wrote:\n${lines.join('\n')})`;
  }

  #take(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop()!;
    for (const line of lines) this.#takeLine(line);
  }

  #takeLine(line: string): void {
    const awaited = this.#awaited;
    if (line.startsWith('@ready ')) {
      this.#boots++;
      if (awaited?.type === 'boot') awaited.resolve();
      else awaited?.reject(this.#failure('restarted in the middle of a command'));
    } else if (awaited?.type === 'command') {
      const end = `@end ${awaited.id} `;
      if (line === `@begin ${awaited.id}`) {
        awaited.lines = [];
      } else if (line.startsWith(end)) {
        const output = (awaited.lines ?? []).join('\n').replace(/\n$/, '');
        awaited.resolve({ output, status: Number(line.slice(end.length)) });
      } else {
        awaited.lines?.push(line);
      }
    }
  }

  #lose(reason: Error): void {
    this.#lost ??= reason;
    this.#awaited?.reject(this.#lost);
  }

  #failure(reason: string): TsvswitchError {
    return failure('guest-shell-failed', { name: this.#name, cause: reason });
  }
}

function connected(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      resolve(socket);
    });
  });
}
