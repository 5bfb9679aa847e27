/**
 * The configuration space of the device (struct virtio_net_config), for frontends that read it from
 * their backend, and which of the rings is the control queue of such a frontend's device.
 *
 * Without an address from the operator there is none here, and VIRTIO_NET_F_MAC is not offered:
 * drivers make up one of their own. An invented one that stays would be the same on every host with
 * such a port, and one that does not is nothing more than the driver's.
 *
 * Of the fields a driver writes only the address, and only as a legacy driver (virtio 1.2
 * §5.1.4.2); after a migration the frontend writes all of them, of which the address is the one
 * that is not known here.
 *
 * Sources: virtio 1.2 §5.1.2 (which queue), §5.1.4; vhost-user VHOST_USER_GET_CONFIG, _SET_CONFIG.
 * That Linux's driver takes one queue pair where the space says no number:
 * drivers/net/virtio_net.c.
 */

import type { ControlTurn } from '../native/addon.ts';
import { protocolFeatures, virtioFeatures } from './features.ts';
import type { ConfigSpan } from './message.ts';
import { declined, refusal } from './refusal.ts';

/** What the operator said of a device. */
export interface ConfigFacts {
  /** The addresses that the port is bound to, the guest's own first; any if there are none. */
  readonly macs: readonly number[];
  /** Unless the frontend says another (NET_SET_MTU). */
  readonly mtuBytes: number | undefined;
}

/** Up to and with supported_hash_types. */
export const configBytes = 24;

const macBytes = 6;
const statusLinkUp = 1;
const statusAnnounce = 2;
const unknownSpeed = 0xffff_ffff;
const unknownDuplex = 0xff;
/** What any Ethernet takes: VIRTIO_NET_F_MTU wants a number, and more than that has to be known. */
const defaultMtuBytes = 1500;
const mtuMin = 68n;
const mtuMax = 65535n;
export const migrationFlag = 1;
/**
 * A driver makes that many queue pairs, and uses one for each of its CPUs. Frontends with a space
 * of their own ask GET_QUEUE_NUM.
 */
const queuePairsMax = 8;

export class ConfigSpace {
  /** max_virtqueue_pairs. */
  readonly queuePairs: number;
  #facts: ConfigFacts;
  /** Something has changed that the driver does not know. */
  readonly #onChange: () => void;
  /**
   * What the driver has set, or a frontend brought along; bytes, since drivers write them one by
   * one.
   */
  #mac: Uint8Array | undefined;
  #mtuBytes: number | undefined;
  /** The driver is being asked to announce its guest (virtio 1.2 §5.1.6.5.4). */
  #announces = false;

  constructor(facts: ConfigFacts, queuePairs: number, onChange: () => void) {
    this.#facts = facts;
    this.queuePairs = Math.min(queuePairs, queuePairsMax);
    this.#onChange = onChange;
  }

  /** What a driver that reads it is told. */
  get mtuBytes(): number {
    return this.#mtuBytes ?? this.#facts.mtuBytes ?? defaultMtuBytes;
  }

  /** What the driver has set, or a frontend brought along. */
  get givenMac(): Uint8Array | undefined {
    return this.#mac;
  }

