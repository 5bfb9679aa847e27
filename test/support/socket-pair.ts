/**
 * Two ends of one connection of unix stream sockets, the second as a bare fd, to be passed on.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { native } from '../../src/native/addon.ts';
import { FdListener, type FdSocket } from '../../src/native/fd-socket.ts';

export async function socketPair(): Promise<[FdSocket, number]> {
  const folder = mkdtempSync(join(tmpdir(), 'pair-'));
  const path = join(folder, 'socket');
  const listener = FdListener.listen(path);
  const accepted = new Promise<FdSocket>((resolve, reject) => {
    listener.onConnection(resolve, reject);
  });
  const fd = native().socketConnect(path);
  const socket = await accepted;
  listener.close();
  rmSync(folder, { recursive: true });
  return [socket, fd];
}
