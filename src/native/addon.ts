/**
 * The one door to compiled code: loads the addon once and declares what it exports.
 *
 * Only plain values cross: integers, bigint addresses, fds, typed arrays and flat objects. A passed
 * fd belongs to the addon from the call on, even if the call throws. Every dataplane call takes
 * effect between two rounds of the worker concerned and returns when it has. The addon is given
 * TsvswitchError when it is loaded and throws nothing else.
 */

import { TsvswitchError } from '../model/errors.ts';
import { checkNodeVersion } from '../runtime/node-version.ts';
import { loadAddon } from './addon-file.ts';

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

/** What a turn of a control queue has done (Dataplane.serveControl). */
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
  readonly onEvent: (event: DataplaneEvent) => void;
}

/**
 * Rare things that happened on a worker, in a session that was not over when this was called
 * (endSession). MACs are 48-bit numbers, first byte on the wire highest.
 */
export type DataplaneEvent = {
  readonly port: number;
  /** Of the port, as sessionOf and endSession tell it. */
  readonly session: number;
} & (
  | { readonly type: 'mac-learned'; readonly mac: number; readonly vlan: number }
  | {
      readonly type: 'mac-moved';
      readonly fromPort: number;
      readonly mac: number;
      readonly vlan: number;
    }
  | ({ readonly type: 'spoofed' } & SpoofedSource)
  | { readonly type: 'queue-broken'; readonly queue: number; readonly reason: string }
  | { readonly type: 'memory-lost' }
  /** Somebody had to wait for an eventfd of the port's frontend. */
  | { readonly type: 'made-wait' }
);

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

