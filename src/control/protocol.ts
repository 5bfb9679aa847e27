/**
 * What goes over the control socket: HTTP/1.1 with JSON bodies, but for captures and server-sent
 * events. Types only, shared by server and client; schema/ describes the same to everybody else,
 * and a test holds the two together.
 *
 * A request that cannot be served is answered with a status of 400 or more and a Refused.
 */

import type {
  Change,
  ErrorCode,
  EventsLost,
  FdbRecord,
  Finding,
  Flow,
  Impairment,
  NamedLink,
  Port,
  PortCounters,
  PortOptions,
  SwitchEvent,
  SwitchSettings,
  VhostUserPortStatus,
  WorkerOptions,
  WorkerStatus,
  WrittenSettings,
} from '../index.ts';
import type { Fault } from '../model/faults/table.ts';
import type { LogLevel } from '../model/log-levels.ts';
import type { PortHistory } from '../switch/history.ts';

export type { PortHistory, SessionEnd, SessionHistory } from '../switch/history.ts';

/** What each request takes and gives; operations.ts says where it goes. */
export interface Operations {
  getStatus: { answer: SwitchStatus };
  listPorts: { answer: readonly PortStatus[] };
  addPort: { body: NewPort; answer: MachinePortStatus };
  getPort: { answer: PortStatus };
  removePort: { answer: undefined };
  listBridges: { answer: readonly BridgeStatus[] };
  getBridge: { answer: BridgeStatus };
  flushBridge: { answer: undefined };
  /** Of all bridges. */
  listAddresses: { answer: readonly LearnedAddress[] };
  listFlows: { answer: readonly Flow[] };
  listWorkers: { answer: readonly WorkerStatus[] };
  addWorker: { body: WorkerOptions; answer: WorkerStatus };
  getSettings: { answer: SwitchSettings };
  /** What was changed; with the flag `dry-run` what would be. */
  applySettings: { body: WrittenSettings; answer: readonly Change[] };
  /** Of a switch that a file declares, as the next. */
  getConfig: { answer: ConfigStatus };
  /** Has the file read again. */
  reload: { answer: Reload };
  /** Has a new process take over, of the version that is installed. */
  upgrade: { answer: Upgraded };
  /** Ends the switch in order: its connections break off once it has ended. */
  stop: { answer: Stopping };
  /** Of a switch that is a process of its own, as the next and the one before. */
  getLog: { answer: LogStatus };
  setLog: { body: LogStatus; answer: LogStatus };
  changeNetwork: { body: NamedNetworkChange; answer: undefined };
  /** From now on, one a line. */
  readEvents: { stream: SwitchEvent | EventsLost };
  /** Of bridge `default`, as a pcapng file, until the client closes its side. */
  captureBridge: { stream: Uint8Array };
  capturePort: { stream: Uint8Array };
  getOpenApi: { answer: object };
}

/** A switch and its ports, as they are now. */
export interface SwitchStatus {
  readonly version: string;
  readonly pid: number;
  readonly uptimeSeconds: number;
  readonly workers: readonly WorkerStatus[];
  readonly ports: readonly PortStatus[];
}

/** The file of a switch. */
export interface ConfigStatus {
  /** Absolute. */
  readonly file: string;
  /** What it said when it was read last; what was changed at run time holds over it. */
  readonly settings: SwitchSettings;
}

/** What was done, or with the flag `dry-run` would be, so that the switch is as its file says. */
export interface Reload {
  readonly changes: readonly Change[];
  /** Keys of the file that differ, and that are only read at the start. */
  readonly restart: readonly string[];
}

/** What was done. */
export interface Upgraded {
  /** Of the program that runs now, and of the one that ran before. */
  readonly version: string;
  readonly from: string;
  /** The process that runs now. */
  readonly pid: number;
  /** Machines that stayed connected. */
  readonly sessions: number;
  /** How long no frames went, at most, in milliseconds. */
  readonly pauseMs: number;
}

/** A switch that is about to end. */
export interface Stopping {
  /** The process that ends. */
  readonly pid: number;
}

/** What is logged. */
export interface LogStatus {
  /** From the next line on, until the file is read again or the switch is restarted. */
  readonly level: LogLevel;
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
  /** Nothing goes through the port, as its settings say. */
  readonly down?: true;
}

/** A change of links or partitions, with ports by their names. */
export type NamedNetworkChange =
  | { readonly link: NamedLink; readonly impairment: Impairment }
  /** Ports of different sides do not hear each other; ports on no side hear all. */
  | { readonly partition: readonly (readonly string[])[] }
  | { readonly heal: true };

/** A bridge, and what is on it. */
export interface BridgeStatus {
  readonly name: string;
  /** The names of its ports. */
  readonly ports: readonly string[];
  /** How many addresses are known on it. */
  readonly addresses: number;
}

/** An address, and where it was learned. */
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
  /** What is wrong and how to mend it. */
  readonly error: string;
  /** Says more than the code, and what the sentence names; docs/errors.md has them all. */
  readonly fault?: Fault;
  readonly parameters?: Readonly<Record<string, unknown>>;
  /** Everything in the body that does not fit, with the path to it, if that is why. */
  readonly findings?: readonly Finding[];
}
