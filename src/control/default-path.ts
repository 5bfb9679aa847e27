/**
 * Where a control socket is unless told otherwise: /run/tsvswitch/control.sock of root's switch,
 * and tsvswitch/control.sock in $XDG_RUNTIME_DIR, which is /run/user/UID, of anybody else's.
 *
 * Source: XDG Base Directory Specification.
 */

import { join } from 'node:path';

/** The folder may not be there yet. */
export function defaultControlPath(): string {
  const uid = process.getuid!();
  const folder = uid === 0 ? '/run' : (process.env.XDG_RUNTIME_DIR ?? `/run/user/${uid}`);
  return join(folder, 'tsvswitch', 'control.sock');
}
