/**
 * The virtio-net device one frontend configures: what was negotiated, its memory and its rings.
 * requests.ts calls the verbs here, one per request; they throw Refusal for a frontend's mistake.
 *
 * A reset (SET_STATUS 0 or RESET_DEVICE) forgets what the driver negotiated: virtio features,
 * status, and the configuration of every ring. It keeps what belongs to the frontend: memory,
 * protocol features and call/err eventfds. QEMU sends none of these again after a reset; with
 * CONFIGURE_MEM_SLOTS it only ever tells differences to the regions it told before. It also keeps
 * the base each ring stopped at (see Ring.reset).
 *
 * Logging for migration has two switches, the log itself and VHOST_F_LOG_ALL, and both may change
 * while rings run. Without a log the bit has no effect: some frontends agree to everything.
 *
 * A frontend that keeps no configuration space of its own reads it here, and hands its control
 * queue over like any other (config-space.ts). What is said on that only the data plane sees.
 *
 * Sources: vhost-user "Ring states", "Multiple queue support", "Migration",
 * VHOST_USER_RESET_DEVICE, VHOST_USER_SET_STATUS, VHOST_USER_NET_SET_MTU; virtio 1.2 §2.1 (device
 * status), §3.1.1 (FEATURES_OK).
 */

import type { BreakFault } from '../model/faults/table.ts';
import { hex } from '../model/sentence.ts';
import type { MemoryRegion } from '../native/addon.ts';
import type { Backend } from './backend.ts';
import { BackendRequests } from './backend-requests.ts';
import { type ConfigFacts, ConfigSpace, checkMachineMac, controlPairsOf } from './config-space.ts';
import type { DeviceEvent } from './device-event.ts';
import { checkLog, requireCovered } from './dirty-log.ts';
import { checkOffered, checkProtocolChoice } from './feature-choice.ts';
import {
  featureNames,
  netHeaderBytes,
  type Offer,
  type ProtocolFeatureName,
  protocolFeatures,
  virtioFeatures,
} from './features.ts';
import { createInflight } from './inflight.ts';
import { MemoryTable, withFd } from './memory.ts';
import {
  type BackendRequestName,
  type InflightArea,
  type LogArea,
  type VringAddresses,
  vringLogFlag,
} from './message.ts';
import { type Refusal, refusal } from './refusal.ts';
import { Ring } from './ring.ts';
import { packedRing, splitRing } from './ring-format.ts';
import { type SessionSnapshot, snapshotOf } from './snapshot.ts';

/** What a request may need besides a connection. */
export type Requirement = 'VHOST_USER_F_PROTOCOL_FEATURES' | ProtocolFeatureName;

const statusMax = 0xffn;
const statusFeaturesOk = 0x08n;
const protocolFeaturesBit = virtioFeatures.VHOST_USER_F_PROTOCOL_FEATURES;
const logAllBit = virtioFeatures.VHOST_F_LOG_ALL;
const mtuBit = virtioFeatures.VIRTIO_NET_F_MTU;
const announceBits =
  virtioFeatures.VIRTIO_NET_F_GUEST_ANNOUNCE | virtioFeatures.VIRTIO_NET_F_STATUS;

export interface DeviceOptions {
  readonly queuePairs: number;
  readonly config: ConfigFacts;
  readonly offered: Offer;
  readonly backend: Backend;
  readonly onEvent: (event: DeviceEvent) => void;
  /** The frontend answered nonsense on the backend channel. */
  readonly onChannelMistake: (mistake: Refusal) => void;
}

export class Device {
  readonly queuePairs: number;
  readonly offered: Offer;
  readonly #backend: Backend;
  readonly #emit: (event: DeviceEvent) => void;
  readonly #onChannelMistake: (mistake: Refusal) => void;
  readonly #memory = new MemoryTable();
  readonly #rings: readonly Ring[];
  /** Undefined until SET_FEATURES, and again after a reset. */
  #features: bigint | undefined;
  /** For frontends that have none themselves. */
  readonly config: ConfigSpace;
  #isOwned = false;
  #isOfQemu = false;
  /** What the frontend said, who need not read the configuration space. */
  #mtuBytes: number | undefined;
  #protocolFeatures = 0n;
  #status = 0n;
  #log: LogArea | undefined;
  #logging = false;
  #backendRequests: BackendRequests | undefined;
  /** Where rings go on that were stopped for somebody else. */
  readonly #left = new Map<number, number>();

