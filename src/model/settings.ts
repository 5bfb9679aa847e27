/**
 * What is wanted of a switch, whole: one document that can be saved, compared and applied. Types
 * only, complete, with every default in its place.
 *
 * settings-schema.ts describes the same to files, the API and editors, and a test holds the two
 * together. Plain types, so that a program that embeds a switch needs no package of schemas.
 *
 * Not here: whether settings fit together (conflicts.ts), what differs between two documents
 * (difference.ts), and how a difference is made (switch/apply.ts).
 */

/** All that an operator can say of a running switch. */
export interface SwitchSettings {
  /** Polling threads, 1 to 64. */
  workers: number;
  /** CPUs that the workers are pinned to, at most one each. */
  cpus: number[];
  /** How long a worker polls without work before it sleeps, in microseconds. */
  idleUs: number;
  /** Moves transmitqs between workers while their load is uneven. */
  balance: boolean;
  /** How long a silent address is remembered, in seconds; 0 for ever. Of bridges that say none. */
  ageingSeconds: number;
  /** By name. One that a port names is there. */
  bridges: Record<string, BridgeSettings>;
  /** By name. */
  ports: Record<string, PortSettings>;
  /** Addresses whose place is fixed: they are neither learned nor forgotten. */
  fdb: FixedAddress[];
  /** Links that are impaired. */
  links: LinkSettings[];
  /** Ports on different sides do not hear each other; ports on no side hear all. */
  partition: string[][];
}

/** The same as it may be written: what is left out has its default. */
export type WrittenSettings = Written<SwitchSettings>;

/** The same as it may be written, at every depth. */
export type Written<Value> = Value extends readonly (infer Item)[]
  ? readonly Written<Item>[]
  : Value extends object
    ? { readonly [Key in keyof Value]?: Written<Value[Key]> }
    : Value;

/** What holds for the ports that share a bridge. */
export interface BridgeSettings {
  ageingSeconds?: number;
}

/** Where an address is: behind a port, or else nowhere, and what is sent to it on a bridge ends. */
export interface FixedAddress {
  mac: string;
  port?: string;
  /** Of an address that is nowhere; `default` unless given. */
  bridge?: string;
}

/** Of a port of any kind; `kind` tells which. */
export type PortSettings = VhostUserSettings | ProcessSettings | DgramSettings;

/** What a port is made of. */
export type PortKindName = PortSettings['kind'];

/** The settings of the ports of one kind. */
export type SettingsOf<Kind extends PortKindName> = Extract<PortSettings, { kind: Kind }>;

interface Place {
  /** The bridge that the port is on. */
  bridge: string;
  source?: SourceSettings;
  /** Nothing goes through it; its machine stays connected. */
  down?: boolean;
}

/** What the guest may send from; what it sends from others is dropped. */
export interface SourceSettings {
  /** MAC addresses; any if there are none. */
  macs: string[];
  /** IP addresses and networks; any if there are none. */
  addresses: string[];
}

/** A machine, over a vhost-user socket; it has `path` or `connect`. */
export interface VhostUserSettings extends Place {
  kind: 'vhost-user';
  /** The unix socket that the switch listens on for the machine. */
  path?: string;
  /** The unix socket of a machine that listens. */
  connect?: string;
  /** Permissions of the socket file, three octal digits. */
  mode: string;
  /** Group of the socket file. */
  group?: string | number;
  /** Users, and groups as `:kvm`, whose processes may connect; all unless given. */
  allow?: (string | number)[];
  /** Offers VIRTIO_F_RING_RESET. */
  ringReset: boolean;
  /** Offers in-band notifications. */
  inBand: boolean;
  /** The MTU of a guest whose frontend reads it from the switch. */
  mtu: number;
}

/** The process itself, which sends and receives frames. */
export interface ProcessSettings extends Place {
  kind: 'process';
}

/** A machine or program, one frame a datagram. */
export interface DgramSettings extends Place {
  kind: 'dgram';
  /** The unix datagram socket on which the port takes frames. */
  path: string;
  /** The unix datagram socket on which the machine takes frames. */
  peer: string;
  /** Permissions of the socket file, three octal digits. */
  mode: string;
}

/**
 * One direction of a link: from a port to another; without `to` between a machine and its port,
 * without `from` between a port and its machine.
 */
export interface LinkSettings {
  from?: string;
  to?: string;
  impairment: ImpairmentSettings;
}

/** What is wrong with a link (policy/impairment/impairment.ts). */
export interface ImpairmentSettings {
  blackhole: boolean;
  mtuBytes?: number;
  rate?: { bitsPerSecond: number; queueBytes: number };
  loss?:
    | number
    | { turnsBad: number; turnsGood: number; lossWhenBad?: number; lossWhenGood?: number };
  delayMs?: number;
  jitterMs?: number;
  duplicate?: number;
  corrupt?: number;
  reorder?: { probability: number; lateByMs: number };
}
