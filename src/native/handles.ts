/**
 * The handles of a data plane, as types: what it, its bridges, ports, queues and captures can do,
 * and the words they take. The addon has a class for each interface that has methods
 * (native/addon/handle.h).
 *
 * A handle acts on what it is of, and takes another one only as a handle of the same data plane. It
 * is open until close(), or until its data plane is closed; then every method but close() throws
 * CLOSED. Besides handles only plain values cross: integers, bigint addresses, fds, typed arrays
 * and flat objects. A passed fd belongs to the addon from the call on, even if the call throws.
 * Every call takes effect between two rounds of the workers and returns when it has. BAD_OPTION
 * says that the caller is wrong.
 *
 * test/native/interface.test.ts holds these interfaces against what the addon has.
 */

import type { BreakFault } from '../model/faults/table.ts';

/** One memory region as the frontend described it; all four numbers are bytes. */
export interface MemoryRegion {
  readonly guestAddress: bigint;
  readonly sizeBytes: bigint;
  readonly userAddress: bigint;
  readonly mmapOffset: bigint;
}

/** A region with the file that backs it. */
export interface MappedRegion extends MemoryRegion {
  readonly fd: number;
}

/**
 * Where a ring's parts lie, as frontend user addresses. In a packed ring `avail` is the driver area
 * and `used` the device area.
 */
export interface RingAddresses {
  readonly desc: bigint;
  readonly avail: bigint;
  readonly used: bigint;
  /** The guest address that stands for the start of `used` in the dirty log; absent: not logged. */
  readonly usedLogAddress?: bigint;
}

export interface QueueStart extends RingAddresses {
  readonly size: number;
  /**
   * Where to go on (SET_VRING_BASE). Split: the next avail index. Packed: 32 bits, the next index
   * to take in bits 0-14 with its wrap counter in bit 15, and the same again for used in bits
   * 16-31.
   */
  readonly base: number;
  /** Eventfd of the driver's kicks, or -1 where the frontend wants polling. */
  readonly kickFd: number;
  /**
   * Makes this, which has an even number, the control queue of a device with so many queue pairs.
   */
  readonly controlPairs?: number;
}

/** What a turn of a control queue has done. */
export interface ControlTurn {
  /** How many commands were answered. */
  readonly commands: number;
  /** Others wait. */
  readonly more: boolean;
  /** The address that the driver has set last; absent if it set none. */
  readonly mac?: number;
  /** The driver has announced its guest, as it was asked to. */
  readonly announced: boolean;
}

/** The bitmap of a migrating frontend: bit n is the 4 KiB page of guest memory at n * 4096. */
export interface DirtyLog {
  readonly fd: number;
  readonly sizeBytes: bigint;
  readonly offsetBytes: bigint;
}

export interface DataplaneOptions {
  readonly workers: number;
  /** CPU of each worker; empty leaves them to the scheduler. */
  readonly cpus: readonly number[];
  /** How long a worker polls without work before it sleeps, in microseconds. */
  readonly idleUs: number;
  /** One worker without a thread, and a clock that only step() and advance() move. */
  readonly manual: boolean;
  /** The workers make no system calls but those of native/core/platform/sandbox.h. */
  readonly sandbox: boolean;
  /** Where the identification of datagrams that are cut into fragments starts to count: 32 bits. */
  readonly fragmentId: number;
}

/**
 * Rare things that happened on a worker to a port, in a session that was not over when this was
 * called (NativeRingPort.endSession). MACs are 48-bit numbers, first byte on the wire highest.
 */
export type PortReport =
  | { readonly type: 'mac-learned' | 'mac-aged'; readonly mac: number; readonly vlan: number }
  | {
      readonly type: 'mac-moved';
      /** Name of the port behind which it was. */
      readonly from: string;
      readonly mac: number;
      readonly vlan: number;
    }
  | ({ readonly type: 'spoofed' } & SpoofedSource)
  | { readonly type: 'queue-broken'; readonly queue: number; readonly code: BreakFault }
  | { readonly type: 'memory-lost' }
  /** Somebody had to wait for an eventfd of the port's frontend. */
  | { readonly type: 'eventfd-blocked' };

