/**
 * The public API of tsvswitch, a switch in this process: re-exports only.
 *
 * @module tsvswitch
 */

export { Bridge, type FdbRecord } from './bridge.ts';
export type { Capture, CaptureOptions } from './capture/capture.ts';
export { type CaptureDirection, type CapturedPacket, decodeCapture } from './capture/pcapng.ts';
export type { CaptureTarget, ReplayOptions } from './capture/recordings.ts';
export type { Replay, ReplayTiming } from './capture/replay.ts';
export { type ErrorCode, errorCodes, TsvswitchError } from './errors.ts';
export type { EventStreamOptions, EventsLost, OperatorEvent, SwitchEvent } from './events.ts';
export type { ListenOptions } from './fd-socket.ts';
export type { BurstLoss, Impairment, Rate, Reorder } from './impairment/impairment.ts';
export type {
  Link,
  NamedLink,
  NetworkChange,
  NetworkEvent,
  PortName,
} from './impairment/network-change.ts';
export type { Schedule, ScheduleStep } from './impairment/schedule.ts';
export type { Peer } from './port/allow.ts';
export type { DgramPort, DgramSocket } from './port/dgram.ts';
export type { HostPort, HostWaitOptions } from './port/host.ts';
export type { DirectionCounters, Port, PortCounters, PortEvent } from './port/port.ts';
export type { SourceOptions } from './port/sources.ts';
export type {
  FrontendStatus,
  MemoryStatus,
  RingStatus,
  VhostUserPortStatus,
} from './port/status.ts';
export type { PortSocket, VhostUserPort } from './port/vhost-user.ts';
export { Switch, type SwitchPort } from './switch.ts';
export type {
  DgramPortOptions,
  HostPortOptions,
  PortOptions,
  SwitchOptions,
} from './switch-options.ts';
export type { DeviceEvent } from './vhost-user/device.ts';
export type { CloseReason } from './vhost-user/session.ts';
export type { WorkerOptions, WorkerStatus } from './workers.ts';
