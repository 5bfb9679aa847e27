/**
 * What a frontend is to be told, by the words of the specification: a model of one session, much
 * smaller than the session, which knows no data plane, no sentences and no fds.
 *
 * Every request is judged to be answered with a payload of its own, accepted, or refused; from that
 * follow the reply and whether the session goes on. Sources: vhost-user "Front-end message types",
 * "Ring states".
 */

import type { MemoryRegion } from '../../src/native/addon.ts';
import { protocolFeatures, virtioFeatures } from '../../src/vhost-user/features.ts';
import type { RequestName } from '../../src/vhost-user/message.ts';
import { generousOffer as offer } from '../support/network.ts';

export type Verdict = 'accept' | 'refuse' | { readonly answer: bigint | Uint8Array };

type Part = 'desc' | 'avail' | 'used';

interface Ring {
  started: boolean;
  size: number | undefined;
  base: number | undefined;
  addresses: Readonly<Record<Part, bigint>> | undefined;
}

const refusedSize = (size: number) => size < 1 || size > 32768;
const isOdd = (size: number) => (size & (size - 1)) !== 0;

export class SessionModel {
  readonly rings: Ring[] = [0, 1].map(() => ({
    started: false,
    size: undefined,
    base: undefined,
    addresses: undefined,
  }));
  features: bigint | undefined;
  protocol = 0n;
  status = 0n;
  #packed = false;
  /** With how often each was added after the first time. */
  #memory: { readonly region: MemoryRegion; repeats: number }[] = [];

  #owned = false;
  #ofQemu = false;

  setOwner(): Verdict {
    this.#owned = true;
    return 'accept';
  }

  /**
   * A frontend that asks before it owns the session is QEMU, which has a configuration space
   * itself.
   */
  offerProtocol(): bigint {
    const { VHOST_USER_PROTOCOL_F_CONFIG } = protocolFeatures;
    this.#ofQemu ||= !this.#owned;
    return this.#ofQemu ? offer.protocol & ~VHOST_USER_PROTOCOL_F_CONFIG : offer.protocol;
  }

  has(name: keyof typeof protocolFeatures): boolean {
    return (this.protocol & protocolFeatures[name]) !== 0n;
  }

  get ringsMayBeEnabled(): boolean {
    const { VHOST_USER_F_PROTOCOL_FEATURES } = virtioFeatures;
    return ((this.features ?? offer.virtio) & VHOST_USER_F_PROTOCOL_FEATURES) !== 0n;
  }

  get agreedToPacked(): boolean {
    return ((this.features ?? 0n) & virtioFeatures.VIRTIO_F_RING_PACKED) !== 0n;
  }

  setFeatures(chosen: bigint): Verdict {
    if ((chosen & ~offer.virtio) !== 0n) return 'refuse';
    const features = chosen & ~virtioFeatures.VHOST_F_LOG_ALL;
    if (features === this.features) return 'accept';
    if (this.rings.some(({ started }) => started)) return 'refuse';
    this.features = features;
    this.#packed = this.agreedToPacked;
    return 'accept';
  }

  setProtocolFeatures(chosen: bigint): Verdict {
    const inband = protocolFeatures.VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS;
    const needed =
      protocolFeatures.VHOST_USER_PROTOCOL_F_BACKEND_REQ |
      protocolFeatures.VHOST_USER_PROTOCOL_F_REPLY_ACK;
    if ((chosen & ~offer.protocol) !== 0n) return 'refuse';
    if ((chosen & inband) !== 0n && (chosen & needed) !== needed) return 'refuse';
    this.protocol = chosen;
    return 'accept';
  }

  setStatus(status: bigint): Verdict {
    if (status > 0xffn) return 'refuse';
    if (status === 0n) return this.reset();
    this.status = this.features === undefined ? status & ~8n : status;
    return 'accept';
  }

  reset(): Verdict {
    for (const ring of this.rings) {
      Object.assign(ring, { started: false, size: undefined, addresses: undefined });
    }
    this.features = undefined;
    this.status = 0n;
    return 'accept';
  }

  setMemory(regions: readonly MemoryRegion[], fileBytes: bigint): Verdict {
    if (regions.length === 0) return 'refuse';
    const memory: MemoryRegion[] = [];
    for (const region of regions) {
      if (!fits(region, memory, fileBytes)) return 'refuse';
      memory.push(region);
    }
    this.#memory = memory.map((region) => ({ region, repeats: 0 }));
    return 'accept';
  }

  addMemory(region: MemoryRegion, fileBytes: bigint): Verdict {
    const known = this.#memory.find((entry) => entry.region === region);
    if (known !== undefined) {
      known.repeats++;
      return 'accept';
    }
    const others = this.#memory.map((entry) => entry.region);
    if (!fits(region, others, fileBytes)) return 'refuse';
    this.#memory.push({ region, repeats: 0 });
    return 'accept';
  }

