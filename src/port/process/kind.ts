/** Ports of this process, as a kind: they need nothing of the machine, and have no setting of their
 * own. */

import type { PortKind } from '../kind.ts';
import { ProcessPort } from './process-port.ts';

export const processKind: PortKind<'process', ProcessPort> = {
  kind: 'process',
  socketPath: () => undefined,
  prepare: () => ({ open: (place) => new ProcessPort(place), discard() {} }),
  change: () => () => {},
  release(port) {
    port.close();
    return undefined;
  },
};
