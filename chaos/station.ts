/**
 * A simulated guest that sends whenever its owner has something for it to send and hands over what
 * arrives, through everything that happens to it. It is away, here, or detached: without a
 * connection, and about to go on over another one with the same rings. Only while it is here is the
 * end of its connection somebody's mistake; a driver's complaint about the device always is.
 */

import { setImmediate as turn } from 'node:timers/promises';
import type { TsvswitchError } from '#tsvswitch/index.js';
import { TestGuest, virtioFeatures } from '#tsvswitch/testing/index.js';
import { Violation } from './flow.ts';

export interface StationOptions {
  readonly name: string;
  readonly path: string;
  /** What to send now; none until wake(). */
  readonly nextFrames: () => readonly Uint8Array[];
  /** May throw Violation. */
  readonly onFrame: (frame: Uint8Array) => void;
  readonly onFailure: (violation: Violation) => void;
}

type Presence =
  | { readonly kind: 'away' }
  | { readonly kind: 'here'; readonly guest: TestGuest }
  /** Until `back` is resolved. */
  | { readonly kind: 'detached'; readonly guest: TestGuest; readonly back: Promise<void> };

/** Room for the windows of all flows, twice, even if all of them are flooded to here. */
const queueSize = 1024;
/** Longer than a busy machine takes for anything. */
const limitMs = 60_000;
/** Regions of guest memory, and how many are there from the start. */
const memoryRegions = 4;
const pluggedRegions = 2;
/** The longest a receive can wait. */
const foreverMs = 2 ** 31 - 1;

export class Station {
  readonly #options: StationOptions;
  #presence: Presence = { kind: 'away' };
  #wake: () => void = () => {};

  constructor(options: StationOptions) {
    this.#options = options;
  }

  /** Comes, as a guest with these rings, and begins to send and receive. */
  async come(packed: boolean): Promise<void> {
    const guest = await TestGuest.connect({
      path: this.#options.path,
      queueSize,
      memoryRegions,
      pluggedRegions,
      timeoutMs: limitMs,
      features:
        virtioFeatures.VIRTIO_F_VERSION_1 |
        virtioFeatures.VIRTIO_NET_F_MRG_RXBUF |
        virtioFeatures.VIRTIO_F_INDIRECT_DESC |
        virtioFeatures.VIRTIO_F_EVENT_IDX |
        (packed ? virtioFeatures.VIRTIO_F_RING_PACKED : 0n),
    });
    this.#presence = { kind: 'here', guest };
    void this.#keep(guest, () => this.#send(guest));
    void this.#keep(guest, () => this.#receive(guest));
  }

  /** Is gone on the spot. */
  vanish(): void {
    this.#goAway().disconnect();
  }

  /** Takes leave as a driver does. */
  async leave(): Promise<void> {
    await this.#goAway().close();
  }

  /**
   * From now on its connection may end; the function returned makes another one for the same rings.
   */
  detach(): () => Promise<void> {
    const guest = this.#guest;
    let isBack = () => {};
    const back = new Promise<void>((resolve) => {
      isBack = resolve;
    });
    this.#presence = { kind: 'detached', guest, back };
    return async () => {
      await guest.reconnect();
      this.#presence = { kind: 'here', guest };
      isBack();
      this.wake();
    };
  }

  /** Adds regions of memory, waits for `meanwhile`, and takes them back. */
  async hotPlug(regions: number, meanwhile: () => Promise<void>): Promise<void> {
    const guest = this.#guest;
    const added = Array.from({ length: regions }, (_, i) => pluggedRegions + i);
    for (const region of added) await guest.plugMemory(region);
    await meanwhile();
    for (const region of added.toReversed()) await guest.unplugMemory(region);
  }

  /** Sends a frame besides those it asks its owner for. */
  async send(frame: Uint8Array): Promise<void> {
    await this.#guest.send(frame);
  }

  /** Returns when everything sent is through with the switch; nothing may be sent meanwhile. */
  async flush(): Promise<void> {
    await this.#guest.flush();
  }

  /** There may be something to send. */
  wake(): void {
    this.#wake();
  }

  /** Is gone, if it was not. */
  end(): void {
    if (this.#presence.kind !== 'away') this.#presence.guest.disconnect();
    this.#presence = { kind: 'away' };
    this.wake();
  }

  get #guest(): TestGuest {
    if (this.#presence.kind === 'here') return this.#presence.guest;
    throw new Error(`${this.#options.name} is ${this.#presence.kind}`);
  }

  #goAway(): TestGuest {
    const guest = this.#guest;
    this.#presence = { kind: 'away' };
    this.wake();
    return guest;
  }

  #isGone(guest: TestGuest): boolean {
    return this.#presence.kind === 'away' || this.#presence.guest !== guest;
  }

  /**
   * Does the work, and again whenever its guest has a connection again, until the guest is gone.
   */
  async #keep(guest: TestGuest, work: () => Promise<void>): Promise<void> {
    while (!this.#isGone(guest)) {
      try {
        await work();
      } catch (cause) {
        const { code, message } = cause as TsvswitchError;
        const violation =
          cause instanceof Violation
            ? cause
            : new Violation(`${this.#options.name}: ${message}`, { cause });
        const isMistake = cause instanceof Violation || code === 'PEER_VIOLATION';
        if (isMistake || (!this.#isGone(guest) && this.#presence.kind === 'here')) {
          this.#options.onFailure(violation);
          return;
        }
        if (this.#presence.kind === 'detached') await this.#presence.back;
      }
    }
  }

  async #send(guest: TestGuest): Promise<void> {
    while (!this.#isGone(guest)) {
      const frames = this.#presence.kind === 'here' ? this.#options.nextFrames() : [];
      if (frames.length > 0) {
        await guest.sendAll(frames);
        await turn();
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }

  async #receive(guest: TestGuest): Promise<void> {
    // Throws once the guest is gone and everything that came before was taken.
    for (;;) {
      const packets = await guest.receiveAll({ timeoutMs: foreverMs });
      for (const { frame } of packets) this.#options.onFrame(frame);
      await turn();
    }
  }
}