  removeMemory(region: MemoryRegion): Verdict {
    const known = this.#memory.find((entry) => entry.region === region);
    if (known === undefined) return 'refuse';
    if (known.repeats-- === 0) this.#memory.splice(this.#memory.indexOf(known), 1);
    return 'accept';
  }

  setSize(queue: number, size: number): Verdict {
    const ring = this.rings[queue];
    if (ring === undefined || refusedSize(size)) return 'refuse';
    if (!this.#packed && isOdd(size)) return 'refuse';
    this.stop(queue);
    ring.size = size;
    return 'accept';
  }

  setBase(queue: number, base: number): Verdict {
    const ring = this.rings[queue];
    if (ring === undefined || !this.#baseFits(base, ring.size)) return 'refuse';
    this.stop(queue);
    ring.base = base;
    return 'accept';
  }

  setAddresses(queue: number, addresses: Ring['addresses'] & object): Verdict {
    const ring = this.rings[queue];
    const align = this.#packed ? 4n : 2n;
    if (ring === undefined || addresses.desc % 16n !== 0n || addresses.used % 4n !== 0n) {
      return 'refuse';
    }
    if (addresses.avail % align !== 0n) return 'refuse';
    if (ring.started && !this.#covers(addresses, ring.size!)) return 'refuse';
    ring.addresses = addresses;
    return 'accept';
  }

  start(queue: number): Verdict {
    const ring = this.rings[queue];
    if (ring === undefined || this.features === undefined) return 'refuse';
    const { size, addresses } = ring;
    if (size === undefined || addresses === undefined) return 'refuse';
    if (!this.#packed && isOdd(size)) return 'refuse';
    if (addresses.avail % (this.#packed ? 4n : 2n) !== 0n) return 'refuse';
    if (!this.#covers(addresses, size)) return 'refuse';
    const base = this.#baseOf(ring);
    if (!this.#baseFits(base, size)) return 'refuse';
    // Nothing is in flight: of a packed ring, the used half is the available half. A base of 0 is
    // that of a fresh ring, whose memory is zero here.
    const place = (base & 0xffff) === 0 ? 0x8000 : base & 0xffff;
    ring.base = this.#packed ? place * 0x10001 : base;
    ring.started = true;
    return 'accept';
  }

  stop(queue: number): { readonly base: number } | 'refuse' {
    const ring = this.rings[queue];
    if (ring === undefined) return 'refuse';
    const base = this.#baseOf(ring);
    if (ring.started) Object.assign(ring, { started: false, addresses: undefined });
    return { base };
  }

  /** Whether a ring that starts now would find an index in its zeroed memory that jumps. */
  wouldBreak(queue: number): boolean {
    const ring = this.rings[queue];
    return ring !== undefined && !this.#packed && this.#baseOf(ring) !== 0;
  }

  #baseOf({ base }: Ring): number {
    return base ?? (this.#packed ? 0x8000_8000 : 0);
  }

  #baseFits(base: number, size: number | undefined): boolean {
    if (!this.#packed) return base <= 0xffff;
    return size === undefined || (base & 0x7fff) < size;
  }

  #covers(addresses: Readonly<Record<Part, bigint>>, ringSize: number): boolean {
    const size = BigInt(ringSize);
    const lengths = this.#packed
      ? { desc: 16n * size, avail: 4n, used: 4n }
      : { desc: 16n * size, avail: 6n + 2n * size, used: 6n + 8n * size };
    return (['desc', 'avail', 'used'] as const).every((part) =>
      this.#memory.some(
        ({ region: { userAddress, sizeBytes } }) =>
          addresses[part] >= userAddress &&
          addresses[part] + lengths[part] <= userAddress + sizeBytes,
      ),
    );
  }
}

function fits(region: MemoryRegion, others: readonly MemoryRegion[], fileBytes: bigint): boolean {
  const { sizeBytes, mmapOffset } = region;
  const meets = (a: bigint, b: bigint, bBytes: bigint) => a < b + bBytes && b < a + sizeBytes;
  return (
    sizeBytes > 0n &&
    mmapOffset + sizeBytes <= fileBytes &&
    !others.some(
      (other) =>
        meets(region.guestAddress, other.guestAddress, other.sizeBytes) ||
        meets(region.userAddress, other.userAddress, other.sizeBytes),
    )
  );
}

/** Requests with a reply of their own, which are never acknowledged. */
export const answered: readonly RequestName[] = [
  'GET_FEATURES',
  'GET_PROTOCOL_FEATURES',
  'SET_LOG_BASE',
  'GET_VRING_BASE',
  'GET_QUEUE_NUM',
  'GET_INFLIGHT_FD',
  'GET_MAX_MEM_SLOTS',
  'GET_STATUS',
];
