/**
 * Makes a switch as a document of settings says: every change that difference() lists, or none.
 *
 *     difference ──► prepare ──► make, in order ──► done
 *                       │              │ fails
 *                       │ fails        ▼
 *                       ▼         the difference back, made likewise
 *                    throws       throws
 *
 * Preparing opens sockets and looks up users, groups and CPUs; what fails there is given back, and
 * nothing was touched.
 *
 * New sockets are open before anything old is closed. A port that takes the socket of one that goes
 * gets the very socket, so that no machine finds it missing. Each part of the switch (ports,
 * bridges, links, workers) knows its own settings and changes them with what it does, so that what
 * is in force can be read at every step; taking back is nothing but going from there to where it
 * began.
 *
 * Runs in one turn of the event loop. Frames go on: every change takes effect between two rounds of
 * the workers.
 */

import { resolve } from 'node:path';
import { changeText } from '../model/change-text.ts';
import { type Change, difference } from '../model/difference.ts';
import { failure, TsvswitchError, withOutcome } from '../model/errors.ts';
import { bridgeOf } from '../model/place.ts';
import type { FixedAddress, PortSettings, SwitchSettings } from '../model/settings.ts';
import { native } from '../native/addon.ts';
import type { Links } from '../policy/impairment/links.ts';
import type { KeptSocket, PreparedPort } from '../port/kind.ts';
import { kindOf, type SwitchPort } from '../port/kinds.ts';
import type { Bridges } from './bridges.ts';
import type { Ports } from './ports.ts';
import type { Workers } from './workers.ts';

/** What a switch consists of, as far as settings go. */
export interface Parts {
  readonly bridges: Bridges;
  readonly ports: Ports;
  readonly links: Links;
  readonly workers: Workers;
  /** Before a port's number loses its name. */
  readonly forgetPorts: () => void;
  readonly onRemoved: (port: string) => void;
}

/** What is in force; not to be changed. */
export function settingsInForce({ workers, bridges, ports, links }: Parts): SwitchSettings {
  return {
    ...workers.settings,
    ageingSeconds: bridges.ageingSeconds,
    bridges: bridges.settings,
    ports: ports.settings,
    fdb: bridges.fixed.settings,
    ...links.settings,
  };
}

/** Settings that were checked. Returns what was done; throws why nothing was. */
export function apply(parts: Parts, wanted: SwitchSettings): readonly Change[] {
  const before = settingsInForce(parts);
  const changes = difference(before, wanted);
  const kept = new KeptSockets();
  try {
    new Application(parts, changes, kept).make();
  } catch (error) {
    throw undone(error, takeBack(parts, before, kept));
  } finally {
    kept.close();
  }
  parts.bridges.ageingSeconds = wanted.ageingSeconds;
  return changes;
}

/** Goes back to what was; what is to be said of it, if it shows. */
function takeBack(parts: Parts, before: SwitchSettings, kept: KeptSockets): string | undefined {
  const changes = difference(settingsInForce(parts), before);
  try {
    new Application(parts, changes, kept).makeAllThatCanBe();
  } catch (error) {
    const remaining = difference(before, settingsInForce(parts)).map(changeText).join(', ');
    return `it could not be taken back (${(error as Error).message}): ${remaining}`;
  }
  const opened = changes.filter(isOpening).map(({ port }) => port);
  return opened.length === 0 ? undefined : `all is as before; opened anew: ${opened.join(', ')}`;
}

/** With the code that it has. */
function undone(error: unknown, outcome: string | undefined): TsvswitchError {
  const known =
    error instanceof TsvswitchError
      ? error
      : failure('settings-failed', { cause: (error as Error).message }, { cause: error });
  return outcome === undefined ? known : withOutcome(known, outcome);
}

/** Sockets of ports that have gone, by their paths, for those that come. */
class KeptSockets {
  readonly #sockets = new Map<string, KeptSocket>();

  has(path: string): boolean {
    return this.#sockets.has(path);
  }

  keep(path: string, socket: KeptSocket): void {
    this.#sockets.set(path, socket);
  }

  /** If one of that kind is there; the taker's from then on. */
  take(path: string, kind: PortSettings['kind']): KeptSocket | undefined {
    const socket = this.#sockets.get(path);
    if (socket === undefined) return undefined;
    this.#sockets.delete(path);
    if (socket.kind === kind) return socket;
    socket.close();
    return undefined;
  }

  close(): void {
    for (const socket of this.#sockets.values()) socket.close();
    this.#sockets.clear();
  }
}

type Opening = Extract<Change, { type: 'port-added' | 'port-reopened' }>;

const isOpening = (change: Change): change is Opening =>
  change.type === 'port-added' || change.type === 'port-reopened';

/** Of the file that a port makes, in one spelling. */
function pathOf(settings: PortSettings): string | undefined {
  const path = kindOf(settings).socketPath(settings);
  return path === undefined ? undefined : resolve(path);
}

class Application {
  readonly #parts: Parts;
  readonly #kept: KeptSockets;
  readonly #changes: readonly Change[];
  readonly #prepared = new Map<string, PreparedPort<SwitchPort>>();
  readonly #steps: (() => void)[] = [];

