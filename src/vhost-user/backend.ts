/**
 * What a session asks of the device behind it, as an interface: this folder knows no addon.
 *
 * The port (port/vhost-user.ts) implements it on the data plane; tests implement it as a recorder.
 * Every fd handed over belongs to the backend from the call on, even if the call throws.
 */

import type { MappedRegion, MemoryRegion, QueueStart, RingAddresses } from '../native.ts';

export interface Backend {
  setMemory(regions: readonly MappedRegion[]): void;
  addMemoryRegion(region: MappedRegion): void;
  removeMemoryRegion(region: MemoryRegion): void;
  setFeatures(features: bigint): void;
  startQueue(queue: number, start: QueueStart): void;
  moveQueue(queue: number, rings: RingAddresses): void;
  stopQueue(queue: number): number;
  enableQueue(queue: number, enabled: boolean): void;
  setCall(queue: number, fd: number): void;
  setErr(queue: number, fd: number): void;
}

/** The byte stream to the frontend, with fd passing; implemented by fd-socket.ts. */
export interface Channel {
  /** Sends the whole message or throws. */
  send(bytes: Uint8Array): void;
  closeFd(fd: number): void;
}
