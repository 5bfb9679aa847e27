/**
 * The ports of a switch, by name, with the settings each was opened with or changed to. What every
 * kind has is done here, its bridge and its sources; the rest is the kind's (port/kind.ts).
 */

import { isDeepStrictEqual } from 'node:util';
import type { PortSettings } from '../model/settings.ts';
import { sourceRule } from '../policy/sources.ts';
import type { KeptSocket, PortPlace, PreparedPort } from '../port/kind.ts';
import { kindOf, type SwitchPort } from '../port/kinds.ts';
import type { PortEvent } from '../port/port.ts';
import type { Bridge } from './bridge.ts';
import type { Bridges } from './bridges.ts';
import { nameOf, type WantedPort } from './port-options.ts';

class Place implements PortPlace {
  readonly name: string;
  bridge: Bridge;
  isDown = false;
  readonly onEvent: (event: PortEvent) => void;
  readonly deliverReports: () => void;

  constructor(owner: PortsOwner, name: string, bridge: Bridge) {
    this.name = name;
    this.bridge = bridge;
    this.onEvent = owner.onEvent;
    this.deliverReports = owner.deliverReports;
  }
}

interface Entry {
  readonly port: SwitchPort;
  readonly place: Place;
  settings: PortSettings;
}

export interface PortsOwner {
  readonly onEvent: (event: PortEvent) => void;
  readonly deliverReports: () => void;
}

export class Ports {
  readonly #owner: PortsOwner;
  readonly #bridges: Bridges;
  readonly #byName = new Map<string, Entry>();

  constructor(owner: PortsOwner, bridges: Bridges) {
    this.#owner = owner;
    this.#bridges = bridges;
  }

  get all(): SwitchPort[] {
    return Array.from(this.#byName.values(), ({ port }) => port);
  }

  get settings(): Record<string, PortSettings> {
    return Object.fromEntries(Array.from(this.#byName, ([name, { settings }]) => [name, settings]));
  }

  /** Of a port that is there; not to be changed. */
  settingsOf(name: string): PortSettings {
    return this.#byName.get(name)!.settings;
  }

  named(name: string): SwitchPort | undefined {
    return this.#byName.get(name)?.port;
  }

  /** Whether it is one of these, and not an earlier one of its name. */
  has(port: SwitchPort): boolean {
    return this.#byName.get(port.name)?.port === port;
  }

  /** Throws what preparing and opening a port throws, SOCKET_DUPLICATE and BAD_OPTION. */
  add(wanted: WantedPort): SwitchPort {
    const { settings } = wanted;
    const name = nameOf(wanted, this.#byName);
    return this.open(name, settings, kindOf(settings).prepare(settings, 'now'));
  }

  /** Opens what was prepared, in the place of `kept` if that is given. Throws as that does. */
  open(
    name: string,
    settings: PortSettings,
    prepared: PreparedPort<SwitchPort>,
    kept?: KeptSocket,
  ): SwitchPort {
    let place: Place;
    try {
      place = new Place(this.#owner, name, this.#bridges.named(settings.bridge));
    } catch (error) {
      prepared.discard();
      kept?.close();
      throw error;
    }
    const port = prepared.open(place, kept);
    this.#byName.set(name, { port, place, settings });
    // In this turn, and so before any frame.
    if (settings.source !== undefined) this.#bind(port, settings);
    if (settings.down) this.#setDown(port, place, true);
    return port;
  }

  /** Closes a port and forgets it. */
  remove(port: SwitchPort): void {
    this.release(port.name)?.close();
  }

  /** As remove(), but for the socket that the port listens on. */
  release(name: string): KeptSocket | undefined {
    const { port, settings } = this.#byName.get(name)!;
    this.#byName.delete(name);
    this.#bridges.fixed.forgetPort(name);
    return kindOf(settings).release(port);
  }

  /**
   * What makes a port as in `to`, none of which needs another port. Throws what the kind's change()
   * throws, having changed nothing; what it returns may throw too, and settings then say how far it
   * came.
   */
  prepareChange(name: string, to: PortSettings): () => void {
    const entry = this.#byName.get(name)!;
    const { port, place, settings: from } = entry;
    const changeOwn = kindOf(from).change(port, from, to);
    return () => {
      changeOwn();
      entry.settings = { ...to, bridge: from.bridge };
      const bridge = this.#bridges.named(to.bridge);
      if (bridge !== place.bridge) {
        this.#bridges.fixed.forgetPort(name);
        port.handle.move(bridge.handle);
      }
      place.bridge = bridge;
      if (!isDeepStrictEqual(from.source, to.source)) this.#bind(port, to);
      if (place.isDown !== (to.down ?? false)) this.#setDown(port, place, to.down ?? false);
      entry.settings = to;
    };
  }

  #setDown(port: SwitchPort, place: Place, down: boolean): void {
    port.handle.set('admin', { down });
    place.isDown = down;
  }

  #bind(port: SwitchPort, { source }: PortSettings): void {
    const rule = sourceRule(source);
    port.handle.set('sources', rule);
  }
}
