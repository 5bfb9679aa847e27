/**
 * A real machine, QEMU with the tiny guest, and a simulated guest that sends it numbered pings all
 * along. The machine's kernel answers each of them, so that a reply in its turn means both ways
 * worked. The two have a bridge of their own: what is flooded to the others would fill a machine's
 * ring, which is slow where there is no KVM.
 *
 * What is done to the machine takes it seconds to recover from; reset() and kill() return at once,
 * and settled is when it answers again.
 */

import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { labEngines } from '#tsvswitch/lab/engines.js';
import { Qmp } from '#tsvswitch/machine/qmp.js';
import { arp, icmp4, parse } from '#tsvswitch/testing/index.js';
import { type TinyGuest, tinyGuest, tinyGuestBoot } from '#tsvswitch/tiny/guest.js';
import { tinyMemoryMiB } from '#tsvswitch/tiny/network.js';
import { Machine } from '#tsvswitch/tiny/qemu-machine.js';
import { Flow, Violation } from './flow.ts';
import { Station } from './station.ts';

type Engines = Awaited<ReturnType<typeof labEngines>>;

export const machinesBridge = 'machines';

const name = 'machine';
const machineIp = '192.168.0.1';
const machineMac = '52:54:00:00:00:01';
const pingerIp = '192.168.0.2';
const pingerMac = '52:54:00:c1:00:02';
/** Far less than a machine's ring holds. */
const windowFrames = 8;
const identifier = 0xc405;
const payloadBytes = 64;
/** Between pings to a machine that does not answer yet. */
const pauseMs = 200;
/** A guest boots in seconds, and in many of them on a busy machine without KVM. */
const bootLimitMs = 600_000;

export class PingedMachine {
  readonly flow = new Flow('pings', windowFrames);
  readonly pinger: Station;
  readonly #folder: string;
  readonly #guest: TinyGuest;
  readonly #engines: Engines;
  readonly #onFailure: (violation: Violation) => void;
  #machine: Machine | undefined;
  #settled: Promise<void> = Promise.resolve();
  #closed = false;

  private constructor(
    folder: string,
    guest: TinyGuest,
    engines: Engines,
    onFailure: (violation: Violation) => void,
  ) {
    this.#folder = folder;
    this.#guest = guest;
    this.#engines = engines;
    this.#onFailure = onFailure;
    this.pinger = new Station({
      name: 'the pinging guest',
      path: this.pingerSocket,
      nextFrames: () => (this.flow.room > 0 ? [ping(this.flow.take())] : []),
      onFrame: (frame) => this.#take(frame),
      onFailure,
    });
  }

  /** The tiny guest is built, or taken from the cache; nothing runs yet. */
  static async prepare(
    folder: string,
    onFailure: (violation: Violation) => void,
  ): Promise<PingedMachine> {
    const [guest, host] = [
      await tinyGuest(),
      await labEngines([{ engine: 'qemu', memoryMiB: tinyMemoryMiB }], 0),
    ];
    return new PingedMachine(folder, guest, host, onFailure);
  }

  get machineSocket(): string {
    return join(this.#folder, `${name}.sock`);
  }

  get pingerSocket(): string {
    return join(this.#folder, 'pinger.sock');
  }

  /** Resolves when the machine answers in time again; never rejects. */
  get settled(): Promise<void> {
    return this.#settled;
  }

  /** Starts QEMU, on ports that are there. */
  start(): void {
    this.#change(() => this.#boot());
  }

  /** The machine begins anew, with the same QEMU. */
  reset(): void {
    this.#change(async () => {
      const qmp = await Qmp.connect(name, this.#qmpSocket);
      try {
        await qmp.command('system_reset');
      } finally {
        qmp.close();
      }
    });
  }

  /** Another QEMU takes the place of this one, which is killed. */
  kill(): void {
    this.#change(async () => {
      await this.#halt();
      await this.#boot();
    });
  }

  /** The switch has come back: the machine finds it by itself. */
  recover(): void {
    this.#change(() => this.pinger.wake());
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.pinger.end();
    await this.#settled;
    await this.#halt();
  }

  get #qmpSocket(): string {
    return join(this.#folder, `${name}.qmp`);
  }

  #change(make: () => unknown): void {
    this.flow.disturb();
    const before = this.#settled;
    this.#settled = (async () => {
      await before;
      this.flow.disturb();
      await make();
      await this.#answers();
    })().catch((cause: Error) => {
      if (!this.#closed) this.#onFailure(new Violation(`the machine: ${cause.message}`, { cause }));
    });
  }

  async #boot(): Promise<void> {
    this.#machine = await Machine.start({
      name,
      folder: this.#folder,
      cpus: 1,
      memoryMiB: tinyMemoryMiB,
      memory: this.#engines.qemu!.memory,
      accelerator: this.#engines.qemu!.accelerator,
      boot: tinyGuestBoot(this.#guest, name, `${machineIp}/24`),
      qmpSocket: this.#qmpSocket,
      cards: [
        {
          type: 'vhost-user',
          socket: this.machineSocket,
          mac: machineMac,
          reconnect: this.#engines.qemu!.reconnect,
        },
      ],
    });
  }

  /** As if the power were cut. */
  async #halt(): Promise<void> {
    const machine = this.#machine;
    if (machine === undefined) return;
    process.kill(machine.pid, 'SIGKILL');
    await machine.ended;
    await machine.stop();
    this.#machine = undefined;
  }

  /** Pings now and then until one that was sent from now on is answered. */
  async #answers(): Promise<void> {
    const first = this.flow.next;
    const deadlineMs = performance.now() + bootLimitMs;
    while (this.flow.expected <= first) {
      if (this.#closed) return;
      if (performance.now() > deadlineMs) {
        throw new Error(`does not answer within ${bootLimitMs / 1000} s`);
      }
      this.flow.reopen();
      this.pinger.wake();
      await sleep(pauseMs);
    }
    this.flow.settle();
    this.pinger.wake();
  }

  #take(bytes: Uint8Array): void {
    const frame = parse(bytes);
    if (frame.arp?.operation === 'request' && frame.arp.targetIp === pingerIp) {
      const { senderMac, senderIp } = frame.arp;
      const reply = arp({
        operation: 'reply',
        ...{ senderMac: pingerMac, senderIp: pingerIp },
        ...{ targetMac: senderMac, targetIp: senderIp },
      });
      // The kernel asks again if this one is lost with the connection.
      this.pinger.send(reply).catch(() => {});
    }
    if (frame.icmp4?.type !== 0) return;
    const number = Buffer.from(frame.payload).readUInt32BE();
    if (Buffer.compare(frame.payload, payloadOf(number)) !== 0) {
      throw new Violation(`pings: the reply to ${number} is damaged`);
    }
    this.flow.arrived(number);
    this.pinger.wake();
  }
}

function payloadOf(number: number): Buffer {
  const payload = Buffer.alloc(payloadBytes, number & 0xff);
  payload.writeUInt32BE(number);
  return payload;
}

function ping(number: number): Uint8Array {
  return icmp4({
    ...{ to: machineMac, from: pingerMac, source: pingerIp, target: machineIp },
    ...{ id: identifier, sequence: number & 0xffff },
    payload: payloadOf(number),
  });
}
