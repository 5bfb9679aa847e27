/** The sessions of a switch's ports, from process to process (native/stored-sessions.ts). */

import type { SwitchPort } from '../port/kinds.ts';

/** Goes on with the sessions that an earlier process left for these ports. */
export function resumeSessions(ports: readonly SwitchPort[]): void {
  // What waits in one guest's transmitqs has somewhere to go when all others hear.
  const resumed = ports.map((port) => port.kind === 'vhost-user' && port.resume());
  for (const start of resumed) if (start) start();
}

/** Leaves all sessions that are kept to the next process; the switch is to be closed then. */
export function leaveSessions(ports: readonly SwitchPort[]): void {
  for (const port of ports) if (port.kind === 'vhost-user') port.leaveSession();
}
