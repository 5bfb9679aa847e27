/**
 * What a TestGuest can be told, the checks of it, and what follows from it: features to ask for and
 * the size of memory. Pure.
 */

import { failure } from '../model/errors.ts';
import { protocolFeatures, virtioFeatures } from '../vhost-user/features.ts';
import { type MemoryKind, memoryKinds, pageBytesOf, roundUp } from './guest-memory.ts';
import { packedRingBytes } from './packed-ring.ts';
import type { BufferLayout } from './receive-queue.ts';
import { indirectEntriesMax } from './ring-driver.ts';
import { descriptorBytes, splitRingBytes } from './split-ring.ts';
import { type FrameLayout, transmitBlocksBytes } from './transmit-queue.ts';

/** A choice of feature bits, by mask or by name. */
export type FeatureChoice<Name extends string> = bigint | readonly Name[];

/** What a TestGuest can be told; only the path has to be. */
export interface TestGuestOptions {
  /** Socket of the backend. */
  readonly path: string;
  /**
   * Virtio features to accept where they are offered, as a mask or as names such as
   * `['VIRTIO_F_VERSION_1', 'VIRTIO_F_RING_PACKED']`. Unless given: a modern driver with split
   * rings, mergeable buffers, indirect tables and EVENT_IDX, without offloads; MQ with several
   * queue pairs.
   */
  readonly features?: FeatureChoice<keyof typeof virtioFeatures>;
  /**
   * Protocol features to accept where they are offered; unless given REPLY_ACK, MQ with several
   * queue pairs, CONFIGURE_MEM_SLOTS with several memory regions.
   */
  readonly protocolFeatures?: FeatureChoice<keyof typeof protocolFeatures>;
  /** Queue pairs, 1 to 128; 1 unless given. All are started and enabled. */
  readonly queuePairs?: number;
  /**
   * Whether the guest has a control queue and reads the backend's configuration space, as under
   * frontends that hand both over; false unless given. Then the features unless given are all that
   * go with it.
   */
  readonly controlQueue?: boolean;
  /** Size of every ring, a power of two unless packed, at most 32768; 256 unless given. */
  readonly queueSize?: number;
  /** What guest memory is made of; `memfd` unless given. */
  readonly memory?: MemoryKind;
  /** Bytes; unless given at least 8 MiB, and what the queues need. */
  readonly memorySizeBytes?: number;
  /**
   * Equal regions that memory is shared in; 1 unless given. More than 8 need CONFIGURE_MEM_SLOTS.
   */
  readonly memoryRegions?: number;
  /** How many of them are shared at the start, for plugMemory() of the others; all unless given. */
  readonly pluggedRegions?: number;
  /** Bytes of each receive buffer; 2048 unless given. GSO without MRG_RXBUF wants 65562. */
  readonly receiveBufferBytes?: number;
  /** How many receive buffers the guest keeps in each ring; as many as fit unless given. */
  readonly receiveBuffers?: number;
  /** How receive buffers are cut into descriptors; one for all of it unless given. */
  readonly receiveLayout?: BufferLayout;
  /** The limit of every wait that is not given one, in milliseconds; 5000 unless given. */
  readonly timeoutMs?: number;
}

/** How long something may take. */
export interface WaitOptions {
  /** The longest to wait, in milliseconds; the guest's own limit unless given. */
  readonly timeoutMs?: number;
}

/** How and by which queue pair a frame is sent. */
export interface SendOptions extends FrameLayout, WaitOptions {
  /** Number of the queue pair to send through; 0 unless given. */
  readonly queuePair?: number;
}

/** The options with what stands for those not given. */
export interface GuestSettings {
  readonly path: string;
  readonly features: bigint;
  readonly protocolFeatures: bigint;
  readonly queuePairs: number;
  readonly controlQueue: boolean;
  readonly queueSize: number;
  readonly memory: MemoryKind;
  readonly memorySizeBytes: number | undefined;
  readonly memoryRegions: number;
  readonly pluggedRegions: number;
  readonly receiveBufferBytes: number;
  readonly receiveBuffers: number | undefined;
  readonly receiveLayout: BufferLayout;
  readonly timeoutMs: number;
}