/** What a frame said it comes from; the EtherType of one that does not show it. */
export interface SpoofedSource {
  readonly kind: 'mac' | 'ipv4' | 'ipv6' | 'unknown';
  readonly source: string;
}

/** Which sources the guest of a port may use (native/core/policy/source_rule.h); empty: any. */
export interface SourceRule {
  readonly macs: readonly number[];
  /** Addresses of 4 or 16 bytes. */
  readonly networks: readonly { readonly address: Uint8Array; readonly prefixLength: number }[];
}

/** What an entry is beside learned (native/core/bridge/fdb.h). */
export type FdbFlag = 'static' | 'sticky' | 'drop' | 'extern';

/** Where an address is. */
export interface FdbPlace {
  /** None: frames to the address are dropped. */
  readonly port?: NativePort;
  /** Which remote end of a port that has several: 16 bits. */
  readonly via: number;
  readonly flags: readonly FdbFlag[];
}

export interface FdbEntry extends FdbPlace {
  readonly mac: number;
  readonly vlan: number;
  readonly ageSeconds: number;
}

/**
 * How a link fares (native/core/policy/link.h). Probabilities are 0 to 1, all other numbers whole;
 * zeros everywhere pass every frame at once.
 */
export interface LinkSettings {
  readonly seed: bigint;
  readonly blackhole: boolean;
  /** Without a VLAN tag; 0: any. */
  readonly frameBytesMax: number;
  /** 0: no limit. */
  readonly bitsPerSecond: number;
  readonly queueBytes: number;
  /** Gilbert-Elliott: the wire turns bad and good at a frame, and loses frames while it is. */
  readonly turnsBad: number;
  readonly turnsGood: number;
  readonly lossGood: number;
  readonly lossBad: number;
  readonly delayNs: number;
  /** At most delayNs. */
  readonly jitterNs: number;
  readonly duplicate: number;
  readonly corrupt: number;
  readonly reorder: number;
  readonly reorderNs: number;
}

/**
 * What can be set on a port, and in which words. A policy is a row of native/addon/policies.cc,
 * which refuses words that are missing, too many or out of range.
 */
export interface PolicyWords {
  /** How frames fare on their way from the guest of the port. */
  readonly linkFromGuest: LinkSettings;
  /** The same on their way to it. */
  readonly linkToGuest: LinkSettings;
  /** The same on their way to it from another port of its bridge, the peer. */
  readonly linkFromPort: LinkSettings;
  /**
   * Frames of more bytes behind Ethernet's header are kept from the guest. setFeatures forgets it.
   */
  readonly mtu: { readonly mtuBytes: number };
  /** What the operator wants: of a port that is down nothing comes, and to it nothing goes. */
  readonly admin: { readonly down: boolean };
  /** The guest's frames may have no other sources. */
  readonly sources: SourceRule;
}

/** A data plane: bridges of ports with queues, workers. */
export interface Dataplane {
  /**
   * Makes a bridge. Entries not seen for this long are forgotten; 0 keeps them. Throws
   * TOO_MANY_PORTS.
   */
  addBridge(name: string, ageingSeconds: number): NativeBridge;
  /** Cuts ports on different sides off from each other, in place of an earlier partition. */
  setPartition(sides: readonly (readonly NativePort[])[]): void;
  /**
   * Starts one worker more, on a CPU or with -1 on any, which takes over its share of the started
   * transmitqs. Throws TOO_MANY_WORKERS, and SYSTEM if it cannot run.
   */
  addWorker(cpu: number): void;
  /**
   * Ends the worker that was added last; the others take over. Throws BAD_OPTION for the only one.
   */
  removeWorker(): void;
  /** Pins a worker to a CPU, or with -1 lets it run anywhere. Throws SYSTEM. */
  pinWorker(worker: number, cpu: number): void;
  /** How long workers poll without work before they sleep. */
  setIdle(idleUs: number): void;
  /** The workers that have made no round since the last call, which waits for none of them. */
  silentWorkers(): number[];
  /** As they are now: workerCounterNames.length of each worker in turn. */
  workerCounters(): BigUint64Array;
  /**
   * What each worker has delivered by pair of ports: from, to, frames and bytes of each. `to` is
   * 65535 where a source has no pair of its own.
   */
  pairCounters(): BigUint64Array;
  /**
   * With a manual clock: up to `rounds` rounds, fewer if one moves nothing; returns frames moved.
   */
  step(rounds: number): number;
  /** Moves a manual clock, doing on the way what is due. */
  advance(ns: number): void;
  /** Tells ports at once what they would otherwise be told in a later turn of the event loop. */
  drainEvents(): void;
  close(): void;
}

