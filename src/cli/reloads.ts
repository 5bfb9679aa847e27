/**
 * Reloads of the file of a switch, as its log and its service manager hear of them.
 *
 * A signal that comes while a reload is being made has the file read once more afterwards, however
 * many came.
 */

import type { DeclaredSwitch, Reload, ReloadOptions } from '../control/index.ts';
import type { Switch, SwitchSettings } from '../index.ts';
import { inOneLine, TsvswitchError } from '../model/errors.ts';
import { SettingsError } from '../model/settings-error.ts';
import type { Declared } from '../operate/declared.ts';
import { Keeper } from '../operate/keeper.ts';
import type { Service, ServiceState } from '../operate/service/service.ts';
import type { EventLog } from './words/event-log.ts';
import { restartText } from './words/plan-text.ts';

export interface ReloadParts {
  readonly vswitch: Switch;
  readonly log: EventLog;
  readonly service: Service;
  readonly state: ServiceState;
  /** With every reload. */
  readonly onReload: () => void;
}

export class Reloads implements DeclaredSwitch {
  readonly #declared: Declared;
  readonly #parts: ReloadParts;
  #keeper: Keeper | undefined;
  #signals: 'none' | 'being served' | 'one more' = 'none';

  constructor(declared: Declared, parts: ReloadParts) {
    this.#declared = declared;
    this.#parts = parts;
  }

  /** Once the switch is as it is to be. */
  begin(): void {
    const { vswitch, log } = this.#parts;
    const onTrouble = (sentence: string) => log.line('warn', 'state', sentence);
    for (const trouble of this.#declared.takeTroubles()) onTrouble(trouble);
    this.#keeper = new Keeper(this.#declared, vswitch, onTrouble);
  }

  /** Before the switch is closed. */
  close(): void {
    this.#keeper?.close();
  }

  get file(): string {
    return this.#declared.file;
  }

  get settings(): SwitchSettings {
    return this.#declared.settings;
  }

  onSignal(): void {
    if (this.#signals === 'none') void this.#serveSignals();
    else this.#signals = 'one more';
  }

  /** Throws what Declared.reload throws; then nothing was changed. */
  async reload(options: ReloadOptions = {}): Promise<Reload> {
    if (options.dryRun) {
      const told = this.#declared.reload(this.#parts.vswitch, options);
      return told.catch((error: unknown) => Promise.reject(answered(error)));
    }
    const { vswitch, log, service, state } = this.#parts;
    service.reloading();
    try {
      const done = await this.#declared.reload(vswitch, options);
      log.level = this.#declared.logLevel;
      this.#keeper?.keep();
      this.#parts.onReload();
      const count = done.changes.length;
      const changes = count === 1 ? '1 change' : `${count} changes`;
      log.line('info', 'reloaded', `${this.#declared.file} was read again: ${changes}`, done);
      if (done.restart.length > 0) log.line('warn', 'reloaded', restartText(done.restart));
      return done;
    } catch (error) {
      this.#logFailure(error);
      throw answered(error);
    } finally {
      service.ready(state);
      for (const trouble of service.takeTroubles()) log.line('warn', 'service', trouble);
    }
  }

  async #serveSignals(): Promise<void> {
    do {
      this.#signals = 'being served';
      // Whoever sent the signal reads the log.
      await this.reload().catch(() => {});
    } while (this.#pending === 'one more');
    this.#signals = 'none';
  }

  /** Not narrowed by what was assigned a turn ago. */
  get #pending(): string {
    return this.#signals;
  }

  #logFailure(error: unknown): void {
    const { log } = this.#parts;
    const code = error instanceof TsvswitchError ? error.code : 'UNEXPECTED';
    const [first, ...rest] = String((error as Error).message).split('\n');
    log.line('error', 'reload-failed', `nothing was reloaded: ${first}`, { code });
    for (const line of rest) log.line('error', 'reload-failed', line, { code });
  }
}

/** A client is answered in a line. */
function answered(error: unknown): unknown {
  // Settings that do not fit are in one line, and have findings that go along.
  const isBare = error instanceof TsvswitchError && !(error instanceof SettingsError);
  return isBare ? inOneLine(error) : error;
}
