/** Ports over unix datagram sockets, as a kind. */

import { FdSocket } from '../../native/fd-socket.ts';
import type { PortKind } from '../kind.ts';
import { modeOf, reachable } from '../socket-path.ts';
import { DatagramFile } from './datagram-file.ts';
import { DgramPort } from './dgram-port.ts';

export const dgramKind: PortKind<'dgram', DgramPort> = {
  kind: 'dgram',
  socketPath: ({ path }) => path,

  prepare(settings, socket) {
    const path = reachable(settings.path);
    const peer = reachable(settings.peer);
    const mode = modeOf(settings.mode);
    for (const given of [path, peer]) FdSocket.checkPath(given);
    let file = socket === 'now' ? DatagramFile.bind(path, mode) : undefined;
    return {
      open(place, kept) {
        if (kept instanceof DatagramFile) {
          file = kept;
          file.takeOver(mode);
        }
        file ??= DatagramFile.bind(path, mode);
        return new DgramPort(place, file, peer);
      },
      discard: () => file?.close(),
    };
  },

  change: (port, from, to) =>
    from.mode === to.mode ? () => {} : port.prepareMode(modeOf(to.mode)),

  release: (port) => port.release(),
};
