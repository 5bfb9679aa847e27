/**
 * A switch and tiny guests on it, in a folder of their own: what the demo shows and tests build on.
 *
 * Machine N (from 1) is vmN with address 192.168.0.N/24 and MAC 52:54:00:00:00:0N, on socket N of
 * the switch. The switch and the machines are child processes; close() ends them all and removes
 * the folder, in whatever state the network is, and may be called at any time and again.
 */

import '../dispose.ts';
import { rmSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { TsvswitchError } from '../errors.ts';
import { Machine } from './machine.ts';
import type { Accelerator, MachineMemory, VhostUserCard } from './qemu.ts';
import { shortTemporaryFolder } from './short-folder.ts';
import { SwitchProcess } from './switch-process.ts';
import { type TinyGuest, tinyGuestBoot } from './tiny-guest.ts';

export interface TinyNetworkOptions {
  readonly machines: number;
  readonly guest: TinyGuest;
  readonly accelerator: Accelerator;
  readonly memory: MachineMemory;
}

/** What may be unlike in machines of one network. */
export interface TinyMachineOptions extends Pick<VhostUserCard, 'queuePairs' | 'deviceOptions'> {
  /** 1 unless given. */
  readonly cpus?: number;
}

/** Enough for iperf3 and a kernel with room to spare. */
export const tinyMemoryMiB = 256;

const machinesMax = 9;
const switchLimitMs = 60_000;
/** A guest boots in about three seconds on an idle machine, without KVM. */
const bootLimitMs = 240_000;

export class TinyNetwork {
  readonly folder: string;
  readonly machines: Machine[] = [];
  switch: SwitchProcess | undefined;
  readonly #options: TinyNetworkOptions;
  readonly #closing = new AbortController();
  #closed: Promise<void> | undefined;
  readonly #removeFolder = () => rmSync(this.folder, { recursive: true, force: true });

  private constructor(folder: string, options: TinyNetworkOptions) {
    this.folder = folder;
    this.#options = options;
    // A process that ends without close() still takes its children along; this is for the folder.
    process.once('exit', this.#removeFolder);
  }

  static async create(options: TinyNetworkOptions): Promise<TinyNetwork> {
    if (options.machines < 1 || options.machines > machinesMax) {
      throw new TsvswitchError(
        'BAD_OPTION',
        `a tiny network has 1 to ${machinesMax} machines, not ${options.machines}`,
      );
    }
    return new TinyNetwork(shortTemporaryFolder('vm1.console'), options);
  }

  /** Starts the command whose main script is `script`, with one socket a machine. */
  async startSwitch(script: string): Promise<SwitchProcess> {
    const numbers = Array.from({ length: this.#options.machines }, (_, index) => index + 1);
    this.switch = await SwitchProcess.start({
      script,
      sockets: numbers.map((number) => this.portSocket(number)),
      limitMs: switchLimitMs,
      signal: this.#closing.signal,
    });
    return this.switch;
  }

  portSocket(number: number): string {
    return join(this.folder, `port${number}`);
  }

  address(number: number): string {
    return `192.168.0.${number}`;
  }

  /** Starts machine `number` and returns it when its guest has booted. */
  async boot(number: number, options: TinyMachineOptions = {}): Promise<Machine> {
    const { guest, accelerator, memory } = this.#options;
    const { cpus = 1, ...card } = options;
    const name = `vm${number}`;
    const machine = await Machine.start({
      name,
      folder: this.folder,
      cpus,
      memoryMiB: tinyMemoryMiB,
      memory,
      accelerator,
      boot: tinyGuestBoot(guest, name, `${this.address(number)}/24`),
      cards: [
        {
          type: 'vhost-user',
          socket: this.portSocket(number),
          mac: `52:54:00:00:00:0${number}`,
          ...card,
        },
      ],
      signal: this.#closing.signal,
    });
    this.machines[number - 1] = machine;
    // A close() in the meantime has not seen this machine.
    if (this.#closing.signal.aborted) await machine.stop();
    await machine.shell.ready(bootLimitMs);
    return machine;
  }

  /** Ends everything, the machines first, and removes the folder. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    this.#closing.abort(new TsvswitchError('CLOSED', 'the network was closed'));
    await Promise.all(this.machines.map((machine) => machine?.stop()));
    await this.switch?.stop();
    await rm(this.folder, { recursive: true, force: true });
    process.off('exit', this.#removeFolder);
  }
}
