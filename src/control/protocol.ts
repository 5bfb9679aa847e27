/**
 * What goes over the control socket: HTTP/1.1 with JSON bodies, but for captures. Types only, shared by
 * server and client.
 *
 *     GET    /v1/status       SwitchStatus
 *     GET    /v1/fdb          LearnedAddress[], of all bridges
 *     GET    /v1/events       SwitchEvent or EventsLost, one a line, as they happen
 *     GET    /v1/capture      a pcapng file of bridge `default`, until the client closes its side
 *     GET    /v1/capture/NAME the same of one port
 *     POST   /v1/ports        NewPort, answered with its PortStatus
 *     DELETE /v1/ports/NAME
 *     POST   /v1/network      NetworkChange
 *     POST   /v1/workers      WorkerOptions, answered with its WorkerStatus
 *
 * A request that cannot be served is answered with a status of 400 or more and a Refused.
 */

import type {
  CloseReason,
  ErrorCode,
  FdbRecord,
  Port,
  PortCounters,
  PortOptions,
  VhostUserPortStatus,
  WorkerStatus,
} from '../index.ts';

/** A switch and its ports, as they are now. */
export interface SwitchStatus {
  readonly version: string;
  readonly pid: number;
  readonly uptimeSeconds: number;
  readonly workers: readonly WorkerStatus[];
  readonly ports: readonly PortStatus[];
}

/** A port of a machine, or of another kind. */
export type PortStatus = MachinePortStatus | OtherPortStatus;

/** A port for a machine, over vhost-user. */
export type MachinePortStatus = VhostUserPortStatus & PortHistory & Learned;

/** A port without a frontend, such as one of the switch's own process. */
export interface OtherPortStatus extends Learned {
  readonly name: string;
  readonly kind: Exclude<Port['kind'], 'vhost-user'>;
  readonly bridge: string;
  readonly counters: PortCounters;
}

interface Learned {
  /** The addresses that were seen behind the port and are not forgotten. */
  readonly macs: readonly string[];
}

export interface LearnedAddress extends FdbRecord {
  readonly bridge: string;
}

/** What has happened at a port, as far as it explains how it is now. Times are ISO 8601. */
export interface PortHistory {
  /** Absent while nobody is connected. */
  readonly session?: SessionHistory;
  /** How a session ended, until a later one has come as far as starting a ring. */
  readonly lastEnd?: SessionEnd;
  /** Why the socket is of no use now: nobody listens on it, nobody can be accepted or the last was refused. */
  readonly waiting?: string;
}

/** Since the frontend that is there connected. */
export interface SessionHistory {
  readonly since: string;
  readonly framesFromGuest: number;
  readonly framesToGuest: number;
  readonly drops: Readonly<Record<string, number>>;
  /** Addresses that were seen here, and then behind another port. */
  readonly macsLost: readonly { readonly mac: string; readonly toPort: string }[];
  /** The last process that wanted in as well. */
  readonly turnedAway?: { readonly at: string; readonly sentence: string };
}

/** How and when the last session of a port ended. */
export interface SessionEnd {
  readonly at: string;
  readonly kind: CloseReason['kind'] | 'memory-lost';
  /** Of vhost-user/refusal.ts, for a frontend's mistake. */
  readonly code?: string;
  readonly sentence?: string;
}

/**
 * A port to add: one that listens on `path`, or that connects to the machine which listens on `connect`.
 * Paths are absolute, as it is the switch that opens them.
 */
export type NewPort = {
  /** Unique on the switch; the socket's file name without `.sock` unless given. */
  readonly name?: string;
  /** Made if it is not there; `default` unless given. */
  readonly bridge?: string;
} & Pick<PortOptions, 'allow' | 'source' | 'ringReset' | 'inBand' | 'mtu'> &
  (
    | {
        readonly path: string;
        /** Three octal digits, such as `660`; as the command was told unless given, and so is the group. */
        readonly mode?: string;
        readonly group?: string | number;
      }
    | { readonly connect: string }
  );

/** The body of an answer to a request that cannot be served. */
export interface Refused {
  readonly code: ErrorCode;
  /** One sentence: what is wrong and how to mend it. */
  readonly error: string;
}
