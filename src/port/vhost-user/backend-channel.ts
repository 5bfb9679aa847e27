/** The socket of a frontend's backend channel, which has to be one. */

import { failure } from '../../model/errors.ts';
import { FdSocket } from '../../native/fd-socket.ts';

/** Takes over `fd`; `onReadable` is told that there is something to read. Throws BAD_SOCKET. */
export function openChannel(fd: number, onReadable: (socket: FdSocket) => void): FdSocket {
  const socket = new FdSocket(fd);
  try {
    requireSocket(socket);
    socket.onReadable(() => onReadable(socket));
  } catch (error) {
    socket.close();
    throw error;
  }
  return socket;
}

/** Only a socket has a peer, and no file system is asked, which could take its time. */
function requireSocket(socket: FdSocket): void {
  try {
    void socket.peer;
  } catch (cause) {
    throw failure('no-socket', {}, { cause });
  }
}
