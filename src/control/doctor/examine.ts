/**
 * Gathers the facts for a diagnosis (diagnosis.ts) from a running switch and the files of its
 * sockets.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import type { ControlClient } from '../client.ts';
import { type Diagnosis, diagnose } from './diagnosis.ts';
import { readSocketFile } from './socket-file.ts';

/** Between two looks: a driver gives receive buffers back within milliseconds. */
const pauseMs = 250;

/** What ails each port of the switch now. Takes a moment, because the switch is asked twice. */
export async function examine(control: ControlClient): Promise<Diagnosis[]> {
  const before = await control.status();
  await sleep(pauseMs);
  const now = await control.status();
  const sockets = new Map(
    now.ports.flatMap((port) => {
      const isHere = port.kind === 'vhost-user' && !control.isRemote;
      const file = isHere ? readSocketFile(port.path) : undefined;
      return file === undefined ? [] : [[port.name, file] as const];
    }),
  );
  return diagnose({ before, now, sockets });
}
