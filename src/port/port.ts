/**
 * What ports of every kind share: a name, a number in the data plane, counters, and what happens to
 * them.
 */

import { formatMac } from '../model/mac.ts';
import type { PortKindName } from '../model/settings.ts';
import {
  type NativeBridge,
  type NativePort,
  native,
  type PortReport,
  type SpoofedSource,
} from '../native/addon.ts';
import type { DeviceEvent } from '../vhost-user/device.ts';
import type { CloseReason } from '../vhost-user/session.ts';

/**
 * An event of a port. Sentences are complete and name the port. `frontend-left` ends what
 * `frontend-connected` began, whatever the reason.
 */
export type PortEvent = { readonly port: string } & (
  | { readonly type: 'listening'; readonly path: string }
  | { readonly type: 'waiting'; readonly sentence: string }
  | { readonly type: 'frontend-connected'; readonly pid: number }
  | { readonly type: 'frontend-refused'; readonly sentence: string }
  | { readonly type: 'frontend-left'; readonly reason: CloseReason }
  | { readonly type: 'request-refused'; readonly sentence: string }
  | { readonly type: 'accept-failed'; readonly sentence: string }
  | { readonly type: 'memory-lost'; readonly sentence: string }
  | { readonly type: 'source-spoofed'; readonly sentence: string }
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
      return { type: 'source-spoofed', port, sentence: spoofedSentence(port, report) };
  }
}

/** What the operator hears when a guest's frame was dropped for its source. */
function spoofedSentence(port: string, { kind, source }: SpoofedSource): string {
  const what =
    kind === 'unknown'
      ? `of EtherType ${source}, whose source cannot be checked`
      : `from ${source}, which it is not bound to`;
  const counter = kind === 'mac' ? 'spoofedMac' : 'spoofedAddress';
  return `port ${port}: dropped a frame ${what}; all such are counted as ${counter}`;
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

const dropPrefix = 'drops';

/** The sums over a port's queues, given its counters in the data plane (native/addon.ts). */
export function readCounters(counters: BigUint64Array): PortCounters {
  const { counterNames, countersPerQueue } = native();
  const queues = counters.length / countersPerQueue;
  const sums = [new Array<number>(counterNames.length), new Array<number>(counterNames.length)];
  // Even queues carry frames to the guest, odd ones from it.
  for (const [parity, sum] of sums.entries()) {
    sum.fill(0);
    for (let queue = parity; queue < queues; queue += 2) {
      const start = queue * countersPerQueue;
      for (const i of counterNames.keys()) sum[i]! += Number(counters[start + i]);
    }
  }
  const [toGuest, fromGuest] = sums as [number[], number[]];
  const named = (sum: number[], name: string) => sum[counterNames.indexOf(name)]!;
  const direction = (sum: number[]): DirectionCounters => ({
    frames: named(sum, 'frames'),
    bytes: named(sum, 'bytes'),
    notifications: named(sum, 'notifications'),
  });
  const drops: Record<string, number> = {};
  for (const [i, name] of counterNames.entries()) {
    if (!name.startsWith(dropPrefix)) continue;
    const reason = name.slice(dropPrefix.length);
    drops[reason.charAt(0).toLowerCase() + reason.slice(1)] = toGuest[i]! + fromGuest[i]!;
  }
  const both = (name: string) => named(fromGuest, name) + named(toGuest, name);
  return {
    fromGuest: direction(fromGuest),
    toGuest: direction(toGuest),
    floodedFrames: named(fromGuest, 'floodedFrames'),
    drops,
    impaired: {
      held: both('heldFrames'),
      duplicated: both('duplicatedFrames'),
      reordered: both('reorderedFrames'),
      corrupted: both('corruptedFrames'),
    },
  };
}

/** Frames that a queue has moved since its port was added. */
export function readFrames(counters: BigUint64Array, queue: number): number {
  const { counterNames, countersPerQueue } = native();
  return Number(counters[queue * countersPerQueue + counterNames.indexOf('frames')]);
}
