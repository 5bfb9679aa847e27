/**
 * A switch that a file declares: reads the file again and has the switch changed to what it says.
 *
 * All of the file is checked before anything is changed, and a reload is one apply(): what did not
 * change is not touched. One reload at a time; one that comes meanwhile is refused.
 */

import { resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { Switch } from '../index.ts';
import type { Change } from '../model/difference.ts';
import { TsvswitchError } from '../model/errors.ts';
import type { SwitchSettings } from '../model/settings.ts';
import { readConfig } from './config-file.ts';
import type { ServiceConfig, ServiceSettings } from './settings.ts';

/** What a reload has done, or would do. */
export interface Reload {
  readonly changes: readonly Change[];
  /** Keys of the process that differ, and that are only read at the start. */
  readonly restart: readonly string[];
}

/** What was said beside the file, and holds in place of what it says. */
export type Overrides = Partial<Pick<ServiceSettings, 'control'>>;

export class Declared {
  /** Absolute. */
  readonly file: string;
  /** What the process was started with. */
  readonly service: ServiceSettings;
  readonly #overrides: Overrides;
  #read: ServiceConfig;
  #isReloading = false;

  private constructor(file: string, config: ServiceConfig, overrides: Overrides) {
    this.file = file;
    this.service = { ...config.service, ...overrides };
    this.#overrides = overrides;
    this.#read = config;
  }

  /** Complaints name the file as it is given here. Throws CONFIG_UNREADABLE, CONFIG_INVALID. */
  static async read(file: string, overrides: Overrides = {}): Promise<Declared> {
    return new Declared(resolve(file), await readConfig(file), overrides);
  }

  /** What the file said when it was read last. */
  get settings(): SwitchSettings {
    return structuredClone(this.#read.settings);
  }

  /** As much as is logged may be changed at any time. */
  get logLevel(): ServiceSettings['log']['level'] {
    return this.#read.service.log.level;
  }

  /**
   * Throws RELOAD_BUSY, CONFIG_UNREADABLE, CONFIG_INVALID, and what Switch.apply throws; then
   * nothing was changed.
   */
  async reload(vswitch: Switch, { dryRun = false } = {}): Promise<Reload> {
    if (this.#isReloading) {
      const sentence = `${this.file} is being read again already; ask again when that is done`;
      throw new TsvswitchError('RELOAD_BUSY', sentence);
    }
    this.#isReloading = true;
    try {
      const config = await readConfig(this.file);
      const { settings } = config;
      const changes = dryRun ? vswitch.plan(settings) : vswitch.apply(settings);
      if (!dryRun) this.#read = config;
      return { changes, restart: this.#needingRestart(config.service) };
    } finally {
      this.#isReloading = false;
    }
  }

  #needingRestart(wanted: ServiceSettings): string[] {
    const present = this.service;
    const { control, metrics, sandbox, log } = { ...wanted, ...this.#overrides };
    const pairs: Readonly<Record<string, readonly [unknown, unknown]>> = {
      control: [present.control, control],
      metrics: [present.metrics, metrics],
      sandbox: [present.sandbox, sandbox],
      'log.format': [present.log.format, log.format],
    };
    return Object.keys(pairs).filter((key) => !isDeepStrictEqual(...pairs[key]!));
  }
}
