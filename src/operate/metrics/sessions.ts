/** How often machines have connected to each port, counted from its events. */

import type { Switch } from '../../index.ts';

export class Sessions {
  readonly #counts = new Map<string, number>();

  /** Of all that connect from now on. */
  constructor(vswitch: Switch) {
    vswitch.on('frontend-connected', ({ port }) => this.#counts.set(port, this.of(port) + 1));
    vswitch.on('port-removed', ({ port }) => this.#counts.delete(port));
  }

  of(port: string): number {
    return this.#counts.get(port) ?? 0;
  }
}