/** A bridge of a data plane. */
export interface NativeBridge {
  /** No two open bridges have the same. */
  readonly number: number;
  /**
   * Makes a port with that many stopped queue pairs, 1 to queuePairsMax. `onEvent` is told what
   * happens to it until it is closed. Throws TOO_MANY_PORTS.
   */
  addRingPort(
    name: string,
    queuePairs: number,
    onEvent: (event: PortReport) => void,
  ): NativeRingPort;
  /** Makes a port of this process, whose one queue pair runs from the start. */
  addProcessPort(name: string, onEvent: (event: PortReport) => void): NativeProcessPort;
  /**
   * Begins to record the ports that are or come on the bridge. Of each frame the first `snapBytes`
   * are kept. The eventfd stays the caller's until the capture is closed.
   */
  capture(snapBytes: number, callFd: number): NativeCapture;
  readFdb(): FdbEntry[];
  /** How many entries there are that have not aged. */
  fdbSize(): number;
  /** Forgets what was learned; entries that are static, drop or extern stay. */
  flushFdb(): void;
  /**
   * Puts an entry in place of what there is for an address; its port is on the bridge. False if the
   * table is full.
   */
  setFdbEntry(mac: number, vlan: number, at: FdbPlace): boolean;
  /** False if there is none. */
  removeFdbEntry(mac: number, vlan: number): boolean;
  /** How many addresses may be learned on the bridge, or behind a port of it. */
  setFdbLimit(entries: number, port?: NativePort): void;
  setAgeing(ageingSeconds: number): void;
  /** Throws BAD_OPTION while ports are on it. Captures of it record nothing more. */
  close(): void;
}

/** A port of any kind. */
export interface NativePort {
  readonly name: string;
  /** No two open ports have the same; records of captures have it. */
  readonly number: number;
  /**
   * Puts a policy in force, in place of what it was, or without words out of force. A link goes on
   * where it is. `peer` is for policies that have one.
   */
  set<Policy extends keyof PolicyWords>(
    policy: Policy,
    words: PolicyWords[Policy] | undefined,
    peer?: NativePort,
  ): void;
  /**
   * Puts the port on another bridge between two rounds; its guest stays connected. What was learned
   * behind it is forgotten, and so is what links hold back for it.
   */
  move(bridge: NativeBridge): void;
  queue(queue: number): NativeQueue;
  /**
   * The counters of the port's queues, which go on counting: [queue * countersPerQueue + i] is
   * counterNames[i]. To be asked for once.
   */
  counters(): BigUint64Array;
  /**
   * What became of frames at the port, which goes on counting: [i] are those whose fate is
   * fateNames[i], [marksAt + i] those that a link marked with markNames[i]. Frames without a buffer
   * are counted by queue. To be asked for once.
   */
  fates(): BigUint64Array;
  /** Begins to record the port, as NativeBridge.capture() does. */
  capture(snapBytes: number, callFd: number): NativeCapture;
  close(): void;
}