export interface FdbEntry {
  readonly mac: number;
  readonly vlan: number;
  readonly port: number;
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
 * The data plane: bridges of ports with queues, workers. Bridges, ports and queues are small
 * integers.
 */
export interface Dataplane {
  /**
   * Makes a bridge and returns its number. Entries not seen for this long are forgotten; 0 keeps
   * them.
   */
  addBridge(ageingSeconds: number): number;
  /**
   * Makes a port with that many stopped queue pairs, 1 to queuePairsMax, and returns its number.
   */
  addPort(queuePairs: number, bridge: number): number;
  /** Makes a port of this process, whose one queue pair runs from the start. */
  addHostPort(bridge: number): number;
  /**
   * Sends the first `count` frames that lie one after the other in `bytes`; returns how many found
   * room. Throws BAD_FRAME at a length that no frame has.
   */
  hostSend(port: number, bytes: Uint8Array, lengths: Uint32Array, count: number): number;
  /**
   * Puts the frames that wait into `bytes`, as many as fit there and into `lengths`; returns how
   * many.
   */
  hostReceive(port: number, bytes: Uint8Array, lengths: Uint32Array): number;
  /** Whether every frame sent has been forwarded. */
  hostDrained(port: number): boolean;
  /** Signals the call eventfd of a queue once something has moved. Look again after this call. */
  hostRequestCall(port: number, queue: number): void;
  removePort(port: number): void;
  /** Replaces all memory of a port; running rings are translated anew. Takes every fd. */
  setMemory(port: number, regions: readonly MappedRegion[]): void;
  addMemoryRegion(port: number, region: MappedRegion): void;
  removeMemoryRegion(port: number, region: MemoryRegion): void;
  /**
   * How frames fare from one port to another, from the guest of a port (`to` is -1) or to it
   * (`from` is -1); without settings they pass. Later settings change the link where it is.
   */
  setLink(from: number, to: number, settings: LinkSettings | undefined): void;
  /** Cuts ports on different sides off from each other, in place of an earlier partition. */
  setPartition(sides: readonly (readonly number[])[]): void;
  /** The negotiated virtio features; only while no queue runs. */
  setFeatures(port: number, features: bigint): void;
  /**
   * From now on frames of more bytes behind Ethernet's header are kept from the guest; setFeatures
   * forgets it.
   */
  setMtu(port: number, mtuBytes: number): void;
  /** From now on the guest's frames may have no other sources. */
  bindSources(port: number, rule: SourceRule): void;
  /** From now on they may have any. */
  unbindSources(port: number): void;
  /**
   * Puts a port on another bridge between two rounds; its guest stays connected. What was learned
   * behind it is forgotten, and so is what links hold back for it.
   */
  movePort(port: number, bridge: number): void;
  startQueue(port: number, queue: number, start: QueueStart): void;
  /** Moves the rings of a running queue (SET_VRING_ADDR on a started ring). */
  moveQueue(port: number, queue: number, rings: RingAddresses): void;
  /**
   * Answers up to `commandsMax` commands of a started control queue; what they say is in force
   * then.
   */
  serveControl(port: number, queue: number, commandsMax: number): ControlTurn;
  /** Stops a queue and returns its base; nothing touches the queue afterwards. */
  stopQueue(port: number, queue: number): number;
  enableQueue(port: number, queue: number, enabled: boolean): void;
  /** How a started queue stands: its base, the chains its driver offers, and why it is broken. */
  readQueue(
    port: number,
    queue: number,
  ): {
    readonly base: number;
    readonly offered: number;
    /** Nothing was ever taken, since the driver of a packed ring counts laps the other way. */
    readonly outOfStep?: true;
    readonly broken?: string;
  };
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
  /** The worker, from 0, that polls a started transmitq. */
  workerOf(port: number, transmitq: number): number;
  /** Gives a started transmitq to another worker; no flow is reordered. */
  assignWorker(port: number, transmitq: number, worker: number): void;
  /** Call and err eventfds may be set in any state; -1 takes them away. */
  setCall(port: number, queue: number, fd: number): void;
  setErr(port: number, queue: number, fd: number): void;
  /** Maps the dirty log (the fd is taken), or forgets it. Pages beyond its end are not logged. */
  setLog(port: number, log: DirtyLog | undefined): void;
  /**
   * Whether writes to buffers, and to used rings with a usedLogAddress, are logged
   * (VHOST_F_LOG_ALL).
   */
  setLogging(port: number, enabled: boolean): void;
  /**
   * Floods a RARP request from `mac` as if the guest had sent it, so that bridges learn where it
   * is.
   */
  announce(port: number, mac: number): void;
  /**
   * Begins to record a port, or the ports that are or come on a bridge, and returns the capture's
   * number. Of each frame the first `snapBytes` are kept. The eventfd stays the caller's until
   * removeCapture.
   */
  capturePort(port: number, snapBytes: number, callFd: number): number;
  captureBridge(bridge: number, snapBytes: number, callFd: number): number;
  /**
   * Moves records, as native/core/policy/capture.h lays them out, into `bytes`, as many as fit;
   * returns how many bytes they take up.
   */
  captureRead(capture: number, bytes: Uint8Array): number;
  /** Signals the eventfd once there is a record. Read again after this call. */
  captureRequestCall(capture: number): void;
  /** Frames that the capture had no room for. */
  captureLost(capture: number): number;
  removeCapture(capture: number): void;
  readFdb(bridge: number): FdbEntry[];
  flushFdb(bridge: number): void;
  setAgeing(bridge: number, ageingSeconds: number): void;
  /** Throws BAD_OPTION for one that has ports; its number may be another bridge's afterwards. */
  removeBridge(bridge: number): void;
  /** The number of a port's present session, which no other port has or had. */
  sessionOf(port: number): number;
  /**
   * The guest of a port has left, its queues stopped and its memory given back: forgets what was
   * learned behind it, and what was to be reported of it. Returns the number of the next session.
   */
  endSession(port: number): number;
  /**
   * The counters of a port, which go on counting: [queue * countersPerQueue + i] is
   * counterNames[i]. To be asked for once for each port.
   */
  counters(port: number): BigUint64Array;
  /**
   * With a manual clock: up to `rounds` rounds, fewer if one moves nothing; returns frames moved.
   */
  step(rounds: number): number;
  /** Moves a manual clock, doing on the way what is due. */
  advance(ns: number): void;
  /** Reports at once what would otherwise be reported in a later turn of the event loop. */
  drainEvents(onEvent: (event: DataplaneEvent) => void): void;
  close(): void;
}

export interface FdMessage {
  /** Number of bytes read into the buffer; 0 is end of stream. */
  readonly bytes: number;
  readonly fds: number[];
  /** More fds were sent than could be taken over; the surplus was closed by the kernel. */
  readonly fdsTruncated: boolean;
}

export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

export interface Native {
  openDataplane(options: DataplaneOptions): Dataplane;
  readonly counterNames: readonly string[];
  readonly countersPerQueue: number;
  readonly queuePairsMax: number;
  readonly portsMax: number;
  readonly memorySlotsMax: number;