  /** Prepares everything, and has touched nothing if it throws. */
  constructor(parts: Parts, changes: readonly Change[], kept: KeptSockets) {
    this.#parts = parts;
    this.#kept = kept;
    this.#changes = changes;
    this.#checkCounts();
    try {
      this.#preparePorts();
      // Those that go do so first of all, so that two ports can exchange their sockets.
      for (const change of changes) {
        if (change.type === 'port-removed') this.#steps.push(() => this.#remove(change.port));
        if (change.type === 'port-reopened') this.#steps.push(() => this.#close(change.port));
      }
      for (const change of changes) this.#steps.push(this.#stepOf(change));
    } catch (error) {
      this.#discard();
      throw error;
    }
  }

  make(): void {
    try {
      for (const step of this.#steps) step();
    } finally {
      this.#discard();
    }
  }

  /** The steps behind one that fails are made as well; throws why the first failed. */
  makeAllThatCanBe(): void {
    const errors: unknown[] = [];
    try {
      for (const step of this.#steps) {
        try {
          step();
        } catch (error) {
          errors.push(error);
        }
      }
    } finally {
      this.#discard();
    }
    if (errors.length > 0) throw errors[0];
  }

  /** How many there are at once: ports go before others come, bridges after. */
  #checkCounts(): void {
    const count = (...types: Change['type'][]) =>
      this.#changes.filter(({ type }) => types.includes(type)).length;
    const { portsMax } = native();
    const { bridges, ports } = this.#parts;
    const portCount = ports.all.length + count('port-added') - count('port-removed');
    const bridgeCount = bridges.all.length + count('bridge-added');
    for (const [key, number] of [
      ['ports', portCount],
      ['bridges', bridgeCount],
    ] as const) {
      if (number <= portsMax) continue;
      throw failure('too-many-ports', { key, number, max: portsMax });
    }
  }

  #preparePorts(): void {
    const going = new Set(
      this.#changes.flatMap((change) => {
        if (change.type !== 'port-removed' && change.type !== 'port-reopened') return [];
        return pathOf(this.#parts.ports.settingsOf(change.port)) ?? [];
      }),
    );
    for (const { port, to } of this.#changes.filter(isOpening)) {
      const kind = kindOf(to);
      const path = pathOf(to);
      const isTaken = path !== undefined && (going.has(path) || this.#kept.has(path));
      this.#prepared.set(port, kind.prepare(to, isTaken ? 'later' : 'now'));
    }
  }

  #stepOf(change: Change): () => void {
    const { bridges, ports, links, workers } = this.#parts;
    switch (change.type) {
      case 'port-removed':
        return () => {};
      case 'bridge-added':
        return () => void bridges.named(change.bridge, change.to);
      case 'bridge-changed':
        return () => bridges.change(change.bridge, change.to);
      case 'bridge-removed':
        return () => bridges.remove(change.bridge);
      case 'port-changed':
        return ports.prepareChange(change.port, change.to);
      case 'port-reopened':
      case 'port-added':
        return () => this.#open(change);
      case 'address-fixed':
      case 'address-freed':
        return () => this.#fix(change);
      case 'link-changed':
        return links.prepareHop(change.link, change.to);
      case 'partition-changed':
        return links.prepareSides(change.to);
      case 'workers-changed':
        workers.check(change.to);
        return () => workers.change(change.to);
    }
  }

  #fix({ type, address }: Extract<Change, { address: FixedAddress }>): void {
    const { bridges, ports } = this.#parts;
    const bridge = bridges.named(bridgeOf(address, ports.settings));
    if (type === 'address-freed') bridges.fixed.free(address, bridge);
    else bridges.fixed.fix(address, bridge, ports.named(address.port ?? ''));
  }

  #remove(name: string): void {
    this.#close(name);
    this.#parts.onRemoved(name);
  }

  #close(name: string): void {
    const { ports, links, forgetPorts } = this.#parts;
    forgetPorts();
    const path = pathOf(ports.settingsOf(name));
    const socket = ports.release(name);
    links.forget(name);
    // Until all is done: it may be wanted back.
    if (path !== undefined && socket !== undefined) this.#kept.keep(path, socket);
  }

  #open({ port, to }: Opening): void {
    const path = pathOf(to);
    const kept = path === undefined ? undefined : this.#kept.take(path, to.kind);
    const prepared = this.#prepared.get(port)!;
    // It gives back what it has by itself, from here on.
    this.#prepared.delete(port);
    this.#parts.ports.open(port, to, prepared, kept);
  }

  #discard(): void {
    for (const prepared of this.#prepared.values()) prepared.discard();
    this.#prepared.clear();
  }
}
