/**
 * The public entry 'tsvswitch/testing': guests without machines, for tests of anything vhost-user.
 *
 * @module tsvswitch/testing
 */

export {
  type FeatureTable,
  featureNames,
  type ProtocolFeatureName,
  protocolFeatures,
  type VirtioFeatureName,
  virtioFeatures,
} from '../vhost-user/features.ts';
export { type Message, type RequestName, requestNumbers } from '../vhost-user/message.ts';
export { DriverQueue, type DriverQueueOptions, type UsedChain } from './driver-queue.ts';
export { build, type FrameFields } from './frames/build.ts';
export { describe } from './frames/describe.ts';
export { assertFrame, type ExpectOptions, expectFrame, type FrameSource } from './frames/expect.ts';
export type {
  ArpLayer,
  EthernetLayer,
  FrameLayers,
  Icmp6Layer,
  IcmpLayer,
  Ip4Layer,
  Ip6Layer,
  LayerName,
  TcpLayer,
  UdpLayer,
  VlanLayer,
} from './frames/layers.ts';
export type { FieldPattern, FrameMatcher, FramePattern, LayerPattern } from './frames/match.ts';
export { type ParsedFrame, parse } from './frames/parse.ts';
export {
  type ArpFields,
  arp,
  type Icmp6Fields,
  type IcmpFields,
  icmp4,
  icmp6,
  type TcpFields,
  tcp4,
  tcp6,
  type UdpFields,
  udp4,
  udp6,
} from './frames/shorthands.ts';
export { type FrontendOptions, VhostUserFrontend } from './frontend.ts';
export { type SendOptions, TestGuest, type WaitOptions } from './guest.ts';
export { GuestMemory, type GuestMemoryOptions, type MemoryKind } from './guest-memory.ts';
export type { FeatureChoice, TestGuestOptions } from './guest-options.ts';
export * from './net-header.ts';
export {
  type EventSuppression,
  type PackedDescriptor,
  PackedRing,
  RING_EVENT_FLAGS_DESC,
  RING_EVENT_FLAGS_DISABLE,
  RING_EVENT_FLAGS_ENABLE,
  VIRTQ_DESC_F_AVAIL,
  VIRTQ_DESC_F_USED,
} from './packed-ring.ts';
export type { QueuePair, QueuePairOptions } from './queue-pair.ts';
export type { RawGuest, RawMessage } from './raw.ts';
export { type BufferLayout, ReceiveQueue, type ReceiveQueueOptions } from './receive-queue.ts';
export type { ReceivedPacket } from './received-packet.ts';
export type { Piece } from './ring-driver.ts';
export {
  type Descriptor,
  SplitRing,
  type UsedElement,
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_USED_F_NO_NOTIFY,
  writeDescriptorAt,
} from './split-ring.ts';
export { type FrameLayout, TransmitQueue, type TransmitQueueOptions } from './transmit-queue.ts';