const queuePairsMax = 128;
const queueSizeMax = 32768;
const regionsMax = 509;
/** A frame of 64 KiB with every header is far below. */
const receiveBufferBytesMax = 1 << 20;
/** The longest a Node timer can wait. */
export const timeoutMsMax = 2 ** 31 - 1;
const memoryBytesMin = 8 << 20;
/** Lengths of a frame, from its addresses and EtherType to a packet of 64 KiB in it. */
const frameBytesMin = 14;
const frameBytesMax = 65550;
/** Left to who allocates buffers of their own. */
const spareBytes = 4 << 20;

/** Throws BAD_OPTION unless `value` is a whole number from `min` to `max`. */
export function checkWhole(name: string, value: number, min: number, max: number): void {
  if (!Number.isInteger(value) || value < min || value > max) {
    throw failure('number-beyond', { name, value, min, max });
  }
}

/** Throws BAD_OPTION for what a call without types may give. */
export function checkObject(name: string, value: unknown): void {
  if (typeof value !== 'object' || value === null)
    throw failure('option-no-object', { name, value: String(value) });
}

/** Throws BAD_OPTION unless a timer can wait that long. */
export function checkTimeout(name: string, timeoutMs: number): void {
  if (typeof timeoutMs !== 'number' || !(timeoutMs >= 0 && timeoutMs <= timeoutMsMax)) {
    throw failure('option-no-timeout', { name, value: timeoutMs, max: timeoutMsMax });
  }
}

/** Throws BAD_OPTION for whatever is no choice of features. */
function maskOf(
  name: string,
  choice: bigint | readonly string[],
  table: Readonly<Record<string, bigint>>,
): bigint {
  if (typeof choice === 'bigint') {
    if (choice === BigInt.asUintN(64, choice)) return choice;
    throw failure('features-too-wide', { name, value: choice });
  }
  if (!Array.isArray(choice)) throw failure('features-no-choice', { name });
  return choice.reduce((mask, feature) => {
    const bit = table[feature];
    if (bit === undefined) throw failure('feature-unknown', { name, feature });
    return mask | bit;
  }, 0n);
}

const controlFeatures =
  virtioFeatures.VIRTIO_NET_F_MAC |
  virtioFeatures.VIRTIO_NET_F_MTU |
  virtioFeatures.VIRTIO_NET_F_STATUS |
  virtioFeatures.VIRTIO_NET_F_CTRL_VQ |
  virtioFeatures.VIRTIO_NET_F_CTRL_RX |
  virtioFeatures.VIRTIO_NET_F_CTRL_RX_EXTRA |
  virtioFeatures.VIRTIO_NET_F_CTRL_VLAN |
  virtioFeatures.VIRTIO_NET_F_CTRL_MAC_ADDR |
  virtioFeatures.VIRTIO_NET_F_CTRL_GUEST_OFFLOADS |
  virtioFeatures.VIRTIO_NET_F_GUEST_ANNOUNCE;

function defaultFeatures(queuePairs: number, controlQueue: boolean): bigint {
  return (
    (controlQueue ? controlFeatures : 0n) |
    virtioFeatures.VIRTIO_F_VERSION_1 |
    virtioFeatures.VIRTIO_NET_F_MRG_RXBUF |
    virtioFeatures.VIRTIO_F_ANY_LAYOUT |
    virtioFeatures.VIRTIO_F_INDIRECT_DESC |
    virtioFeatures.VIRTIO_F_EVENT_IDX |
    (queuePairs > 1 ? virtioFeatures.VIRTIO_NET_F_MQ : 0n)
  );
}

function defaultProtocolFeatures(
  queuePairs: number,
  memoryRegions: number,
  controlQueue: boolean,
): bigint {
  return (
    (controlQueue ? protocolFeatures.VHOST_USER_PROTOCOL_F_CONFIG : 0n) |
    protocolFeatures.VHOST_USER_PROTOCOL_F_REPLY_ACK |
    (queuePairs > 1 ? protocolFeatures.VHOST_USER_PROTOCOL_F_MQ : 0n) |
    (memoryRegions > 1 ? protocolFeatures.VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS : 0n)
  );
}

