/**
 * The bridges of a switch, by name, and how long each remembers silent addresses. A port that names
 * one which is not there makes it; it stays until it is removed or the switch is closed.
 */

import { defaultBridge } from '../model/place.ts';
import type { BridgeSettings } from '../model/settings.ts';
import type { Dataplane } from '../native/addon.ts';
import { Bridge } from './bridge.ts';
import { FixedAddresses } from './fixed-addresses.ts';

interface Entry {
  readonly bridge: Bridge;
  ageingSeconds: number;
}

export class Bridges {
  /** Of bridges that say nothing else. */
  ageingSeconds: number;
  /** The bridge of ports that name none. */
  readonly byDefault: Bridge;
  readonly fixed = new FixedAddresses();
  readonly #dataplane: Dataplane;
  readonly #entries = new Map<string, Entry>();

  constructor(dataplane: Dataplane, ageingSeconds: number) {
    this.#dataplane = dataplane;
    this.ageingSeconds = ageingSeconds;
    this.byDefault = this.named(defaultBridge);
  }

  get all(): Bridge[] {
    return Array.from(this.#entries.values(), ({ bridge }) => bridge);
  }

  get settings(): Record<string, BridgeSettings> {
    return Object.fromEntries(
      Array.from(this.#entries, ([name, { ageingSeconds }]) => [name, { ageingSeconds }]),
    );
  }

  /** Made if it is not there. Throws TOO_MANY_PORTS: a switch has no more bridges than ports. */
  named(name: string, { ageingSeconds = this.ageingSeconds }: BridgeSettings = {}): Bridge {
    const present = this.#entries.get(name);
    if (present !== undefined) return present.bridge;
    const bridge = new Bridge(this.#dataplane, name, ageingSeconds);
    this.#entries.set(name, { bridge, ageingSeconds });
    return bridge;
  }

  /** Of one that is there. */
  change(name: string, { ageingSeconds = this.ageingSeconds }: BridgeSettings): void {
    const entry = this.#entries.get(name)!;
    entry.bridge.handle.setAgeing(ageingSeconds);
    entry.ageingSeconds = ageingSeconds;
  }

  /** One that no port is on, and not the one by default. */
  remove(name: string): void {
    this.fixed.forgetBridge(name);
    this.#entries.get(name)!.bridge.remove();
    this.#entries.delete(name);
  }
}
