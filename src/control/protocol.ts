/**
 * What goes over the control socket: HTTP/1.1 with JSON bodies, but for captures. Types only,
 * shared by server and client.
 *
 *     GET    /v1/status       SwitchStatus
 *     GET    /v1/fdb          LearnedAddress[], of all bridges
 *     GET    /v1/events       SwitchEvent or EventsLost, one a line, as they happen
 *     GET    /v1/capture      a pcapng file of bridge `default`, until the client closes its side
 *     GET    /v1/capture/NAME the same of one port
 *     GET    /v1/settings     SwitchSettings
 *     PUT    /v1/settings     WrittenSettings, answered with Change[]; with ?dry-run only that
 *     POST   /v1/ports        NewPort, answered with its PortStatus
 *     DELETE /v1/ports/NAME
 *     POST   /v1/network      NetworkChange
 *     POST   /v1/workers      WorkerOptions, answered with its WorkerStatus
 *
 * A request that cannot be served is answered with a status of 400 or more and a Refused.
 */

import type {
  ErrorCode,
  FdbRecord,
  Finding,
  Port,
  PortCounters,
  PortOptions,
  VhostUserPortStatus,
  WorkerStatus,
} from '../index.ts';
import type { PortHistory } from '../switch/history.ts';

export type { PortHistory, SessionEnd, SessionHistory } from '../switch/history.ts';

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

/**
 * A port to add: one that listens on `path`, or that connects to the machine which listens on
 * `connect`. Paths are absolute, as it is the switch that opens them.
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
        /**
         * Three octal digits, such as `660`; as the command was told unless given, and so is the
         * group.
         */
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
  /** Of settings: everything that is wrong, with the path to it. */
  readonly findings?: readonly Finding[];
}
