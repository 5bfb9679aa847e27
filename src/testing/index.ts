/** The public entry 'tsvswitch/testing': guests without machines, for tests of anything vhost-user. */

export {
  DriverQueue,
  type DriverQueueOptions,
  type Piece,
  type UsedChain,
} from './driver-queue.ts';
export { type FrontendOptions, VhostUserFrontend } from './frontend.ts';
export { TestGuest, type TestGuestOptions, type WaitOptions } from './guest.ts';
export { GuestMemory, type GuestMemoryOptions, type MemoryKind } from './guest-memory.ts';
export { ReceiveQueue, type ReceiveQueueOptions } from './receive-queue.ts';
export { type Descriptor, SplitRing, type UsedElement } from './split-ring.ts';
export { type FrameLayout, TransmitQueue, type TransmitQueueOptions } from './transmit-queue.ts';
