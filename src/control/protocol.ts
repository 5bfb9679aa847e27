/**
 * What goes over the control socket: HTTP/1.1 with JSON bodies. Types only, shared by server and client.
 *
 *     GET    /v1/status       SwitchStatus
 *     GET    /v1/fdb          FdbRecord[]
 *     GET    /v1/events       SwitchEvent, one a line, as they happen
 *     POST   /v1/ports        NewPort, answered with its PortStatus
 *     DELETE /v1/ports/NAME
 *
 * A request that cannot be served is answered with a status of 400 or more and a Refused.
 */

import type { ErrorCode, PortCounters, PortOptions, VhostUserPortStatus } from '../index.ts';

export interface SwitchStatus {
  readonly version: string;
  readonly pid: number;
  readonly uptimeSeconds: number;
  readonly workers: number;
  readonly ports: readonly PortStatus[];
}

export type PortStatus = VhostUserPortStatus & PortHistory & { readonly macs: readonly string[] };

/** What has happened at a port, as far as it explains how it is now. Times are ISO 8601. */
export interface PortHistory {
  /** What happened since the frontend that is there connected. */
  readonly session?: {
    readonly since: string;
    readonly counters: PortCounters;
    /** Addresses that this frontend has used and another port has used since. */
    readonly macsLost: readonly { readonly mac: string; readonly toPort: string }[];
  };
  /** How the session before ended; `code` is of vhost-user/refusal.ts, for a frontend's mistake. */
  readonly lastEnd?: {
    readonly at: string;
    readonly kind: string;
    readonly code?: string;
    readonly sentence?: string;
  };
  /** The last process that was turned away because another one was connected. */
  readonly turnedAway?: { readonly at: string; readonly sentence: string };
  /** Why the socket cannot be used now: nobody listens on it, or nobody can be accepted. */
  readonly waiting?: string;
}

/** A port to add. */
export type NewPort = PortOptions;

export interface Refused {
  readonly code: ErrorCode;
  /** One sentence: what is wrong and how to mend it. */
  readonly error: string;
}
