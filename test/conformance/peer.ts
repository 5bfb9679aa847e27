/**
 * A frontend that says every message itself, on a port of a real switch: requests, memory and rings
 * of src/testing, and what the switch makes of them, in its events and its status.
 *
 * A request without an answer is served when a later one was answered: settled() waits for that.
 */

import type { TsvswitchError } from '../../src/model/errors.ts';
import { native, type RingAddresses } from '../../src/native/addon.ts';
import type { FrontendStatus, RingStatus } from '../../src/port/vhost-user/status.ts';
import { VhostUserFrontend } from '../../src/testing/frontend.ts';
import { GuestMemory } from '../../src/testing/guest-memory.ts';
import { PackedRing } from '../../src/testing/packed-ring.ts';
import { SplitRing } from '../../src/testing/split-ring.ts';
import { virtioFeatures } from '../../src/vhost-user/features.ts';
import {
  emptyLayout,
  headerFlags,
  type Message,
  memoryRegionLayout,
  memoryTableLayout,
  type RequestName,
  requestNumbers,
  u64Layout,
  vringAddressesLayout,
  vringFdLayout,
  vringStateLayout,
} from '../../src/vhost-user/message.ts';
import { generousPort, generousOffer as offer, SwitchNetwork } from '../support/network.ts';

const { VIRTIO_F_RING_PACKED, VHOST_F_LOG_ALL } = virtioFeatures;
/** All that is offered, as frontends choose it: split rings, no migration yet. */
export const usualFeatures = offer.virtio & ~VIRTIO_F_RING_PACKED & ~VHOST_F_LOG_ALL;

export interface SendOptions {
  readonly payload?: Uint8Array;
  readonly fds?: readonly number[];
  readonly needReply?: boolean;
}

export class Peer {
  readonly network = SwitchNetwork.open(0);
  readonly port = this.network.addPort(generousPort);
  readonly frontend = VhostUserFrontend.connect({ path: this.network.path(0) });
  readonly memory = GuestMemory.create({ sizeBytes: 8 << 20, regions: 2, pluggedRegions: 1 });
  readonly #fds: number[] = [];

  /** SET_OWNER, protocol features and features. */
  async negotiate(features = usualFeatures, protocol = offer.protocol): Promise<this> {
    await this.send('SET_OWNER');
    await this.tell('SET_PROTOCOL_FEATURES', protocol);
    await this.tell('SET_FEATURES', features);
    await this.settled();
    return this;
  }

  /**
   * Sends a request, and returns what answers it if it is asked to. If the switch has ended the
   * session before, a request that nothing answers goes nowhere, as it would a moment earlier.
   */
  async send(
    request: RequestName | number,
    options: SendOptions = {},
  ): Promise<Message | undefined> {
    const { payload = new Uint8Array(0), fds = [], needReply = false } = options;
    const number = typeof request === 'number' ? request : requestNumbers[request];
    const flags = needReply ? headerFlags.NEED_REPLY : 0;
    try {
      return await this.frontend.request(number, flags, payload, fds, needReply);
    } catch (error) {
      if (needReply || (error as TsvswitchError).code !== 'DISCONNECTED') throw error;
      return undefined;
    }
  }

  /** The status that acknowledges a request: 0 for success. */
  async acknowledged(request: RequestName | number, options: SendOptions = {}): Promise<bigint> {
    const reply = await this.send(request, { ...options, needReply: true });
    return u64Layout.decode(reply!.payload)!;
  }

  ask(request: RequestName): Promise<bigint> {
    return this.frontend.ask(request, emptyLayout, null, u64Layout);
  }

  async tell(request: RequestName, value: bigint): Promise<void> {
    await this.send(request, { payload: u64Layout.encode(value) });
  }

  async vring(request: RequestName, index: number, num: number): Promise<void> {
    await this.send(request, { payload: vringStateLayout.encode({ index, num }) });
  }

  /** GET_VRING_BASE. */
  base(queue: number): Promise<number> {
    return this.frontend.stopRing(queue);
  }

  async eventfd(request: RequestName, index: number, hasFd = true): Promise<number> {
    const fd = native().eventfdCreate();
    this.#fds.push(fd);
    await this.send(request, {
      payload: vringFdLayout.encode({ index, hasFd }),
      fds: hasFd ? [fd] : [],
    });
    return fd;
  }

  async address(index: number, addresses: RingAddresses, flags = 0, log = 0n): Promise<void> {
    const payload = vringAddressesLayout.encode({ index, flags, log, ...addresses });
    await this.send('SET_VRING_ADDR', { payload });
  }

  /** SET_MEM_TABLE with the first region. */
  async share(): Promise<void> {
    const region = this.memory.region(0);
    const payload = memoryTableLayout.encode([region]);
    await this.send('SET_MEM_TABLE', { payload, fds: [region.fd] });
  }

  async addMemory(region = this.memory.region(1)): Promise<void> {
    await this.send('ADD_MEM_REG', {
      payload: memoryRegionLayout.encode(region),
      fds: [region.fd],
    });
  }

  async removeMemory(region = this.memory.region(1), fds: readonly number[] = []): Promise<void> {
    await this.send('REM_MEM_REG', { payload: memoryRegionLayout.encode(region), fds });
  }

  splitRing(size = 256): SplitRing {
    return new SplitRing(this.memory, size);
  }

  packedRing(size = 256): PackedRing {
    return new PackedRing(this.memory, size);
  }

  /** NUM, BASE, ADDR, KICK: the order of QEMU and virtio-user. */
  async start(
    queue: number,
    ring: SplitRing | PackedRing = this.splitRing(),
    base?: number,
  ): Promise<void> {
    await this.vring('SET_VRING_NUM', queue, ring.size);
    if (base !== undefined) await this.vring('SET_VRING_BASE', queue, base);
    await this.address(queue, ring.addresses);
    await this.eventfd('SET_VRING_KICK', queue);
    await this.settled();
  }

  /** Everything sent until now was served; throws if the session has ended over it. */
  async settled(): Promise<void> {
    await this.ask('GET_FEATURES');
  }

  get status(): FrontendStatus | undefined {
    return this.network.port(0).status.frontend;
  }

  /** A started ring, broken or not; undefined if it is stopped. */
  ring(queue: number): RingStatus | undefined {
    return this.status?.rings.find((ring) => ring.queue === queue);
  }

  /** Why the switch ends the session, which it is about to do: a code and its sentence. */
  async refusal(): Promise<string> {
    const { reason } = await this.network.event('frontend-left');
    return reason.kind === 'protocol-error' ? `${reason.code} ${reason.sentence}` : reason.kind;
  }

  async close(): Promise<void> {
    this.frontend.close();
    this.memory.close();
    await this.network.close();
    for (const fd of this.#fds) native().closeFd(fd);
  }
}
