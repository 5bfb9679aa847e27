/**
 * The reports of a lab: progress while it changes, its status, and what its machines measured.
 *
 * Plain values that survive JSON: `tsvswitch lab status --json` prints them as they are.
 */

/** What a machine is going through, in this order; `switch` belongs to no machine. */
export type LabStage =
  | 'switch'
  | 'image'
  | 'disk'
  | 'seed'
  | 'start'
  | 'boot'
  | 'ssh'
  | 'cloud-init'
  | 'ready'
  | 'stop';

/** How far a change of a lab has come. */
export interface LabEvent {
  /** undefined for what concerns the lab as a whole. */
  readonly machine: string | undefined;
  readonly stage: LabStage;
  readonly state: 'running' | 'done' | 'failed';
  /** A few words for people. */
  readonly detail?: string;
  /** From 0 to 1, where that is known. */
  readonly fraction?: number;
}

/** Called for every step of a change. */
export type LabProgress = (event: LabEvent) => void;

/** How a machine or a switch is; `crashed` carries the end of its log. */
export type Life =
  | { readonly state: 'stopped' }
  /** Its process runs, but it did not get ready yet. */
  | { readonly state: 'starting'; readonly pid: number }
  | { readonly state: 'running'; readonly pid: number; readonly uptimeMs: number }
  /** It ended without being asked to. */
  | { readonly state: 'crashed'; readonly log: string };

/** A machine of a lab, running or not. */
export type MachineStatus = Life & {
  readonly name: string;
  /** What runs it: QEMU, or User-mode Linux. */
  readonly engine: 'qemu' | 'uml';
  /**
   * The loopback port that leads to its ssh server, once one was chosen; User-mode Linux has none.
   */
  readonly sshPort: number | undefined;
  readonly user: string;
  readonly mac: string;
  /** Of its card on the switch, with prefix length. */
  readonly addresses: readonly string[];
  /** What the lab file says about it and what it runs with are two things; `up` would change it. */
  readonly differs: boolean;
};

/** The switch of a lab, running or not. */
export type LabSwitchStatus = Life & {
  /** The control socket of the switch. */
  readonly control: string;
  /** Whether the lab started it, or only uses it. */
  readonly type: 'own' | 'attach';
};

/** All of a lab, as it is now. */
export interface LabStatus {
  readonly name: string;
  readonly id: string;
  /** The lab file. */
  readonly file: string;
  /** Where the lab keeps disks, keys and logs. */
  readonly folder: string;
  /** Whether it has any: false before the first `up`, and after it was destroyed. */
  readonly exists: boolean;
  readonly switch: LabSwitchStatus;
  readonly machines: readonly MachineStatus[];
}

/** Every machine to every other one, by its first address on the switch. */
export interface PingMatrix {
  readonly machines: readonly string[];
  readonly pings: readonly Ping[];
}

/** One machine asking another one. */
export interface Ping {
  readonly from: string;
  readonly to: string;
  readonly address: string;
  /** The shortest round trip; undefined if nothing came back. */
  readonly roundTripMs: number | undefined;
}

/** What iperf3 measured from one machine to another. */
export interface IperfResult {
  readonly from: string;
  readonly to: string;
  readonly seconds: number;
  /** What arrived. */
  readonly bytes: number;
  readonly bitsPerSecond: number;
}
