/**
 * The addresses of a switch whose place is fixed: what its bridges neither learn nor forget.
 *
 * A port takes its addresses with it when it goes or moves, as a bridge does, since the data plane
 * forgets them then (native/core/bridge/fdb.h, FlushAll).
 */

import { failure } from '../model/errors.ts';
import { parseCardMac } from '../model/mac.ts';
import type { FixedAddress } from '../model/settings.ts';
import type { SwitchPort } from '../port/kinds.ts';
import type { Bridge } from './bridge.ts';

const untagged = 0;

interface Entry {
  readonly address: FixedAddress;
  readonly bridge: Bridge;
}

export class FixedAddresses {
  readonly #entries = new Map<string, Entry>();

  /** In the order in which they were fixed. */
  get settings(): FixedAddress[] {
    return Array.from(this.#entries.values(), ({ address }) => address);
  }

  /** In place of what is known of it. `port` is that of the address. Throws FDB_FULL. */
  fix(address: FixedAddress, bridge: Bridge, port: SwitchPort | undefined): void {
    const mac = numberOf(address);
    const place =
      port === undefined
        ? ({ via: 0, flags: ['drop'] } as const)
        : ({ port: port.handle, via: 0, flags: ['static'] } as const);
    if (!bridge.handle.setFdbEntry(mac, untagged, place)) {
      throw failure('fdb-full', { bridge: bridge.name, mac: address.mac });
    }
    this.#entries.set(keyOf(bridge.name, mac), { address, bridge });
  }

  free(address: FixedAddress, bridge: Bridge): void {
    const mac = numberOf(address);
    bridge.handle.removeFdbEntry(mac, untagged);
    this.#entries.delete(keyOf(bridge.name, mac));
  }

  /** The port goes or moves. */
  forgetPort(port: string): void {
    for (const [key, { address }] of this.#entries) {
      if (address.port === port) this.#entries.delete(key);
    }
  }

  /** The bridge goes. */
  forgetBridge(bridge: string): void {
    for (const [key, entry] of this.#entries) {
      if (entry.bridge.name === bridge) this.#entries.delete(key);
    }
  }
}

function keyOf(bridge: string, mac: number): string {
  return `${mac} ${bridge}`;
}

/** Of an address that was checked. */
function numberOf({ mac }: FixedAddress): number {
  return parseCardMac(mac)!;
}
