/** A copy of the socket of a server of Node.js, for another process to listen with. */

import type { Server } from 'node:net';
import { native } from './addon.ts';

export function copyOf(server: Server): number {
  // Node.js has no other way to it.
  const { fd } = (server as unknown as { _handle: { fd: number } })._handle;
  return native().dupFd(fd);
}