  constructor(options: DeviceOptions) {
    const { queuePairs, backend, onEvent } = options;
    this.queuePairs = queuePairs;
    this.offered = options.offered;
    this.#backend = backend;
    this.#emit = onEvent;
    this.#onChannelMistake = options.onChannelMistake;
    this.config = new ConfigSpace(options.config, queuePairs, () => this.#configChanged());
    this.#rings = Array.from(
      { length: 2 * queuePairs },
      (_, queue) => new Ring(queue, backend, this.#memory, onEvent),
    );
  }

  get features(): bigint | undefined {
    return this.#features;
  }

  get status(): bigint {
    return this.#status;
  }

  get memory(): { readonly regions: number; readonly bytes: bigint } {
    return { regions: this.#memory.count, bytes: this.#memory.totalBytes };
  }

  get ringCount(): number {
    return this.#rings.length;
  }

  get startedRings(): number[] {
    return [...this.#rings.keys()].filter((queue) => this.ring(queue).state.kind !== 'stopped');
  }

  /** `queue` has passed the dispatcher's check against ringCount. */
  ring(queue: number): Ring {
    return this.#rings[queue]!;
  }

  has(requirement: Requirement): boolean {
    if (requirement === 'VHOST_USER_F_PROTOCOL_FEATURES') {
      // QEMU enables the first rings before SET_FEATURES: until then the bit counts as it is
      // offered.
      return ((this.#features ?? this.offered.virtio) & protocolFeaturesBit) !== 0n;
    }
    return (this.#protocolFeatures & protocolFeatures[requirement]) !== 0n;
  }

  setOwner(): void {
    this.#isOwned = true;
  }

  /**
   * QEMU asks before it says SET_OWNER, as no other frontend does, and again for each queue pair.
   * Its network device has a space of its own: it would print a warning each time about another.
   */
  offerProtocol(): bigint {
    const { protocol } = this.offered;
    this.#isOfQemu ||= !this.#isOwned;
    return this.#isOfQemu ? protocol & ~protocolFeatures.VHOST_USER_PROTOCOL_F_CONFIG : protocol;
  }

  /** The ring that is no receiveq but the control queue, if the frontend hands it over. */
  get controlQueue(): number | undefined {
    const pairs = this.#controlPairs;
    return pairs === undefined ? undefined : 2 * pairs;
  }

  setFeatures(chosen: bigint): void {
    checkOffered(chosen, this.offered.virtio, virtioFeatures);
    this.#setLogging((chosen & logAllBit) !== 0n);
    const features = chosen & ~logAllBit;
    const before = this.#features;
    // QEMU repeats the same choice for every queue pair it starts, while earlier ones run.
    if (features === before) return;
    const running = this.#rings.findIndex((ring) => ring.state.kind !== 'stopped');
    if (running !== -1) {
      const names = featureNames(features ^ (before ?? 0n), virtioFeatures);
      throw refusal('features-while-running', { features: names, running });
    }
    this.#backend.setFeatures(features);
    this.#features = features;
    this.holdToMtu();
    const isPacked = (features & virtioFeatures.VIRTIO_F_RING_PACKED) !== 0n;
    for (const ring of this.#rings) ring.setFormat(isPacked ? packedRing : splitRing);
    this.#followEnableRule(before, features);
    this.#emit({
      type: 'features-agreed',
      features,
      names: featureNames(features, virtioFeatures),
      netHeaderBytes: netHeaderBytes(features),
    });
  }

  setProtocolFeatures(features: bigint): void {
    checkProtocolChoice(features, this.offered.protocol);
    this.#protocolFeatures = features;
  }

  setStatus(status: bigint): void {
    if (status > statusMax) {
      throw refusal('status-too-wide', { status: hex(status) });
    }
    if (status === 0n) {
      this.reset();
      return;
    }
    // The driver reads the status back: without agreed features it has to find FEATURES_OK clear.
    this.#status = this.#features === undefined ? status & ~statusFeaturesOk : status;
  }

  reset(): void {
    for (const ring of this.#rings) ring.reset();
    this.#setLogging(false);
    this.#features = undefined;
    this.#status = 0n;
    this.config.reset();
  }

  startRing(queue: number, takeKickFd: () => number): void {
    this.#requireFeatures();
    const pairs = this.#controlPairsOf(queue);
    const goesOn = this.ring(queue).start(takeKickFd, this.#hasInband, pairs);
    // The guest was moved here, or its switch was started anew: nobody knows yet where it is.
    if (goesOn && pairs !== undefined && this.#agreed(announceBits)) this.config.askToAnnounce();
  }

  kickRing(queue: number): void {
    this.#requireFeatures();
    this.ring(queue).kick(this.#controlPairsOf(queue));
  }

  /**
   * A frontend that hands over the control queue and knows no VHOST_USER_PROTOCOL_F_MQ has pairs in
   * use said there, and disables a ring when its driver goes (virtio_uml). The memory is then
   * somebody else's: not even a transmitq may be drained. Of all others a disabled ring is a
   * started one, as the protocol has it.
   */
  enableRing(queue: number, enabled: boolean): void {
    const ring = this.ring(queue);
    const driverGoes = this.controlQueue !== undefined && !this.has('VHOST_USER_PROTOCOL_F_MQ');
    if (!enabled && driverGoes) ring.stop();
    ring.setEnabled(enabled);
  }

  setRingAddresses(queue: number, addresses: VringAddresses): void {
    const { desc, avail, used, log, flags } = addresses;
    if ((flags & vringLogFlag) === 0) {
      this.ring(queue).setAddresses({ desc, avail, used });
      return;
    }
    if ((this.offered.virtio & logAllBit) === 0n) {
      throw refusal('logging-not-offered');
    }
    if (this.#log !== undefined) requireCovered(this.#log, log, 'the used ring');
    this.ring(queue).setAddresses({ desc, avail, used, usedLogAddress: log });
  }

  /** A call of a queue that has no eventfd for it. */
  ringCalled(queue: number): void {
    if (this.ring(queue).callsInBand) this.#tell('VRING_CALL', queue);
  }

  ringBroken(queue: number, fault: BreakFault): void {
    const ring = this.ring(queue);
    ring.markBroken(fault);
    if (this.#hasInband && ring.errsInBand) this.#tell('VRING_ERR', queue);
  }

  setBackendChannel(fd: number): void {
    this.#backendRequests?.close();
    this.#backendRequests = undefined;
    this.#backendRequests = new BackendRequests(
      (reader) => this.#backend.openChannel(fd, reader),
      this.#onChannelMistake,
    );
  }

  setLog(log: LogArea, takeFd: () => number): void {
    checkLog(log, this.#memory.guestEnd);
    this.#backend.setLog({ ...log, fd: takeFd() });
    this.#log = log;
  }

  setMtu(bytes: bigint): void {
    this.#mtuBytes = this.config.setMtu(bytes);
    this.holdToMtu();
    this.#emit({ type: 'mtu', bytes: this.#mtuBytes });
  }

  /** Only a guest that was told of its MTU is kept from longer frames (virtio 1.2 §5.1.4.1). */
  holdToMtu(): void {
    const mtuBytes = this.#readsConfig ? this.config.mtuBytes : this.#mtuBytes;
    if (this.#agreed(mtuBit) && mtuBytes !== undefined) this.#backend.setMtu(mtuBytes);
  }

  /** SEND_RARP: the guest has moved here and cannot say so itself. */
  announce(mac: number): void {
    checkMachineMac(mac);
    this.#backend.announce(mac);
  }

  /** A new region for `wanted`, and its file's fd, the caller's; none for packed rings. */
  createInflight(wanted: InflightArea): { area: InflightArea; fd: number | undefined } {
    const isPacked = this.#agreed(virtioFeatures.VIRTIO_F_RING_PACKED);
    return createInflight(wanted, this.ringCount, isPacked, this.#backend);
  }

  /** `takeFd` gives the fd of each region in turn. */
  setMemory(regions: readonly MemoryRegion[], takeFd: () => number): void {
    this.#memory.checkReplace(regions);
    this.#backend.setMemory(regions.map((region) => withFd(region, takeFd)));
    this.#memory.replace(regions);
    this.#reportMemory();
  }

  addMemory(region: MemoryRegion, takeFd: () => number): void {
    if (this.#memory.addAgain(region)) return;
    this.#memory.checkAdd(region);
    this.#backend.addMemoryRegion(withFd(region, takeFd));
    this.#memory.add(region);
    this.#reportMemory();
  }

  removeMemory(named: MemoryRegion): void {
    const region = this.#memory.find(named);
    if (this.#memory.removeAgain(region)) return;
    this.#backend.removeMemoryRegion(region);
    this.#memory.remove(region);
    this.#reportMemory();
  }

  /** Undefined while messages are under way that nobody could tell again. */
  snapshot(bases: ReadonlyMap<number, number> = new Map()): SessionSnapshot | undefined {
    if (this.#hasInband) return undefined;
    return snapshotOf(
      {
        isOwned: this.#isOwned,
        isOfQemu: this.#isOfQemu,
        features: this.#features,
        offeredFeatures: this.offered.virtio,
        protocolFeatures: this.#protocolFeatures,
        hasChannel: this.#backendRequests !== undefined,
        regions: this.#memory.added,
        log: this.#log,
        isLogging: this.#logging,
        mtuBytes: this.#mtuBytes,
        mac: this.#readsConfig ? this.config.givenMac : undefined,
        status: this.#status,
        rings: this.#rings.map(({ facts }) => facts),
      },
      bases,
    );
  }

  /** Stops the rings that run, for somebody else to go on with; the device is of no use then. */
  leave(): SessionSnapshot | undefined {
    if (this.#hasInband) return undefined;
    for (const queue of this.startedRings) this.#leaveRing(queue);
    this.#backendRequests?.close();
    return this.snapshot(this.#left);
  }

  /** Of a device that is left soon: its guest sends nothing more, and still hears others. */
  stopSending(): void {
    for (const queue of this.startedRings) if (queue % 2 === 1) this.#leaveRing(queue);
  }

  /** Everything that gives back what the backend holds for this session. */
  shutDownSteps(): (() => void)[] {
    return [
      ...this.#rings.flatMap((ring) => ring.shutDownSteps()),
      () => {
        if (this.#memory.count === 0) return;
        this.#memory.replace([]);
        this.#backend.setMemory([]);
      },
      () => this.#setLogging(false),
      () => {
        if (this.#log === undefined) return;
        this.#log = undefined;
        this.#backend.setLog(undefined);
      },
      () => this.#backendRequests?.close(),
    ];
  }

  #leaveRing(queue: number): void {
    if (!this.#left.has(queue)) this.#left.set(queue, this.#backend.stopQueue(queue));
  }

  #configChanged(): void {
    if (this.#readsConfig) this.#tell('CONFIG_CHANGE_MSG', undefined);
  }

  get #controlPairs(): number | undefined {
    return controlPairsOf(this.#features ?? 0n, this.#protocolFeatures, this.config.queuePairs);
  }

  #controlPairsOf(queue: number): number | undefined {
    return this.controlQueue === queue ? this.#controlPairs : undefined;
  }

  #tell(name: BackendRequestName, queue: number | undefined): void {
    const acked = this.has('VHOST_USER_PROTOCOL_F_REPLY_ACK');
    this.#backendRequests?.tell(name, queue, acked);
  }

  #agreed(bits: bigint): boolean {
    return ((this.#features ?? 0n) & bits) === bits;
  }

  get #readsConfig(): boolean {
    return this.has('VHOST_USER_PROTOCOL_F_CONFIG');
  }

  get #hasInband(): boolean {
    return this.has('VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS');
  }

  #requireFeatures(): void {
    if (this.#features === undefined) {
      throw refusal('before-features');
    }
  }

  #setLogging(enabled: boolean): void {
    if (this.#logging === enabled) return;
    this.#logging = enabled;
    this.#backend.setLogging(enabled);
    this.#emit({ type: 'logging', enabled });
  }

  /**
   * Without VHOST_USER_F_PROTOCOL_FEATURES rings are enabled from the start; with it they wait for
   * SET_VRING_ENABLE, which may have come already.
   */
  #followEnableRule(before: bigint | undefined, features: bigint): void {
    const waits = (features & protocolFeaturesBit) !== 0n;
    const waited = ((before ?? protocolFeaturesBit) & protocolFeaturesBit) !== 0n;
    if (waits && waited) return;
    for (const ring of this.#rings) ring.setEnabled(!waits);
  }

  #reportMemory(): void {
    this.#emit({ type: 'memory', ...this.memory });
  }
}
