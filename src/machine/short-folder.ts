/** Folders for unix sockets, whose paths have to be short. */

import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Linux unix(7): sun_path holds 108 bytes, the last one a zero. */
export const socketPathBytesMax = 107;

/**
 * A fresh folder that has room for a socket of this name: in the temporary folder, or else in /tmp.
 */
export function shortTemporaryFolder(longestName: string): string {
  const longest = `tsvswitch-XXXXXX/${longestName}`;
  const fits = (folder: string) => Buffer.byteLength(join(folder, longest)) <= socketPathBytesMax;
  return mkdtempSync(join(fits(tmpdir()) ? tmpdir() : '/tmp', 'tsvswitch-'));
}
