/**
 * What the file of a service says: all of a switch's settings, and what the process around it needs
 * to know before it opens one. Types only; settings-schema.ts describes the same, and a test holds
 * the two together.
 */

import type { SwitchSettings } from '../model/settings.ts';

export const logLevels = ['error', 'warn', 'info', 'debug'] as const;
export const logFormats = ['text', 'json'] as const;

/** Where requests are taken, and from whom. */
export interface ControlSettings {
  path: string;
  /** Permissions of the file, three octal digits. */
  mode?: string;
  /** Group of the file, which may do everything. */
  group?: string | number;
  /** In place of it: group of the file, which may only look. */
  readers?: string | number;
}

/** Read at the start; a reload that changes one of these says so and leaves it. */
export interface ServiceSettings {
  /** Where requests are taken; nowhere unless given. */
  control?: string | ControlSettings;
  /** Where metrics are served over TCP; nowhere unless given. */
  metrics?: string;
  log: { level: (typeof logLevels)[number]; format: (typeof logFormats)[number] };
  /** Leaves the process the system calls that it needs, and no others. */
  sandbox: boolean;
}

/** All of a file, complete. */
export interface ServiceConfig {
  readonly service: ServiceSettings;
  readonly settings: SwitchSettings;
}
