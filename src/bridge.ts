/**
 * The bridge domain that the ports of a switch share: what it has learned and for how long.
 *
 * The table itself is the data plane's (native/core/fdb.h); this is its view with names. The bridge
 * is transparent to VLAN tags: one table, whatever the tag.
 */

import type { Dataplane } from './native.ts';

/** One learned address. */
export interface FdbRecord {
  /** Six bytes in hexadecimal, with colons. */
  readonly mac: string;
  /** Name of the port behind which it was seen. */
  readonly port: string;
  /** Seconds since it was last seen. */
  readonly ageSeconds: number;
}

const macDigits = 12;

/** The usual notation of a 48-bit number whose first byte on the wire is highest. */
export function formatMac(mac: number): string {
  return mac.toString(16).padStart(macDigits, '0').match(/../g)!.join(':');
}

export class Bridge {
  readonly #dataplane: Dataplane;
  readonly #portName: (number: number) => string | undefined;

  constructor(dataplane: Dataplane, portName: (number: number) => string | undefined) {
    this.#dataplane = dataplane;
    this.#portName = portName;
  }

  /** All addresses that are known and not aged, in no particular order. */
  get fdb(): FdbRecord[] {
    return this.#dataplane.readFdb().flatMap(({ mac, port, ageSeconds }) => {
      const name = this.#portName(port);
      return name === undefined ? [] : [{ mac: formatMac(mac), port: name, ageSeconds }];
    });
  }

  /** Forgets what was learned; frames are flooded until it is learned again. */
  flush(): void {
    this.#dataplane.flushFdb();
  }
}
