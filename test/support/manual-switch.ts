/** A switch whose clock stands still, for tests that move frames and time themselves. */

import { type ProcessPort, Switch } from '../../src/index.ts';

/** A switch that moves nothing by itself, with ports of this process. */
export function openManual(...names: string[]): { vswitch: Switch; ports: ProcessPort[] } {
  const vswitch = Switch.open({ clock: 'manual' });
  return { vswitch, ports: names.map((name) => vswitch.addPort({ process: name })) };
}
