/**
 * The virtio-net device one frontend configures: what was negotiated, its memory and its rings.
 * requests.ts calls the verbs here, one per request; they throw Refusal for a frontend's mistake.
 *
 * A reset (SET_STATUS 0 or RESET_DEVICE) forgets what the driver negotiated: virtio features,
 * status, and the configuration of every ring. It keeps what belongs to the frontend: memory,
 * protocol features and call/err eventfds. QEMU sends none of these again after a reset; with
 * CONFIGURE_MEM_SLOTS it only ever tells differences to the regions it told before. It also keeps the
 * base each ring stopped at (see Ring.reset).
 *
 * Sources: vhost-user "Ring states", "Multiple queue support", VHOST_USER_RESET_DEVICE,
 * VHOST_USER_SET_STATUS; virtio 1.2 §2.1 (device status), §3.1.1 (FEATURES_OK).
 */

import type { MappedRegion, MemoryRegion } from '../native.ts';
import type { Backend } from './backend.ts';
import {
  featureNames,
  netHeaderBytes,
  notOffered,
  offeredFeatures,
  offeredProtocolFeatures,
  type ProtocolFeatureName,
  protocolFeatures,
  virtioFeatures,
} from './features.ts';
import { MemoryTable } from './memory.ts';
import { Refusal } from './refusal.ts';
import { Ring, type RingEvent } from './ring.ts';

export type DeviceEvent =
  | RingEvent
  | {
      readonly type: 'features-agreed';
      readonly features: bigint;
      readonly names: readonly string[];
      readonly netHeaderBytes: number;
    }
  | { readonly type: 'memory'; readonly regions: number; readonly bytes: bigint };

/** What a request may need besides a connection. */
export type Requirement = 'VHOST_USER_F_PROTOCOL_FEATURES' | ProtocolFeatureName;

const statusMax = 0xffn;
const statusFeaturesOk = 0x08n;
const protocolFeaturesBit = virtioFeatures.VHOST_USER_F_PROTOCOL_FEATURES;

export class Device {
  readonly queuePairs: number;
  readonly #backend: Backend;
  readonly #emit: (event: DeviceEvent) => void;
  readonly #memory = new MemoryTable();
  readonly #rings: readonly Ring[];
  /** Undefined until SET_FEATURES, and again after a reset. */
  #features: bigint | undefined;
  #protocolFeatures = 0n;
  #status = 0n;

  constructor(queuePairs: number, backend: Backend, emit: (event: DeviceEvent) => void) {
    this.queuePairs = queuePairs;
    this.#backend = backend;
    this.#emit = emit;
    this.#rings = Array.from(
      { length: 2 * queuePairs },
      (_, queue) => new Ring(queue, backend, this.#memory, emit),
    );
  }

  get features(): bigint | undefined {
    return this.#features;
  }

  get status(): bigint {
    return this.#status;
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
      // QEMU enables the first rings before SET_FEATURES: until then the bit counts as it is offered.
      return ((this.#features ?? offeredFeatures) & protocolFeaturesBit) !== 0n;
    }
    return (this.#protocolFeatures & protocolFeatures[requirement]) !== 0n;
  }

  setFeatures(features: bigint): void {
    const surplus = notOffered(features, offeredFeatures);
    if (surplus !== 0n) {
      const names = featureNames(surplus, virtioFeatures).join(', ');
      throw new Refusal('MISSING_FEATURE', `${names} was not offered`);
    }
    const before = this.#features;
    // QEMU repeats the same choice for every queue pair it starts, while earlier ones run.
    if (features === before) return;
    const running = this.#rings.findIndex((ring) => ring.state.kind !== 'stopped');
    if (running !== -1) {
      const names = featureNames(features ^ (before ?? 0n), virtioFeatures).join(', ');
      throw new Refusal('WRONG_ORDER', `changes ${names} while queue ${running} runs`);
    }
    this.#backend.setFeatures(features);
    this.#features = features;
    this.#followEnableRule(before, features);
    this.#emit({
      type: 'features-agreed',
      features,
      names: featureNames(features, virtioFeatures),
      netHeaderBytes: netHeaderBytes(features),
    });
  }

  setProtocolFeatures(features: bigint): void {
    const surplus = notOffered(features, offeredProtocolFeatures);
    if (surplus !== 0n) {
      const names = featureNames(surplus, protocolFeatures).join(', ');
      throw new Refusal('MISSING_FEATURE', `${names} was not offered`);
    }
    this.#protocolFeatures = features;
  }

  setStatus(status: bigint): void {
    if (status > statusMax) {
      throw new Refusal('BAD_VALUE', `status 0x${status.toString(16)} has more than 8 bits`);
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
    this.#features = undefined;
    this.#status = 0n;
  }

  startRing(queue: number, takeKickFd: () => number): void {
    if (this.#features === undefined) {
      throw new Refusal('WRONG_ORDER', 'came before SET_FEATURES');
    }
    this.ring(queue).start(takeKickFd);
  }

  /** `takeFd` gives the fd of each region in turn. */
  setMemory(regions: readonly MemoryRegion[], takeFd: () => number): void {
    this.#memory.checkReplace(regions);
    this.#backend.setMemory(regions.map((region) => withFd(region, takeFd)));
    this.#memory.replace(regions);
    this.#reportMemory();
  }

  addMemory(region: MemoryRegion, takeFd: () => number): void {
    this.#memory.checkAdd(region);
    this.#backend.addMemoryRegion(withFd(region, takeFd));
    this.#memory.add(region);
    this.#reportMemory();
  }

  removeMemory(named: MemoryRegion): void {
    const region = this.#memory.find(named);
    this.#backend.removeMemoryRegion(region);
    this.#memory.remove(region);
    this.#reportMemory();
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
    ];
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
    this.#emit({ type: 'memory', regions: this.#memory.count, bytes: this.#memory.totalBytes });
  }
}

function withFd(region: MemoryRegion, takeFd: () => number): MappedRegion {
  return { ...region, fd: takeFd() };
}
