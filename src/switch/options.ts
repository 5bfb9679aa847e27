/**
 * The options of Switch.open() and Switch.addPort(). Types only; switch.ts checks them.
 */

import type { WrittenSettings } from '../model/settings.ts';
import type { SourceOptions } from '../policy/sources.ts';
import type { DgramSocket } from '../port/dgram/dgram-port.ts';
import type { PortSocket } from '../port/vhost-user/port-socket.ts';

/** How a switch is opened: its settings, and what cannot be changed any more. */
export interface SwitchOptions extends WrittenSettings {
  /** Polling threads to begin with; 1 unless given. */
  readonly workers?: number;
  /** CPU of each worker in turn; fewer than workers leaves the rest to the scheduler. */
  readonly cpus?: readonly number[];
  /**
   * How long a worker polls without work before it sleeps, in microseconds; 50 unless given. After
   * much work it is up to 20 times as long.
   */
  readonly idleUs?: number;
  /** Moves transmitqs between workers while their load is uneven; off unless given. */
  readonly balance?: boolean;
  /** How long a silent address is remembered, in seconds; 300 unless given, 0 for ever. */
  readonly ageingSeconds?: number;
  /** `manual`: no threads, and time stands still but for step() and advance(). */
  readonly clock?: 'machine' | 'manual';
  /**
   * What impairments draw from, and the identification of fragments; an integer, drawn unless
   * given.
   */
  readonly seed?: number;
  /** Leaves the workers only the system calls that moving frames takes; off unless given. */
  readonly sandbox?: boolean;
}

/** What every port may be given. */
export interface PlaceOptions {
  /** Unique on the switch. */
  readonly name?: string;
  /** Name of the bridge to be on, made if it is not there; `default` unless given. */
  readonly bridge?: string;
  /** What the guest may send from; anything unless given. */
  readonly source?: SourceOptions;
}

/**
 * A port of a machine listens for its frontend on the unix socket `path`, with the permissions
 * given, or connects to the one that listens on the unix socket `connect`. A path has at most 107
 * bytes. Its name is the socket's file name without `.sock` unless given.
 */
export type PortOptions = PortSocket & PlaceOptions & { readonly kind?: 'vhost-user' };

/** A port of this process, by its name. */
export type ProcessPortOptions = Omit<PlaceOptions, 'name'> &
  (
    | { readonly kind: 'process'; readonly name: string; readonly process?: undefined }
    | { readonly process: string; readonly kind?: undefined }
  );

/**
 * The same as ProcessPortOptions, in the older spelling.
 *
 * @deprecated Write `process` for `host`.
 */
export interface HostPortOptions extends Omit<PlaceOptions, 'name'> {
  readonly kind?: undefined;
  readonly host: string;
}

/**
 * A port of a machine that shares no memory: QEMU's `-netdev dgram`, or any program. With `kind`,
 * the port's own socket is `path`; without it is `dgram`.
 */
export type DgramPortOptions = PlaceOptions &
  (
    | (Omit<DgramSocket, 'dgram'> & { readonly kind: 'dgram'; readonly path: string })
    | (DgramSocket & { readonly kind?: undefined })
  );

/** A port of any kind. */
export type AnyPortOptions = PortOptions | ProcessPortOptions | HostPortOptions | DgramPortOptions;