  /** NET_SET_MTU; throws Refusal for what no MTU can be. */
  setMtu(bytes: bigint): number {
    if (bytes < mtuMin || bytes > mtuMax) {
      throw refusal('mtu-beyond', { mtu: String(bytes), min: String(mtuMin), max: String(mtuMax) });
    }
    const before = this.mtuBytes;
    this.#mtuBytes = Number(bytes);
    if (before !== this.#mtuBytes) this.#onChange();
    return this.#mtuBytes;
  }

  /** Whether a driver that reads it is told another MTU than before. */
  configureMtu(bytes: number): boolean {
    const before = this.mtuBytes;
    this.#facts = { ...this.#facts, mtuBytes: bytes };
    if (before === this.mtuBytes) return false;
    this.#onChange();
    return true;
  }

  askToAnnounce(): void {
    if (this.#announces) return;
    this.#announces = true;
    this.#onChange();
  }

  /** What the driver has said on its control queue and the data plane has done. */
  controlled({ mac, announced }: ControlTurn): void {
    if (mac !== undefined) this.#mac = bytesOf(mac);
    if (announced) this.#announces = false;
  }

  /** Forgets what a driver said, and not what its frontend did. */
  reset(): void {
    this.#mac = undefined;
    this.#announces = false;
  }

  /** Throws Declined for what lies beyond the space. */
  read(span: ConfigSpan): Uint8Array {
    checkSpan(span);
    return this.#bytes.slice(span.offsetBytes, span.offsetBytes + span.sizeBytes);
  }

  /** Throws Declined for what lies beyond the space or is not to be written. */
  write(span: ConfigSpan, features: bigint): void {
    checkSpan(span);
    const { offsetBytes, sizeBytes, flags, bytes } = span;
    const end = offsetBytes + sizeBytes;
    if (flags !== migrationFlag) {
      if (flags !== 0) throw declined('config-flags', { flags });
      const isLegacy = (features & virtioFeatures.VIRTIO_F_VERSION_1) === 0n;
      if (!isLegacy || end > macBytes) {
        throw declined('config-read-only', { first: offsetBytes, last: end - 1 });
      }
    }
    if (offsetBytes >= macBytes) return;
    const mac = this.#bytes.slice(0, macBytes);
    mac.set(bytes.subarray(0, macBytes - offsetBytes), offsetBytes);
    // A driver that writes byte by byte passes through others; what it sends is checked in any
    // case.
    if (sizeBytes >= macBytes) this.#checkMac(mac);
    this.#mac = mac;
  }

  get #bytes(): Uint8Array {
    const bytes = new Uint8Array(configBytes);
    const fields = new DataView(bytes.buffer);
    const [own = 0] = this.#facts.macs;
    bytes.set(this.#mac ?? bytesOf(own));
    fields.setUint16(6, statusLinkUp | (this.#announces ? statusAnnounce : 0), true);
    fields.setUint16(8, this.queuePairs, true);
    fields.setUint16(10, this.mtuBytes, true);
    fields.setUint32(12, unknownSpeed, true);
    fields.setUint8(16, unknownDuplex);
    return bytes;
  }

  #checkMac(mac: Uint8Array): void {
    const { macs } = this.#facts;
    const text = [...mac].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
    if ((mac[0]! & 1) !== 0) throw declined('config-mac-of-no-card', { mac: text });
    if (macs.length === 0 || macs.some((allowed) => bytesOf(allowed).join() === mac.join())) return;
    throw declined('config-mac-not-bound', { mac: text });
  }
}

/**
 * How many queue pairs the device has whose control queue the frontend hands over, which is the
 * ring behind them all; undefined where it hands over none. One that speaks of several queue pairs
 * and does not read this space has its own, and so its own control queue: QEMU, DPDK's virtio-user
 * and Cloud Hypervisor.
 */
export function controlPairsOf(
  features: bigint,
  protocol: bigint,
  queuePairs: number,
): number | undefined {
  const { VIRTIO_NET_F_CTRL_VQ, VIRTIO_NET_F_MQ } = virtioFeatures;
  const { VHOST_USER_PROTOCOL_F_CONFIG, VHOST_USER_PROTOCOL_F_MQ } = protocolFeatures;
  if ((features & VIRTIO_NET_F_CTRL_VQ) === 0n) return undefined;
  const readsSpace = (protocol & VHOST_USER_PROTOCOL_F_CONFIG) !== 0n;
  if (!readsSpace && (protocol & VHOST_USER_PROTOCOL_F_MQ) !== 0n) return undefined;
  // A driver that finds no number, or did not agree on MQ, has one pair.
  return readsSpace && (features & VIRTIO_NET_F_MQ) !== 0n ? queuePairs : 1;
}

/** Throws Refusal for a MAC that is not the address of one machine. */
export function checkMachineMac(mac: number): void {
  const isGroup = Math.floor(mac / 2 ** 40) % 2 === 1;
  if (mac !== 0 && !isGroup) return;
  const digits = mac.toString(16).padStart(12, '0');
  throw refusal('mac-of-no-machine', { mac: digits });
}

function checkSpan({ offsetBytes, sizeBytes }: ConfigSpan): void {
  if (offsetBytes + sizeBytes <= configBytes) return;
  throw declined('config-beyond', { bytes: sizeBytes, offset: offsetBytes, configBytes });
}

/** First byte highest. */
function bytesOf(mac: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(mac), false);
  return bytes.slice(8 - macBytes);
}
