/**
 * A switch that a file declares: what the file says, what was changed over it at run time, and how
 * a switch comes to follow both.
 *
 *     file ──► settings ──► with what was changed at run time ──► one apply()
 *     state folder ◄────────┘ kept after every change
 *
 * All is checked before anything is changed, so that a reload that throws has changed nothing. One
 * reload at a time; one that comes meanwhile is refused. What is kept serves the next process:
 * nothing that forwards depends on it, and who cannot keep it says so and goes on.
 */

import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { Reload, ReloadOptions } from '../control/index.ts';
import type { Switch } from '../index.ts';
import { checkSettings } from '../model/check.ts';
import { failure, TsvswitchError } from '../model/errors.ts';
import type { SwitchSettings } from '../model/settings.ts';
import { SettingsError } from '../model/settings-error.ts';
import { readConfig } from './config-file.ts';
import {
  changesBetween,
  isUnchanged,
  type RuntimeChanges,
  readChanges,
  withChanges,
} from './runtime-changes.ts';
import type { ServiceConfig, ServiceSettings } from './settings.ts';
import { type StateDocument, StateFolder } from './state/state-folder.ts';

/** What was said beside the file, and holds in place of what it says. */
export type Overrides = Partial<Pick<ServiceSettings, 'control'>>;

export interface ReadOptions {
  readonly overrides?: Overrides;
  /** Where changes are kept; nowhere unless given. Made when there is something to keep. */
  readonly stateFolder?: string;
}

const kept: StateDocument<RuntimeChanges> = {
  name: 'settings',
  version: 1,
  read: (value) => readChanges(value),
};

const nothing: RuntimeChanges = { values: {}, ports: {}, bridges: {}, fdb: {}, links: {} };

export class Declared {
  /** Absolute. */
  readonly file: string;
  /** What the process was started with. */
  readonly service: ServiceSettings;
  readonly #options: ReadOptions;
  #read: ServiceConfig;
  #isReloading = false;
  #state: StateFolder | undefined;
  /** As kept. */
  #kept: RuntimeChanges = nothing;
  readonly #troubles: string[] = [];

  private constructor(file: string, config: ServiceConfig, options: ReadOptions) {
    this.file = file;
    this.service = { ...config.service, ...options.overrides };
    this.#options = options;
    this.#read = config;
    const { stateFolder } = options;
    if (stateFolder !== undefined && existsSync(stateFolder)) this.#recall(stateFolder);
  }

  /** Complaints name the file as it is given here. Throws CONFIG_UNREADABLE, CONFIG_INVALID. */
  static async read(file: string, options: ReadOptions = {}): Promise<Declared> {
    return new Declared(resolve(file), await readConfig(file), options);
  }

  /** What the file said when it was read last. */
  get settings(): SwitchSettings {
    return structuredClone(this.#read.settings);
  }

  /**
   * Makes a switch as the file says, with what was changed in an earlier run if that can be had.
   * Throws what Switch.apply throws.
   */
  open(vswitch: Switch): void {
    if (isUnchanged(this.#kept)) {
      vswitch.applyComplete(this.settings);
      return;
    }
    try {
      vswitch.applyComplete(this.#wanted(this.settings, this.#kept));
    } catch (error) {
      vswitch.applyComplete(this.settings);
      const sentence = `what was changed at run time is not in force: ${(error as Error).message}`;
      this.#troubles.push(sentence);
    }
  }

  /** Another process has read this, and the switch goes on as it was there. */
  goOn(settings: SwitchSettings): void {
    this.#read = { ...this.#read, settings };
  }

  /** As much as is logged may be changed at any time. */
  get logLevel(): ServiceSettings['log']['level'] {
    return this.#read.service.log.level;
  }

  /** What of an earlier run is not as it was left, in sentences; each is told once. */
  takeTroubles(): string[] {
    return this.#troubles.splice(0);
  }

  /**
   * Throws RELOAD_BUSY, CONFIG_UNREADABLE, CONFIG_INVALID, and what Switch.apply throws; then
   * nothing was changed.
   */
  async reload(
    vswitch: Switch,
    { dryRun = false, discard = false }: ReloadOptions = {},
  ): Promise<Reload> {
    if (this.#isReloading) throw failure('reload-busy', { file: this.file });
    this.#isReloading = true;
    try {
      const config = await readConfig(this.file);
      const changed = discard ? nothing : changesBetween(this.#read.settings, vswitch.settings);
      const wanted = this.#wanted(config.settings, changed);
      const changes = dryRun ? vswitch.plan(wanted) : vswitch.apply(wanted);
      if (!dryRun) this.#read = config;
      return { changes, restart: this.#needingRestart(config.service) };
    } finally {
      this.#isReloading = false;
    }
  }

  /**
   * Keeps what was changed at run time, if that is something else than what is kept; returns
   * whether it was. Throws STATE_UNUSABLE, STATE_FULL, STATE_LATER; what was kept before stays.
   */
  keep(vswitch: Switch): boolean {
    const { stateFolder } = this.#options;
    if (stateFolder === undefined) return false;
    const changes = changesBetween(this.#read.settings, vswitch.settings);
    if (isDeepStrictEqual(changes, this.#kept)) return false;
    this.#state ??= StateFolder.open(stateFolder);
    this.#state.write(kept, changes);
    this.#kept = structuredClone(changes);
    return true;
  }

  #wanted(settings: SwitchSettings, changed: RuntimeChanges): SwitchSettings {
    if (isUnchanged(changed)) return settings;
    const checked = checkSettings(withChanges(settings, changed));
    if ('settings' in checked) return checked.settings;
    const why = new SettingsError(checked.findings).message;
    throw failure('config-changes-misfit', { file: this.file, why });
  }

  #recall(stateFolder: string): void {
    try {
      this.#state = StateFolder.open(stateFolder);
      this.#kept = this.#state.read(kept) ?? nothing;
    } catch (error) {
      if (!(error instanceof TsvswitchError)) throw error;
      this.#troubles.push(`${error.message}; what was changed at run time is not in force`);
    }
  }

  #needingRestart(wanted: ServiceSettings): string[] {
    const present = this.service;
    const { control, listen, metrics, sandbox, log } = { ...wanted, ...this.#options.overrides };
    const pairs: Readonly<Record<string, readonly [unknown, unknown]>> = {
      control: [present.control, control],
      listen: [present.listen, listen],
      metrics: [present.metrics, metrics],
      sandbox: [present.sandbox, sandbox],
      'log.format': [present.log.format, log.format],
    };
    return Object.keys(pairs).filter((key) => !isDeepStrictEqual(...pairs[key]!));
  }
}
