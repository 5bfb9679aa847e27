/** Where a lab logs in to a machine of its own: by ssh, with the lab's key. */

import type { SshTarget } from '../machine/ssh.ts';
import { labKey } from './cloud-init/keys.ts';
import type { LabState } from './state.ts';

/** Where a machine that runs is logged in to. */
export async function sshTarget(
  state: LabState,
  { name, user }: { readonly name: string; readonly user: string },
  port: number,
): Promise<SshTarget> {
  const { privateKeyFile } = await labKey(state.folder);
  return { name, port, user, privateKeyFile };
}
