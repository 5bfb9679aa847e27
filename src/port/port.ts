/**
 * What ports of every kind share: a name, a number in the data plane, counters, and what happens to
 * them.
 */

import { type Fault, type FaultOf, type Told, told } from '../model/faults/table.ts';
import { formatMac } from '../model/mac.ts';
import type { PortKindName } from '../model/settings.ts';
import {
  type NativeBridge,
  type NativePort,
  native,
  type PortReport,
  type SpoofedSource,
} from '../native/addon.ts';
import type { DeviceEvent } from '../vhost-user/device-event.ts';
import type { CloseReason, Mistake } from '../vhost-user/session.ts';

/** Events that say with a fault what has happened, and its codes. */
interface ToldEvents {
  readonly waiting: 'FRONTEND_AWAITED';
  readonly 'frontend-refused': 'FRONTEND_REFUSED';
  readonly 'accept-failed': 'ACCEPT_FAILED';
  readonly 'memory-lost': 'MEMORY_LOST';
  readonly 'source-spoofed': 'SOURCE_SPOOFED';
}

/** Of the events of one type. */
export type ToldFault<Type extends keyof ToldEvents> = FaultOf<ToldEvents[Type]>;

export type ToldEvent = {
  [Type in keyof ToldEvents]: { readonly type: Type } & Told<ToldFault<Type>>;
}[keyof ToldEvents];

/** The same, with a sentence that names the port. */
export function ofPort<F extends Fault>(port: string, told: Told<F>): Told<F> {
  return { ...told, sentence: `port ${port}: ${told.sentence}` };
}

/**
 * An event of a port. Sentences are complete and name the port. `frontend-left` ends what
 * `frontend-connected` began, whatever the reason.
 */
export type PortEvent = { readonly port: string } & (
  | { readonly type: 'listening'; readonly path: string }
  | ToldEvent
  | { readonly type: 'frontend-connected'; readonly pid: number }
  | { readonly type: 'frontend-left'; readonly reason: CloseReason }
  | ({ readonly type: 'request-refused' } & Mistake)
  | { readonly type: 'mac-learned'; readonly mac: string }
  | { readonly type: 'mac-moved'; readonly fromPort: string; readonly mac: string }
  /** It was not seen for the ageing time of the bridge. */
  | { readonly type: 'mac-aged'; readonly mac: string }
  | DeviceEvent
);

/** The bridge a port is on, as the data plane and people call it. */
export interface BridgeId {
  readonly name: string;
  readonly handle: NativeBridge;
}

/** A place on a bridge. `kind` tells the classes that implement it apart. */
export interface Port {
  /** That of its settings, but for an older word: a port of this process is a `host`. */
  readonly kind: Exclude<PortKindName, 'process'> | 'host';
  /** Unique on the switch. */
  readonly name: string;
  /** The port's number in the data plane. */
  readonly number: number;
  /** @internal */
  readonly handle: NativePort;
  /** Name of the bridge that the port is on. */
  readonly bridge: string;
  /** Nothing goes through it, as its settings say. */
  readonly isDown: boolean;
  /** Throws CLOSED after close(). */
  readonly counters: PortCounters;
  /** The transmitqs that run, with the frames each has moved since the port was added. */
  readonly transmitqs: readonly { readonly queue: number; readonly frames: number }[];
  /** Frees the port in the data plane. Idempotent; Switch.removePort() calls it. */
  close(): void;
}

/** What ports of every kind are told of addresses, as an event of the port called `port`. */
export function addressEvent(
  port: string,
  report: Extract<PortReport, { type: 'mac-learned' | 'mac-moved' | 'mac-aged' | 'spoofed' }>,
): PortEvent {
  switch (report.type) {
    case 'mac-learned':
    case 'mac-aged':
      return { type: report.type, port, mac: formatMac(report.mac) };
    case 'mac-moved':
      return { type: report.type, port, fromPort: report.from, mac: formatMac(report.mac) };
    case 'spoofed':
      return { type: 'source-spoofed', port, ...ofPort(port, spoofed(report)) };
  }
}

/** What the operator hears when a guest's frame was dropped for its source. */
function spoofed({ kind, source }: SpoofedSource): Told<ToldFault<'source-spoofed'>> {
  if (kind === 'unknown') return told('source-unknown', { source });
  return told(kind === 'mac' ? 'source-mac-spoofed' : 'source-address-spoofed', { source });
}

/** Frames of one direction, seen from the guest; all since the port was added. */
export interface DirectionCounters {
  readonly frames: number;
  readonly bytes: number;
  /** Eventfd writes that told the guest about these frames. */
  readonly notifications: number;
}

/** What a port has moved and dropped since it was added. */
export interface PortCounters {
  readonly fromGuest: DirectionCounters;
  readonly toGuest: DirectionCounters;
  /** Frames from this guest that went to every other port. */
  readonly floodedFrames: number;
  /**
   * Frames that ended at this port, by reason; every reason is there, 0 or not. What a link does to
   * frames counts at the port they come from if it is the link from its guest, else where they go.
   */
  readonly drops: Readonly<Record<string, number>>;
  readonly impaired: ImpairedFrames;
}

/** What impaired links did to frames that they did not drop. */
export interface ImpairedFrames {
  /** Held back until they were due, both of a duplicate. */
  readonly held: number;
  readonly duplicated: number;
  readonly reordered: number;
  readonly corrupted: number;
}

/** What the data plane counts at a port: by queue, and at all of them (native/addon.ts). */
export class CounterReader {
  readonly #queues: BigUint64Array;
  readonly #fates: BigUint64Array;

  constructor(port: Pick<NativePort, 'counters' | 'fates'>) {
    this.#queues = port.counters();
    this.#fates = port.fates();
  }

  read(): PortCounters {
    const { fateNames, firstDrop, markNames, marksAt } = native();
    // Even queues carry frames to the guest, odd ones from it.
    const [toGuest, fromGuest] = [this.#direction(0), this.#direction(1)];
    const fates = this.#fates;
    const drops = Object.fromEntries(
      fateNames.map((name, i) => [name, Number(fates[i])] as const).slice(firstDrop),
    );
    drops.noBuffer! += this.#sum('noBuffer', 0);
    const marked = (name: string) => Number(fates[marksAt + markNames.indexOf(name)]);
    return {
      fromGuest,
      toGuest,
      floodedFrames: this.#sum('floodedFrames', 1),
      drops,
      impaired: {
        held: marked('held'),
        duplicated: marked('duplicated'),
        reordered: marked('reordered'),
        corrupted: marked('corrupted'),
      },
    };
  }

  /** Frames that a queue has moved since its port was added. */
  frames(queue: number): number {
    return Number(this.#queues[queue * native().countersPerQueue + indexOf('frames')]);
  }

  #direction(parity: number): DirectionCounters {
    return {
      frames: this.#sum('frames', parity),
      bytes: this.#sum('bytes', parity),
      notifications: this.#sum('notifications', parity),
    };
  }

  #sum(name: string, parity: number): number {
    const { countersPerQueue } = native();
    const at = indexOf(name);
    let sum = 0;
    for (let i = parity * countersPerQueue + at; i < this.#queues.length; i += 2 * countersPerQueue)
      sum += Number(this.#queues[i]);
    return sum;
  }
}

function indexOf(counter: string): number {
  return native().counterNames.indexOf(counter);
}