/** Throws BAD_OPTION with what was given and what is possible. */
export function settingsOf(options: TestGuestOptions): GuestSettings {
  checkObject('options', options);
  const { path, queuePairs = 1, queueSize = 256, memoryRegions = 1 } = options;
  const { controlQueue = false } = options;
  const { memory = 'memfd', pluggedRegions = memoryRegions, timeoutMs = 5000 } = options;
  const {
    receiveBufferBytes = 2048,
    receiveBuffers,
    memorySizeBytes,
    receiveLayout = {},
  } = options;
  if (typeof path !== 'string') throw failure('guest-path', { path });
  checkWhole('queuePairs', queuePairs, 1, queuePairsMax);
  if (typeof controlQueue !== 'boolean') {
    throw failure('guest-control-queue', { value: controlQueue });
  }
  checkWhole('queueSize', queueSize, 1, queueSizeMax);
  checkWhole('memoryRegions', memoryRegions, 1, regionsMax);
  checkWhole('pluggedRegions', pluggedRegions, 1, memoryRegions);
  checkWhole('receiveBufferBytes', receiveBufferBytes, 1, receiveBufferBytesMax);
  if (receiveBuffers !== undefined) checkWhole('receiveBuffers', receiveBuffers, 0, queueSize);
  if (memorySizeBytes !== undefined) {
    checkWhole('memorySizeBytes', memorySizeBytes, 1, Number.MAX_SAFE_INTEGER);
  }
  checkObject('receiveLayout', receiveLayout);
  if (!memoryKinds.includes(memory)) {
    throw failure('guest-memory-kind', { value: memory, known: memoryKinds.join(', ') });
  }
  checkTimeout('timeoutMs', timeoutMs);
  const features = options.features ?? defaultFeatures(queuePairs, controlQueue);
  const protocol =
    options.protocolFeatures ?? defaultProtocolFeatures(queuePairs, memoryRegions, controlQueue);
  return {
    path,
    features: maskOf('features', features, virtioFeatures),
    protocolFeatures: maskOf('protocolFeatures', protocol, protocolFeatures),
    queuePairs,
    controlQueue,
    queueSize,
    memory,
    memorySizeBytes,
    memoryRegions,
    pluggedRegions,
    receiveBufferBytes,
    receiveBuffers,
    receiveLayout,
    timeoutMs,
  };
}

/** Bytes of guest memory for these settings: as told, or what the queues need and some to spare. */
export function memoryBytesOf(settings: GuestSettings, packed: boolean): number {
  const { queuePairs, queueSize, memoryRegions, pluggedRegions, memory } = settings;
  if (settings.memorySizeBytes !== undefined) return settings.memorySizeBytes;
  const ringBytes = packed ? packedRingBytes(queueSize) : splitRingBytes(queueSize);
  const tablesBytes = queueSize * indirectEntriesMax * descriptorBytes;
  const buffersBytes =
    (settings.receiveBuffers ?? queueSize) * roundUp(settings.receiveBufferBytes, 64);
  const pairBytes = 2 * (ringBytes + tablesBytes) + buffersBytes + transmitBlocksBytes(queueSize);
  // Everything the queues need has to lie in what is plugged at the start.
  const pluggedBytes = Math.max(memoryBytesMin, queuePairs * pairBytes + spareBytes);
  const regionBytes = roundUp(Math.ceil(pluggedBytes / pluggedRegions), pageBytesOf(memory));
  return regionBytes * memoryRegions;
}

/** Throws BAD_OPTION for no array, BAD_FRAME for what only raw.send() sends. */
export function checkFrames(frames: readonly Uint8Array[]): void {
  if (!Array.isArray(frames)) throw failure('frames-no-array', { value: String(frames) });
  for (const frame of frames) checkFrame(frame);
}

function checkFrame(frame: Uint8Array): void {
  if (!(frame instanceof Uint8Array)) {
    throw failure('test-frame-no-bytes', { type: typeof frame });
  }
  if (frame.length < frameBytesMin || frame.length > frameBytesMax) {
    throw failure('test-frame-size', {
      bytes: frame.length,
      min: frameBytesMin,
      max: frameBytesMax,
    });
  }
}

/** Throws BAD_OPTION for a size that a ring of the format that was agreed on cannot have. */
export function checkQueueSize(size: number, packed: boolean): void {
  if (packed || (size & (size - 1)) === 0) return;
  throw failure('guest-ring-size', { size });
}
