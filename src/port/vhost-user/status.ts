/**
 * What a vhost-user port tells about itself when asked, in plain values that JSON carries: who is
 * connected, what was agreed, and how its rings stand. Pure types; the port (vhost-user-port.ts)
 * fills them.
 */

import type { BreakFault } from '../../model/faults/table.ts';
import type { PortCounters } from '../port.ts';

/** All there is to know about the port of a machine. */
export interface VhostUserPortStatus {
  readonly name: string;
  readonly kind: 'vhost-user';
  readonly bridge: string;
  /** Absolute. */
  readonly path: string;
  /** Who listens on `path`: the switch, or the machine to which the switch connects. */
  readonly listener: 'switch' | 'machine';
  /** The switch listens, but its file is gone from `path` or another one has taken its place. */
  readonly socketLost?: true;
  /** Absent while nobody is connected. */
  readonly frontend?: FrontendStatus;
  /** All since the port was added. */
  readonly counters: PortCounters;
}

/** Who is connected to a port, and what both ends agreed on. */
export interface FrontendStatus {
  readonly pid: number;
  /** Specification names; absent until a driver has agreed. */
  readonly features?: readonly string[];
  readonly memory: MemoryStatus;
  /** The rings that are started, broken ones included. */
  readonly rings: readonly RingStatus[];
}

/** The memory that a guest shares. */
export interface MemoryStatus {
  readonly regions: number;
  readonly bytes: number;
  /** Of the huge pages behind all regions; absent where some or all are ordinary memory. */
  readonly hugePageBytes?: number;
}

/** A ring of a guest, and what has become of it. */
export type RingStatus = {
  /** Even: a receiveq, odd: a transmitq, as the guest sees it; unless it is the control queue. */
  readonly queue: number;
  /** Its driver says commands on it, and no frames. */
  readonly control?: true;
  readonly enabled: boolean;
  /** What GET_VRING_BASE would answer: where the switch takes next. */
  readonly base: number;
} & (
  | {
      readonly state: 'started';
      /** Chains that the driver offers and the switch has not taken. */
      readonly offered: number;
      /** Nothing was ever taken, since both sides of a packed ring count laps differently. */
      readonly outOfStep?: true;
    }
  | {
      readonly state: 'broken';
      readonly fault: BreakFault;
      /** The fault as a sentence. */
      readonly reason: string;
    }
);