/** A port whose rings are in the memory of a frontend. */
export interface NativeRingPort extends NativePort {
  queue(queue: number): NativeRingQueue;
  /** Replaces all memory; running rings are translated anew. Takes every fd. */
  setMemory(regions: readonly MappedRegion[]): void;
  addMemoryRegion(region: MappedRegion): void;
  removeMemoryRegion(region: MemoryRegion): void;
  /** The negotiated virtio features; only while no queue runs. */
  setFeatures(features: bigint): void;
  /** Maps the dirty log (the fd is taken), or forgets it. Pages beyond its end are not logged. */
  setLog(log: DirtyLog | undefined): void;
  /**
   * Whether writes to buffers, and to used rings with a usedLogAddress, are logged
   * (VHOST_F_LOG_ALL).
   */
  setLogging(enabled: boolean): void;
  /**
   * Floods a RARP request from `mac` as if the guest had sent it, so that bridges learn where it
   * is.
   */
  announce(mac: number): void;
  /**
   * The guest has left, its queues stopped and its memory given back: forgets what was learned
   * behind the port, and what was to be reported of it.
   */
  endSession(): void;
}

/** A port of this process. */
export interface NativeProcessPort extends NativePort {
  queue(queue: number): NativeProcessQueue;
  /**
   * Sends the first `count` frames that lie one after the other in `bytes`; returns how many found
   * room. Throws BAD_FRAME at a length that no frame has.
   */
  send(bytes: Uint8Array, lengths: Uint32Array, count: number): number;
  /**
   * Puts the frames that wait into `bytes`, as many as fit there and into `lengths`; returns how
   * many.
   */
  receive(bytes: Uint8Array, lengths: Uint32Array): number;
  /** Whether every frame sent has been forwarded. */
  isDrained(): boolean;
}

/** A queue of a port, as open as that is. */
export interface NativeQueue {
  /** The call eventfd may be set in any state; -1 takes it away. */
  setCall(fd: number): void;
  /** The worker, from 0, that polls a started transmitq. */
  worker(): number;
  /** Gives a started transmitq to another worker; no flow is reordered. */
  assign(worker: number): void;
}

/** A ring of a frontend, or the place for one. */
export interface NativeRingQueue extends NativeQueue {
  start(start: QueueStart): void;
  /** Moves the rings of a running queue (SET_VRING_ADDR on a started ring). */
  move(rings: RingAddresses): void;
  /** Stops the queue and returns its base; nothing touches it afterwards. */
  stop(): number;
  enable(enabled: boolean): void;
  /** How a started queue stands: its base, the chains its driver offers, and why it is broken. */
  read(): {
    readonly base: number;
    readonly offered: number;
    /** Nothing was ever taken, since the driver of a packed ring counts laps the other way. */
    readonly outOfStep?: true;
    readonly broken?: BreakFault;
  };
  /**
   * Answers up to `commandsMax` commands of a started control queue; what they say is in force
   * then.
   */
  serveControl(commandsMax: number): ControlTurn;
  /** As setCall, of the eventfd that is signalled when the queue breaks. */
  setErr(fd: number): void;
}

/** A queue of a port of this process: 0 has the frames for it, 1 those from it. */
export interface NativeProcessQueue extends NativeQueue {
  /** Signals the call eventfd once something has moved. Look again after this call. */
  requestCall(): void;
}

/** A recording that is being made. */
export interface NativeCapture {
  /**
   * Moves packet blocks of a pcapng file into `bytes`, as many as fit; returns how many bytes they
   * have. Stops in front of a packet whose port has no interface.
   */
  read(bytes: Uint8Array): number;
  /**
   * The same to where a file stands. Returns 0, or the number of an error after which the file may
   * have a part of a block.
   */
  writeTo(fd: number): number;
  /** Bytes that are there to be read. */
  waiting(): number;
  /** The port of the next packet, if it has no interface. */
  portWithoutInterface(): number | undefined;
  /** The interface of the file that packets of the port have from now on. */
  setInterface(port: number, interfaceNumber: number): void;
  /** Takes every port's interface back: numbers of ports may be used again. */
  forgetInterfaces(): void;
  /** Signals the eventfd once there is a packet. True if there is one: then read again. */
  requestCall(): boolean;
  /** Frames that there was no room for. */
  lost(): number;
  close(): void;
}
