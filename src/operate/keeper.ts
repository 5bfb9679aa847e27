/**
 * Has what was changed at run time kept, soon after every change and at the end.
 *
 * Many changes in a row are kept together, 50 ms after the first; a reload at once, before who
 * asked is told. What cannot be kept is told once, and tried again with the next change.
 */

import type { Switch, SwitchEvent } from '../index.ts';
import type { Declared } from './declared.ts';

/** Nobody but the operator causes these. */
const operatorTypes: readonly SwitchEvent['type'][] = [
  ...(['settings-applied', 'port-removed', 'worker-added'] as const),
  ...(['link-impaired', 'link-mended', 'partitioned', 'healed'] as const),
];
/** The first that is heard of a port. */
const firstTypes: readonly SwitchEvent['type'][] = [
  ...(['listening', 'waiting', 'frontend-connected'] as const),
];
const togetherMs = 50;

export class Keeper {
  readonly #declared: Declared;
  readonly #switch: Switch;
  readonly #onTrouble: (sentence: string) => void;
  #ports = new Set<string>();
  #timer: NodeJS.Timeout | undefined;
  #trouble = '';

  constructor(declared: Declared, vswitch: Switch, onTrouble: (sentence: string) => void) {
    this.#declared = declared;
    this.#switch = vswitch;
    this.#onTrouble = onTrouble;
    this.#notePorts();
    vswitch.on('event', (event) => this.#hear(event));
  }

  /** Before the switch is closed. */
  close(): void {
    if (this.#timer !== undefined) this.keep();
  }

  /** What is in force now. */
  keep(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#notePorts();
    try {
      if (this.#declared.keep(this.#switch)) this.#trouble = '';
    } catch (error) {
      const { message } = error as Error;
      if (message !== this.#trouble) {
        this.#onTrouble(`what was changed at run time is not kept: ${message}`);
      }
      this.#trouble = message;
    }
  }

  #hear(event: SwitchEvent): void {
    const isOfNew =
      event.port !== undefined && firstTypes.includes(event.type) && !this.#ports.has(event.port);
    if (!isOfNew && !operatorTypes.includes(event.type)) return;
    this.#timer ??= setTimeout(() => this.keep(), togetherMs).unref();
  }

  #notePorts(): void {
    this.#ports = new Set(this.#switch.ports.map(({ name }) => name));
  }
}
