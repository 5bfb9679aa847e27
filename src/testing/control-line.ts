/**
 * The driver's side of a control queue: says one command at a time and waits for its status.
 *
 * The command lies in readable descriptors, in any cut, and the status in a writable one behind
 * them. The next command waits until the device has used the last one.
 *
 * Sources: virtio 1.2 §5.1.6.5.
 */

import { failure, type TsvswitchError } from '../model/errors.ts';
import { native } from '../native/addon.ts';
import type { ControlCommand } from './control-commands.ts';
import { DriverQueue, type DriverQueueOptions } from './driver-queue.ts';
import type { VhostUserFrontend } from './frontend.ts';
import type { GuestMemory } from './guest-memory.ts';
import { checkPieces, type Piece } from './ring-driver.ts';
import { Wakeup } from './wakeup.ts';

/** How a command is laid out in the ring. */
export interface CommandLayout {
  /**
   * Bytes in each of the first descriptors; what remains is in one more. All in one unless given.
   */
  readonly pieces?: readonly number[];
  /** Through an indirect table, which must have been negotiated. */
  readonly indirect?: boolean;
}

const commandBytesMax = 65_536;
/** What stands where the device is to write, and is no status. */
const noStatus = 0xff;

/** The driver of a control queue. */
export class ControlLine {
  /** Its number among the device's queues. */
  readonly index: number;
  readonly driver: DriverQueue;
  readonly #memory: GuestMemory;
  readonly #kickFd = native().eventfdCreate();
  readonly #callFd = native().eventfdCreate();
  readonly #area: number;
  readonly #used = new Wakeup();
  #last: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(memory: GuestMemory, options: Omit<DriverQueueOptions, 'direction'>) {
    this.index = options.queue;
    this.#memory = memory;
    this.driver = new DriverQueue(memory, { ...options, direction: 'both' });
    this.#area = memory.allocate(commandBytesMax + 1, 64);
  }

  async start(frontend: VhostUserFrontend): Promise<void> {
    const { size, base, addresses } = this.driver;
    const line = { size, base, addresses, callFd: this.#callFd, kickFd: this.#kickFd };
    await frontend.startRing(this.index, line);
    await frontend.enableRing(this.index, true);
  }

  async stop(frontend: VhostUserFrontend): Promise<void> {
    await frontend.enableRing(this.index, false);
    await frontend.stopRing(this.index);
  }

  watch(): void {
    native().watchReadable(this.#callFd, () => {
      native().eventfdDrain(this.#callFd);
      this.#used.wake();
    });
  }

  fail(error: TsvswitchError): void {
    native().unwatchReadable(this.#callFd);
    this.#used.fail(error);
  }

  reset(): void {
    this.#used.reset();
  }

  kick(): void {
    if (this.#closed) throw failure('guest-closed');
    native().eventfdSignal(this.#kickFd);
  }

  close(): void {
    this.#closed = true;
    native().closeFd(this.#kickFd);
    native().closeFd(this.#callFd);
  }

  /** The status byte; throws TIMEOUT and PEER_VIOLATION. */
  command(command: ControlCommand, layout: CommandLayout, timeoutMs: number): Promise<number> {
    const answer = this.#last.then(() => this.#say(command, layout, timeoutMs));
    this.#last = answer.catch(() => {});
    return answer;
  }

  async #say(
    { class: of, command, data = new Uint8Array(0) }: ControlCommand,
    { pieces = [], indirect = false }: CommandLayout,
    timeoutMs: number,
  ): Promise<number> {
    const bytes = Uint8Array.of(of, command, ...data);
    if (bytes.length > commandBytesMax) {
      throw failure('command-too-long', { bytes: data.length, max: commandBytesMax - 2 });
    }
    this.#memory.bytes.set(bytes, this.#area);
    const status = this.#area + commandBytesMax;
    this.#memory.bytes[status] = noStatus;
    const chain = this.#chain(bytes.length, pieces, status);
    this.driver.checkLength(chain.length, indirect);
    if (!this.driver.hasRoom(chain.length, indirect)) {
      throw this.driver.violation('commands were taken and not returned');
    }
    this.driver.add(chain, indirect);
    // Asked for before the command is shown: the answer may be there at once.
    this.driver.armInterrupt();
    if (this.driver.publish()) this.kick();
    while (this.driver.takeUsed() === undefined) {
      await this.#used.wait(timeoutMs, `an answer to command ${of}.${command}`);
    }
    return this.#memory.bytes[status]!;
  }

  #chain(totalBytes: number, wanted: readonly number[], status: number): Piece[] {
    const lengths = checkPieces(wanted, totalBytes);
    const rest = totalBytes - lengths.reduce((sum, lengthBytes) => sum + lengthBytes, 0);
    if (rest > 0) lengths.push(rest);
    let offset = this.#area;
    const chain = lengths.map((lengthBytes): Piece => {
      const piece = { offset, lengthBytes };
      offset += lengthBytes;
      return piece;
    });
    return [...chain, { offset: status, lengthBytes: 1, written: true }];
  }
}
