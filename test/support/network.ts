/**
 * A switch in this process with test guests on its ports, and everything it has reported. Its
 * workers are confined, as the command's are.
 *
 * How absence is proved: a worker gives a transmit buffer back only after its frame was delivered,
 * and after it was counted. So once the sender's flush() has returned, every used index and every
 * counter is final, and what is not there then never comes. Events of one worker arrive in order: a
 * later one that has arrived proves that an earlier one is not under way (fence()).
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import {
  type PortCounters,
  type PortOptions,
  Switch,
  type SwitchEvent,
  type SwitchOptions,
} from '../../src/index.ts';
import { offerOfPort } from '../../src/port/vhost-user/offer.ts';
import type { VhostUserPort } from '../../src/port/vhost-user/vhost-user-port.ts';
import { type FrameLayout, TestGuest, type TestGuestOptions } from '../../src/testing/index.ts';
import { emptyLayout, u64Layout } from '../../src/vhost-user/message.ts';
import { broadcast, ethernetFrame, macOf } from './ethernet.ts';

/** For what is under way already; a busy machine takes its time. */
const limitMs = 60_000;

type EventOf<Type extends SwitchEvent['type']> = Extract<SwitchEvent, { type: Type }>;

/** A port to which nothing is withheld that a frontend may be served, and what it offers. */
export const generousPort = { inBand: true, ringReset: true };
export const generousOffer = offerOfPort({ ...generousPort, hasAddress: false });

export class SwitchNetwork {
  readonly vswitch: Switch;
  readonly events: SwitchEvent[] = [];
  readonly #folder: string;
  readonly #guests: TestGuest[] = [];
  #fences = 0;

  private constructor(options: SwitchOptions) {
    this.#folder = mkdtempSync(join(tmpdir(), 'switch-'));
    this.vswitch = Switch.open({ sandbox: options.clock !== 'manual', ...options });
    this.vswitch.on('event', (event) => this.events.push(event));
  }

  static open(ports: number, options: SwitchOptions = {}): SwitchNetwork {
    const network = new SwitchNetwork(options);
    for (let i = 0; i < ports; i++) network.addPort();
    return network;
  }

  addPort(
    options: Pick<PortOptions, 'ringReset' | 'inBand' | 'mtu' | 'source'> = {},
  ): VhostUserPort {
    return this.vswitch.addPort({ ...options, path: this.path(this.vswitch.ports.length) });
  }

  path(port: number): string {
    return join(this.#folder, `p${port}.sock`);
  }

  port(index: number): VhostUserPort {
    return this.vswitch.ports[index] as VhostUserPort;
  }

  /** A guest that runs on a port; it is closed with the network at the latest. */
  async connect(port: number, options: Omit<TestGuestOptions, 'path'> = {}): Promise<TestGuest> {
    const guest = await TestGuest.connect({
      path: this.path(port),
      timeoutMs: limitMs,
      ...options,
    });
    this.#guests.push(guest);
    // Without REPLY_ACK nothing says that the last request was served; an answer to another does.
    await guest.frontend.ask('GET_FEATURES', emptyLayout, undefined, u64Layout);
    return guest;
  }

  connectAll(options: Omit<TestGuestOptions, 'path'> = {}): Promise<TestGuest[]> {
    return Promise.all(this.vswitch.ports.map((_, i) => this.connect(i, options)));
  }

  eventsOf<Type extends SwitchEvent['type']>(type: Type): EventOf<Type>[] {
    return this.events.filter((event): event is EventOf<Type> => event.type === type);
  }

  /** The `count`th event of a type, as soon as it is there. */
  async event<Type extends SwitchEvent['type']>(type: Type, count = 1): Promise<EventOf<Type>> {
    let limit: NodeJS.Timeout | undefined;
    let look: (() => void) | undefined;
    try {
      return await new Promise((resolve, reject) => {
        look = () => {
          const event = this.eventsOf(type)[count - 1];
          if (event !== undefined) resolve(event);
        };
        const seen = () => this.events.map((event) => event.type).join(', ');
        limit = setTimeout(
          () => reject(new Error(`no ${type} number ${count}; there were: ${seen()}`)),
          limitMs,
        );
        this.vswitch.on('event', look);
        look();
      });
    } finally {
      clearTimeout(limit);
      if (look !== undefined) this.vswitch.off('event', look);
    }
  }

  /** After this, every event of what `guest`'s worker did before has arrived. */
  async fence(guest: TestGuest): Promise<void> {
    this.#fences++;
    const mac = macOf(0xfe, this.#fences);
    const learned = this.eventsOf('mac-learned').length;
    await guest.send(ethernetFrame({ to: mac, from: mac }));
    await guest.flush();
    for (let count = learned + 1; ; count++) {
      if ((await this.event('mac-learned', count)).mac === mac) return;
    }
  }

  async close(): Promise<void> {
    for (const guest of this.#guests) await guest.close();
    this.vswitch.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Frames that `guest` has ever been given, taken or not: its receiveq's used index. */
export function deliveredTo(guest: TestGuest): number {
  return guest.receiveq.driver.ring.usedIndex;
}

/** Sends frames one after the other and expects them at the other guest, whole and in order. */
export async function expectDelivery(
  from: TestGuest,
  to: TestGuest,
  frames: readonly Uint8Array[],
  layout: FrameLayout = {},
): Promise<void> {
  for (const frame of frames) await from.send(frame, layout);
  for (const frame of frames) {
    const received = await to.receive();
    // Comparing bytes first keeps a failure from printing thousands of lines of them.
    if (Buffer.compare(received, frame) !== 0) expect([...received]).toEqual([...frame]);
  }
  await from.flush();
  expect(to.pendingFrames).toBe(0);
}

/** As ARP begins: a broadcast that everybody learns guest `index` from; the others receive it. */
export async function announce(index: number, guests: readonly TestGuest[]): Promise<void> {
  await guests[index]!.send(ethernetFrame({ from: macOf(index), to: broadcast }));
  await guests[index]!.flush();
  for (const [i, guest] of guests.entries()) if (i !== index) await guest.receive();
}

/** The reasons frames were dropped for, and how many. */
export function dropsOf({ drops }: PortCounters): Record<string, number> {
  return Object.fromEntries(Object.entries(drops).filter(([, count]) => count > 0));
}
