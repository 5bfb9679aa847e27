/**
 * What a guest says to its backend beyond its queues: how it finds one, again too, that both agree,
 * and which memory they share.
 *
 * Sources: vhost-user "Reconnecting to the front-end", "Memory access", "CONFIGURE_MEM_SLOTS".
 */

import { failure, type TsvswitchError } from '../model/errors.ts';
import { featureNames, protocolFeatures, virtioFeatures } from '../vhost-user/features.ts';
import { configHeadBytes, configSpanLayout, memoryTableRegionsMax } from '../vhost-user/message.ts';
import type { FrontendOptions, VhostUserFrontend } from './frontend.ts';
import type { GuestMemory } from './guest-memory.ts';

/** How a guest finds its backend; one that is to come has `waitMs` for it. */
export type Dial = (options: FrontendOptions, waitMs: number) => Promise<VhostUserFrontend>;

/** How long to rest between attempts to connect again. */
const restMs = 20;

/** Tries for `waitMs` while nobody is there, unless that is no longer wanted. */
export async function dialUntil(
  dial: Dial,
  { path, timeoutMs }: Required<FrontendOptions>,
  waitMs: number,
  isWanted: () => boolean,
): Promise<VhostUserFrontend> {
  const deadlineMs = performance.now() + waitMs;
  for (;;) {
    const leftMs = Math.max(0, Math.ceil(deadlineMs - performance.now()));
    try {
      return await dial({ path, timeoutMs }, leftMs);
    } catch (error) {
      const isAbsent = (error as TsvswitchError).code === 'SYSTEM';
      if (!isAbsent || leftMs === 0 || !isWanted()) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, Math.min(restMs, leftMs)));
  }
}

/** Throws REFUSED unless the backend agrees to all that the last one agreed to. */
export async function negotiateAgain(
  frontend: VhostUserFrontend,
  features: bigint,
  wantedProtocolFeatures: bigint,
): Promise<void> {
  const agreed = await frontend.negotiate(features, wantedProtocolFeatures);
  const missing = featureNames(features & ~agreed, virtioFeatures);
  if (missing.length > 0) {
    throw failure('features-taken-back', { features: missing.join(', ') });
  }
}

/** Throws REFUSED if the backend serves fewer queue pairs. */
export async function checkServed(frontend: VhostUserFrontend, queuePairs: number): Promise<void> {
  const served = await frontend.queuePairsMax();
  if (served >= queuePairs) return;
  throw failure('queue-pairs-unserved', { served, queuePairs });
}

/** A table has room for eight regions; with more, each is added by itself, as QEMU does. */
export async function shareMemory(frontend: VhostUserFrontend, memory: GuestMemory): Promise<void> {
  const { regions } = memory;
  if (regions.length <= memoryTableRegionsMax || !hasMemorySlots(frontend)) {
    await frontend.setMemory(regions);
  } else for (const region of regions) await frontend.addMemoryRegion(region);
}

/** Shares region `index` or takes it back. Throws BAD_OPTION if that is so already. */
export async function setPlugged(
  frontend: VhostUserFrontend,
  memory: GuestMemory,
  index: number,
  plugged: boolean,
): Promise<void> {
  const region = memory.region(index);
  if (memory.isPlugged(index) === plugged) {
    const state = plugged ? 'plugged already' : 'not plugged';
    throw failure('memory-region-state', { index, state });
  }
  memory.setPlugged(index, plugged);
  try {
    if (!hasMemorySlots(frontend)) await frontend.setMemory(memory.regions);
    else if (plugged) await frontend.addMemoryRegion(region);
    else await frontend.removeMemoryRegion(region);
  } catch (error) {
    memory.setPlugged(index, !plugged);
    throw error;
  }
}

/** Of the configuration space, what a driver looks at. */
export interface GuestConfig {
  /** Such as `52:54:00:00:00:01`. */
  readonly mac: string;
  readonly linkUp: boolean;
  /** The device asks the guest to announce itself. */
  readonly announce: boolean;
  readonly queuePairsMax: number;
  readonly mtu: number;
}

const configBytes = 24;

/** GET_CONFIG. Throws REFUSED if the backend has no configuration space. */
export async function readConfig(frontend: VhostUserFrontend): Promise<GuestConfig> {
  if (!frontend.speaks(protocolFeatures.VHOST_USER_PROTOCOL_F_CONFIG)) {
    throw failure('config-not-agreed');
  }
  const asked = {
    offsetBytes: 0,
    sizeBytes: configBytes,
    flags: 0,
    bytes: new Uint8Array(configBytes),
    wireBytes: configHeadBytes + configBytes,
  };
  const answer = await frontend.ask('GET_CONFIG', configSpanLayout, asked, configSpanLayout);
  const fields = new DataView(answer.bytes.buffer, answer.bytes.byteOffset);
  const status = fields.getUint16(6, true);
  const mac = Buffer.from(answer.bytes.subarray(0, 6)).toString('hex');
  return {
    mac: mac.match(/../g)!.join(':'),
    linkUp: (status & 1) !== 0,
    announce: (status & 2) !== 0,
    queuePairsMax: fields.getUint16(8, true),
    mtu: fields.getUint16(10, true),
  };
}

/** The number of the control queue: behind all queue pairs, of which there is one without MQ. */
export async function controlQueueOf(
  frontend: VhostUserFrontend,
  features: bigint,
): Promise<number> {
  if ((features & virtioFeatures.VIRTIO_NET_F_CTRL_VQ) === 0n) {
    throw failure('control-queue-not-agreed');
  }
  const counts =
    (features & virtioFeatures.VIRTIO_NET_F_MQ) !== 0n &&
    frontend.speaks(protocolFeatures.VHOST_USER_PROTOCOL_F_CONFIG);
  return counts ? 2 * (await readConfig(frontend)).queuePairsMax : 2;
}

function hasMemorySlots(frontend: VhostUserFrontend): boolean {
  return frontend.speaks(protocolFeatures.VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS);
}
