/**
 * A bridge domain: what the ports that share it have taught it, and for how long. Frames never pass
 * from one bridge of a switch to another.
 *
 * The table itself is the data plane's (native/core/bridge/fdb.h); this is its view with names. A
 * bridge is transparent to VLAN tags: one table, whatever the tag.
 */

import { formatMac } from '../model/mac.ts';
import type { Dataplane, NativeBridge } from '../native/addon.ts';

/** One learned address. */
export interface FdbRecord {
  /** Six bytes in hexadecimal, with colons. */
  readonly mac: string;
  /** Name of the port behind which it was seen. */
  readonly port: string;
  /** Seconds since it was last seen. */
  readonly ageSeconds: number;
  /** Settings say so: it was not learned. */
  readonly fixed?: true;
}

/** Ports that hear each other, and the addresses that were learned behind them. */
export class Bridge {
  readonly name: string;
  /** The bridge's number in the data plane. */
  readonly number: number;
  /** @internal */
  readonly handle: NativeBridge;
  #removed = false;

  /** Throws TOO_MANY_PORTS: a switch has no more bridges than ports. */
  constructor(dataplane: Dataplane, name: string, ageingSeconds: number) {
    this.name = name;
    this.handle = dataplane.addBridge(name, ageingSeconds);
    this.number = this.handle.number;
  }

  /**
   * All addresses that are known behind a port and not aged, in no particular order; none once the
   * bridge was removed.
   */
  get fdb(): FdbRecord[] {
    if (this.#removed) return [];
    return this.handle.readFdb().flatMap(({ mac, port, ageSeconds, flags }) =>
      port === undefined
        ? []
        : [
            {
              ...{ mac: formatMac(mac), port: port.name, ageSeconds },
              ...(flags.includes('static') && { fixed: true as const }),
            },
          ],
    );
  }

  /** How many addresses are known: in a large table far quicker than a look at them. */
  get fdbSize(): number {
    return this.#removed ? 0 : this.handle.fdbSize();
  }

  /** Forgets what was learned; frames are flooded until it is learned again. */
  flush(): void {
    if (!this.#removed) this.handle.flushFdb();
  }

  /** For the switch, when no port is on it any more. */
  remove(): void {
    this.handle.close();
    this.#removed = true;
  }
}
