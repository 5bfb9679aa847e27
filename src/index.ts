/**
 * The public API of tsvswitch, a switch in this process: re-exports only.
 *
 * @module tsvswitch
 */

export type { Capture, CaptureOptions } from './capture/capture.ts';
export { type CaptureDirection, type CapturedPacket, decodeCapture } from './capture/pcapng.ts';
export type { CaptureTarget, ReplayOptions } from './capture/recordings.ts';
export type { Replay, ReplayTiming } from './capture/replay.ts';
export type { Change, Disturbance, WorkerSettings } from './model/difference.ts';
export { type ErrorCode, errorCodes, TsvswitchError } from './model/errors.ts';
export type { Finding } from './model/findings.ts';
export type {
  BridgeSettings,
  DgramSettings,
  FixedAddress,
  ImpairmentSettings,
  LinkSettings,
  PortKindName,
  PortSettings,
  ProcessSettings,
  SourceSettings,
  SwitchSettings,
  VhostUserSettings,
  Written,
  WrittenSettings,
} from './model/settings.ts';
export { SettingsError } from './model/settings-error.ts';
export type { ListenOptions } from './native/fd-socket.ts';
export type { BurstLoss, Impairment, Rate, Reorder } from './policy/impairment/impairment.ts';
export type {
  Link,
  NamedLink,
  NetworkChange,
  NetworkEvent,
  PortName,
} from './policy/impairment/links.ts';
export type { Schedule, ScheduleStep } from './policy/impairment/schedule.ts';
export type { SourceOptions } from './policy/sources.ts';
export type { DgramPort, DgramSocket } from './port/dgram/dgram-port.ts';
export type { SwitchPort } from './port/kinds.ts';
export type { DirectionCounters, Port, PortCounters, PortEvent } from './port/port.ts';
export type {
  /** @deprecated The older name of PortWaitOptions. */
  PortWaitOptions as HostWaitOptions,
  PortWaitOptions,
  /** @deprecated The older name of ProcessPort. */
  ProcessPort as HostPort,
  ProcessPort,
} from './port/process/process-port.ts';
export type { Peer } from './port/vhost-user/allow.ts';
export type { PortSocket } from './port/vhost-user/port-socket.ts';
export type {
  FrontendStatus,
  MemoryStatus,
  RingStatus,
  VhostUserPortStatus,
} from './port/vhost-user/status.ts';
export type { VhostUserPort } from './port/vhost-user/vhost-user-port.ts';
export { Bridge, type FdbRecord } from './switch/bridge.ts';
export type {
  EventStreamOptions,
  EventsLost,
  OperatorEvent,
  SwitchEvent,
} from './switch/events.ts';
export type { Flow } from './switch/flows.ts';
export type {
  DgramPortOptions,
  HostPortOptions,
  PortOptions,
  ProcessPortOptions,
  SwitchOptions,
} from './switch/options.ts';
export { Switch } from './switch/switch.ts';
export type { WorkerCounters, WorkerOptions, WorkerStatus } from './switch/workers.ts';
export type { DeviceEvent } from './vhost-user/device-event.ts';
export type { CloseReason } from './vhost-user/session.ts';
