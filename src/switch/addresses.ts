/** What the bridges of a switch have learned, for the process that goes on with it. */

import { formatMac } from '../model/mac.ts';
import { placeKey } from '../model/place.ts';
import type { Switch } from './switch.ts';

/** An address of a bridge: MAC as a number, VLAN, name of the port. */
export type LearnedPlace = readonly [mac: number, vlan: number, port: string];

export interface Learned {
  readonly bridge: string;
  readonly learned: readonly LearnedPlace[];
}

/** In pieces, each of one bridge. */
const pieceMax = 4096;

export function learnedAddresses({ bridges }: Switch): Learned[] {
  return bridges.flatMap(({ name, handle }) => {
    const all = handle
      .readFdb()
      .flatMap(({ mac, vlan, port, flags }): LearnedPlace[] =>
        port === undefined || flags.length > 0 ? [] : [[mac, vlan, port.name]],
      );
    const pieces = Math.ceil(all.length / pieceMax);
    return Array.from({ length: pieces }, (_, piece) => ({
      bridge: name,
      learned: all.slice(piece * pieceMax, (piece + 1) * pieceMax),
    }));
  });
}

/**
 * Learns them again, but for those whose place is fixed, or that are behind a port that is gone, on
 * another bridge, or without its machine: frames would go where nobody is.
 */
export function learnAgain(vswitch: Switch, all: readonly Learned[]): void {
  const bridges = new Map(vswitch.bridges.map((bridge) => [bridge.name, bridge]));
  const ports = new Map(vswitch.ports.map((port) => [port.name, port]));
  const { fdb, ports: settings } = vswitch.settings;
  const fixed = new Set(fdb.map((address) => placeKey(address, settings)));
  for (const { bridge: name, learned } of all) {
    const bridge = bridges.get(name);
    if (bridge === undefined) continue;
    for (const [mac, vlan, portName] of learned) {
      const port = ports.get(portName);
      if (port?.bridge !== name) continue;
      if (port.kind === 'vhost-user' && port.frontendPid === undefined) continue;
      if (fixed.has(placeKey({ mac: formatMac(mac), bridge: name }, {}))) continue;
      bridge.handle.setFdbEntry(mac, vlan, { port: port.handle, via: 0, flags: [] });
    }
  }
}
