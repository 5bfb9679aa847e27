/** Feeds what has come on a socket to who wants it, as much as that wants. */

import type { FdSocket } from '../../native/fd-socket.ts';
import type { ChannelReader } from '../../vhost-user/backend.ts';

/** Reads before other ports get a turn; the socket stays readable if there is more. */
const readsPerTurnMax = 128;

export function readInto(reader: ChannelReader, socket: FdSocket): void {
  for (let reads = 0; reads < readsPerTurnMax && reader.wants > 0; reads += 1) {
    let received: ReturnType<FdSocket['receive']>;
    try {
      received = socket.receive(reader.wants);
    } catch {
      // A reset connection: the frontend was killed with our bytes unread.
      received = 'end';
    }
    if (received === 'would-block') return;
    if (received === 'end') {
      reader.end();
      return;
    }
    reader.receive(received.bytes, received.fds, received.fdsTruncated);
  }
}
