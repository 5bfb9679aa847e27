/**
 * What the file of a service says: all of a switch's settings, and what the process around it needs
 * to know before it opens one. Types only; settings-schema.ts describes the same, and a test holds
 * the two together.
 */

import type { LogLevel } from '../model/log-levels.ts';
import type { SwitchSettings } from '../model/settings.ts';

export const logFormats = ['text', 'json'] as const;

/** Where requests are taken, and from whom. */
export interface ControlSettings {
  path: string;
  /** Permissions of the file, three octal digits. */
  mode?: string;
  /** Who is in this group may do everything. */
  group?: string | number;
  /** Who is in this group may only look. */
  readers?: string | number;
}

/** Where requests are taken over TCP, and from whom. */
export interface ListenSettings {
  /** Such as `127.0.0.1:9443`, `[::1]:9443` or `:9443`. */
  address: string;
  /** Files, in PEM; may be left out on loopback. */
  certificate?: string;
  key?: string;
  /** The file of the token, made if it is not there; in the state folder unless given. */
  token?: string;
  /** The file of a token that may only look. */
  readToken?: string;
}

/** Read at the start; a reload that changes one of these says so and leaves it. */
export interface ServiceSettings {
  /** Where requests are taken; nowhere unless given. */
  control?: string | ControlSettings;
  /** Where requests are taken over TCP; nowhere unless given. */
  listen?: string | ListenSettings;
  /** Where metrics are served over TCP; nowhere unless given. */
  metrics?: string;
  log: { level: LogLevel; format: (typeof logFormats)[number] };
  /** Leaves the process the system calls that it needs, and no others. */
  sandbox: boolean;
}

/** All of a file, complete. */
export interface ServiceConfig {
  readonly service: ServiceSettings;
  readonly settings: SwitchSettings;
}
