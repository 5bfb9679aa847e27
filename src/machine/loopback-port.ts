/**
 * Free TCP ports of 127.0.0.1, for ssh to be forwarded from.
 *
 * A port is free when it can be listened on, and stays so only until somebody does: whoever uses
 * one has to be able to take another.
 */

import { once } from 'node:events';
import { createServer, type Server } from 'node:net';

const host = '127.0.0.1';

/** For each wish the port itself if it is free, or any free one; all of them are different. */
export async function freePorts(wishes: readonly (number | undefined)[]): Promise<number[]> {
  const servers: Server[] = [];
  try {
    // All are held until the last is found, or the same one might come twice.
    for (const wish of wishes) {
      servers.push((await listening(wish ?? 0)) ?? (await listening(0))!);
    }
    return servers.map((server) => (server.address() as { port: number }).port);
  } finally {
    await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  }
}

/** undefined if the port is not free, or not this user's to take. */
async function listening(port: number): Promise<Server | undefined> {
  const server = createServer();
  try {
    await once(server.listen(port, host), 'listening');
    return server;
  } catch {
    return undefined;
  }
}
