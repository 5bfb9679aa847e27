/**
 * A switch and tiny guests on it, in a folder of their own: what the demo shows and tests build on.
 *
 * Machine N (from 1) is vmN with address 192.168.0.N/24 and MAC 52:54:00:00:00:0N, on socket N of
 * the switch. The switch and the machines are child processes; close() ends them all and removes
 * the folder, in whatever state the network is, and may be called at any time and again.
 */

import '../runtime/dispose.ts';
import { rmSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Accelerator, MachineMemory, VhostUserCard } from '../machine/qemu.ts';
import { shortTemporaryFolder } from '../machine/short-folder.ts';
import { umlControlLine } from '../machine/uml.ts';
import { failure } from '../model/errors.ts';
import { type TinyGuest, tinyGuestBoot } from './guest.ts';
import { Machine } from './qemu-machine.ts';
import { SwitchProcess } from './switch-process.ts';
import { UmlMachine } from './uml-machine.ts';

/** What machines are made of. */
export type Engine =
  | {
      readonly type: 'qemu';
      readonly guest: TinyGuest;
      readonly accelerator: Accelerator;
      readonly memory: MachineMemory;
    }
  | { readonly type: 'uml'; readonly guest: TinyGuest; readonly memoryFolder: string };

export interface TinyNetworkOptions {
  readonly machines: number;
  readonly engine: Engine;
  /** Of each port of the switch, as behind the path of `--socket`, such as `in-band=on`. */
  readonly portOptions?: string;
}

/** What may be unlike in machines of one network. */
export interface TinyMachineOptions extends Pick<VhostUserCard, 'queuePairs' | 'deviceOptions'> {
  /** 1 unless given. */
  readonly cpus?: number;
  /** In place of the network's. */
  readonly engine?: Engine;
  /** Where its card connects, in place of the switch's socket for it. */
  readonly socket?: string;
}

/** Enough for iperf3 and a kernel with room to spare. */
export const tinyMemoryMiB = 256;

const machinesMax = 9;
const switchLimitMs = 60_000;
/** A guest boots in about three seconds on an idle machine, without KVM. */
const bootLimitMs = 240_000;
const commandLimitMs = 60_000;

export class TinyNetwork {
  readonly folder: string;
  readonly machines: (Machine | UmlMachine)[] = [];
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
      throw failure('tiny-machines', { max: machinesMax, machines: options.machines });
    }
    return new TinyNetwork(shortTemporaryFolder('vm1.console'), options);
  }

  /** Starts the command whose main script is `script`, with one socket a machine. */
  async startSwitch(script: string): Promise<SwitchProcess> {
    const { machines, portOptions } = this.#options;
    const numbers = Array.from({ length: machines }, (_, index) => index + 1);
    this.switch = await SwitchProcess.start({
      script,
      sockets: numbers.map((number) => this.portSocket(number)),
      ...(portOptions && { portOptions }),
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

  mac(number: number): string {
    return `52:54:00:00:00:0${number}`;
  }

  /** Starts machine `number` and returns it when its guest has booted. */
  async boot(number: number, options: TinyMachineOptions = {}): Promise<Machine | UmlMachine> {
    const { engine = this.#options.engine, ...rest } = options;
    const machine =
      engine.type === 'qemu'
        ? await this.#startQemu(number, engine, rest)
        : await this.#startUml(number, engine, rest);
    this.machines[number - 1] = machine;
    // A close() in the meantime has not seen this machine.
    if (this.#closing.signal.aborted) await machine.stop();
    await machine.shell.ready(bootLimitMs);
    const { queuePairs = 1 } = options;
    if (engine.type === 'uml' && queuePairs > 1) {
      // With its one processor the driver uses one pair until it is told otherwise.
      await machine.shell.check(`ethtool -L eth0 combined ${queuePairs}`, commandLimitMs);
    }
    return machine;
  }

  #startQemu(
    number: number,
    { guest, accelerator, memory }: Extract<Engine, { type: 'qemu' }>,
    { cpus = 1, socket = this.portSocket(number), ...card }: Omit<TinyMachineOptions, 'engine'>,
  ): Promise<Machine> {
    const name = `vm${number}`;
    return Machine.start({
      name,
      folder: this.folder,
      cpus,
      memoryMiB: tinyMemoryMiB,
      memory,
      accelerator,
      boot: tinyGuestBoot(guest, name, `${this.address(number)}/24`),
      cards: [{ type: 'vhost-user', socket, mac: this.mac(number), ...card }],
      signal: this.#closing.signal,
    });
  }

  #startUml(
    number: number,
    { guest, memoryFolder }: Extract<Engine, { type: 'uml' }>,
    {
      cpus = 1,
      socket = this.portSocket(number),
      deviceOptions,
    }: Omit<TinyMachineOptions, 'engine'>,
  ): Promise<UmlMachine> {
    if (cpus !== 1 || deviceOptions !== undefined) {
      const sentence = 'User-mode Linux has one processor, and no options for its network card';
      throw failure('tiny-machine-option', { number, what: sentence });
    }
    const name = `vm${number}`;
    const { commandLine, ...boot } = tinyGuestBoot(guest, name, `${this.address(number)}/24`);
    const given = `guest.mac=${this.mac(number)} guest.control=${umlControlLine}`;
    return UmlMachine.start({
      name,
      memoryMiB: tinyMemoryMiB,
      memoryFolder,
      folder: this.folder,
      boot: { ...boot, commandLine: `${commandLine} ${given}` },
      sockets: [socket],
    });
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
    this.#closing.abort(failure('network-closed'));
    await Promise.all(this.machines.map((machine) => machine?.stop()));
    await this.switch?.stop();
    await rm(this.folder, { recursive: true, force: true });
    process.off('exit', this.#removeFolder);
  }
}
