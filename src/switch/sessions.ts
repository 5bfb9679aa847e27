/** The sessions of a switch's ports, from process to process (native/stored-sessions.ts). */

import type { LeftSession } from '../native/stored-sessions.ts';
import type { SwitchPort } from '../port/kinds.ts';

/**
 * Goes on with the sessions that an earlier process left for these ports. `midway` is called when
 * all guests can hear and none is heard yet.
 */
export function resumeSessions(ports: readonly SwitchPort[], midway = () => {}): void {
  // What waits in one guest's transmitqs has somewhere to go when all others hear.
  const resumed = ports.map((port) => port.kind === 'vhost-user' && port.resume());
  midway();
  for (const start of resumed) if (start) start();
}

/** Leaves all sessions that are kept to the next process; the switch is to be closed then. */
export function leaveSessions(ports: readonly SwitchPort[]): void {
  const machines = ports.filter((port) => port.kind === 'vhost-user');
  for (const port of machines) port.prepareLeaving('leave');
  for (const port of machines) port.leaveSession();
}

/**
 * As leaveSessions(), for a process that is told; resumeSessions() takes them back. What cannot be
 * left stays, and ends with the switch.
 */
export function handOverSessions(ports: readonly SwitchPort[]): LeftSession[] {
  const machines = ports.filter((port) => port.kind === 'vhost-user');
  // Nobody sends to whom has been left already.
  for (const port of machines) port.prepareLeaving('hand over');
  return machines.flatMap((port) => port.handOverSession() ?? []);
}
