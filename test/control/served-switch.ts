/** A switch with a control socket in a folder of its own, and a client of it. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ControlClient } from '../../src/control/client.ts';
import { ControlServer } from '../../src/control/server.ts';
import { Switch } from '../../src/index.ts';

export interface ServedSwitch {
  readonly folder: string;
  /** Path of the control socket. */
  readonly control: string;
  readonly vswitch: Switch;
  readonly client: ControlClient;
  readonly close: () => void;
}

export async function serveSwitch(): Promise<ServedSwitch> {
  const folder = mkdtempSync(join(tmpdir(), 'control-'));
  const control = join(folder, 'control');
  const vswitch = Switch.open();
  const server = ControlServer.listen(vswitch, { path: control });
  const client = await ControlClient.connect(control);
  const close = () => {
    client.close();
    server.close();
    vswitch.close();
    rmSync(folder, { recursive: true });
  };
  return { folder, control, vswitch, client, close };
}