  /** The class of every error the addon throws from now on. */
  setErrorConstructor(errorClass: typeof TsvswitchError): void;

  /** A non-blocking SOCK_STREAM socket bound to `path`; nobody can connect before socketListen. */
  socketBind(path: string): number;
  socketListen(fd: number, backlog: number): void;
  socketConnect(path: string): number;
  /** The next connection, or undefined if none waits. */
  socketAccept(fd: number): number | undefined;
  /** Reads at most `into.length` bytes with the fds sent along; undefined if nothing waits. */
  socketReceive(fd: number, into: Uint8Array): FdMessage | undefined;
  /** Sends the bytes with the fds (which stay the caller's); returns how many bytes went out. */
  socketSend(fd: number, bytes: Uint8Array, fds: readonly number[]): number;
  socketPeer(fd: number): PeerCredentials;
  /** A non-blocking SOCK_DGRAM socket bound to `path`. */
  datagramBind(path: string): number;
  /** One connected to `path`, which sends nothing: it finds out whether somebody is there. */
  datagramConnect(path: string): number;
  /**
   * Reads one datagram and returns how long it is, which may be more than `into` has room for;
   * undefined if none waits.
   */
  datagramReceive(fd: number, into: Uint8Array): number | undefined;
  /**
   * Sends one datagram to the socket at `path`; returns 0, or the errno that says why it did not
   * go.
   */
  datagramSend(fd: number, path: string, bytes: Uint8Array): number;
  /** The number of the user called `name`, or undefined if there is none. */
  userId(name: string): number | undefined;
  /** The number of the group called `name`, or undefined if there is none. */
  groupId(name: string): number | undefined;
  /** Calls back on the event loop whenever `fd` is readable or hung up, until unwatch. */
  watchReadable(fd: number, callback: () => void): void;
  unwatchReadable(fd: number): void;

  /**
   * Confines all threads of this process for good (native/core/platform/sandbox.h). Throws SYSTEM.
   */
  confineProcess(): void;
  /** Moves all threads of this process off these CPUs (native/core/platform/cpus.h). */
  leaveCpus(cpus: readonly number[]): void;

  memfdCreate(name: string, sizeBytes: number): number;
  /**
   * Maps the file, shared, for reading and writing, until nobody refers to the buffer. Throws
   * SYSTEM.
   */
  mapFile(fd: number, sizeBytes: number): ArrayBuffer;
  /** Ends a mapping at once: its buffer and all views of it have no bytes any more. Idempotent. */
  unmapFile(buffer: ArrayBuffer): void;
  /** Whether a file is of memfd_create, tmpfs or hugetlbfs. */
  isMemoryFile(fd: number): boolean;
  /** Another fd of the same file. */
  dupFd(fd: number): number;
  /**
   * Gives the pages of a memory file back, whoever else has it: it keeps its size and reads as
   * zeros.
   */
  discardPages(fd: number): void;
  eventfdCreate(): number;
  /** Adds one; false if the counter is full. */
  eventfdSignal(fd: number): boolean;
  /** Reads and clears the counter; 0 if it was clear. */
  eventfdDrain(fd: number): number;
  closeFd(fd: number): void;
}

let loaded: Native | undefined;

/**
 * The addon, loaded at the first call. Throws NATIVE_UNAVAILABLE or NODE_TOO_OLD with the way to
 * mend it.
 */
export function native(): Native {
  if (loaded === undefined) {
    checkNodeVersion();
    const addon = loadAddon() as Native;
    addon.setErrorConstructor(TsvswitchError);
    loaded = addon;
  }
  return loaded;
}
