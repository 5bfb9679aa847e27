/** The kinds of port that there are. */

import type { PortKindName, PortSettings } from '../model/settings.ts';
import type { DgramPort } from './dgram/dgram-port.ts';
import { dgramKind } from './dgram/kind.ts';
import type { PortKind } from './kind.ts';
import { processKind } from './process/kind.ts';
import type { ProcessPort } from './process/process-port.ts';
import { vhostUserKind } from './vhost-user/kind.ts';
import type { VhostUserPort } from './vhost-user/vhost-user-port.ts';

/** What a port of each kind is. */
interface Ports {
  'vhost-user': VhostUserPort;
  process: ProcessPort;
  dgram: DgramPort;
}

/** A port of any kind; `kind` tells which. */
export type SwitchPort = Ports[PortKindName];

export const portKinds: { readonly [Kind in PortKindName]: PortKind<Kind, Ports[Kind]> } = {
  'vhost-user': vhostUserKind,
  process: processKind,
  dgram: dgramKind,
};

/** The row of a port with these settings. */
export function kindOf({ kind }: PortSettings): PortKind<PortKindName, SwitchPort> {
  // Settings and ports of one name are of one kind, which the compiler does not see.
  return portKinds[kind] as unknown as PortKind<PortKindName, SwitchPort>;
}
