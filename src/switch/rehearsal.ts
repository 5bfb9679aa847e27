/**
 * Goes on with a session of nobody, on a switch of its own that moves nothing: so that the machines
 * of another process do not wait for what is loaded, compiled and set up the first time.
 */

import { native } from '../native/addon.ts';
import { rehearsedSession, storeRehearsal } from '../port/vhost-user/rehearsed-session.ts';
import { learnAgain, learnedAddresses } from './addresses.ts';
import { handOverSessions, resumeSessions } from './sessions.ts';
import { Switch } from './switch.ts';

/** Nobody is there, and as long as native/gate.ts is closed nobody is looked for. */
const nowhere = '/nonexistent/rehearsal';
/** What is done so often is compiled well. */
const times = 4;

export function rehearse(): void {
  const vswitch = Switch.open({ clock: 'manual', ports: { rehearsal: { connect: nowhere } } });
  for (let time = 0; time < times; time++) {
    const { left, close } = rehearsedSession(nowhere);
    storeRehearsal(left);
    resumeSessions(vswitch.ports, () => learnAgain(vswitch, learnedAddresses(vswitch)));
    for (const { bundle } of handOverSessions(vswitch.ports)) {
      for (const fd of bundle.fds) native().closeFd(fd);
    }
    close();
  }
  vswitch.close();
}
