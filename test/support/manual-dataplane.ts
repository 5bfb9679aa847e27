/** A data plane without threads, whose clock stands still. */

import { type Dataplane, native } from '../../src/native/addon.ts';

export function openManualDataplane(): Dataplane {
  return native().openDataplane({
    workers: 1,
    cpus: [],
    idleUs: 0,
    manual: true,
    sandbox: false,
    fragmentId: 0,
  });
}
