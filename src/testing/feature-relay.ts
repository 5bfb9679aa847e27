/**
 * Stands between a vhost-user frontend and a backend and keeps some of the backend's features from
 * it.
 *
 * For frontends that cannot be told what to agree on, such as the driver of User-mode Linux: with
 * it a test has each pair of offloads, and a switch that does not serve the control queue can be
 * measured nevertheless. Only the messages of the session pass through here, whole and with their
 * fds; frames go through memory and eventfds, as always. When one side leaves, so does the other.
 *
 * Source: vhost-user "Header", VHOST_USER_GET_FEATURES.
 */

import { FdListener, FdSocket } from '../native/fd-socket.ts';
import { virtioFeatures } from '../vhost-user/features.ts';
import { headerBytes, requestNumbers } from '../vhost-user/message.ts';

export type FeatureName = keyof typeof virtioFeatures;

/**
 * What is kept from Linux's virtio_uml for a backend that serves no control queue: all that only a
 * control queue makes of use, and packed rings, of which that driver tells a base of 0.
 */
export const controlQueueFeatures: readonly FeatureName[] = [
  'VIRTIO_NET_F_CTRL_VQ',
  'VIRTIO_NET_F_CTRL_RX',
  'VIRTIO_NET_F_CTRL_VLAN',
  'VIRTIO_NET_F_CTRL_MAC_ADDR',
  'VIRTIO_NET_F_CTRL_GUEST_OFFLOADS',
  'VIRTIO_NET_F_MQ',
  'VIRTIO_NET_F_GUEST_ANNOUNCE',
  'VIRTIO_F_RING_PACKED',
];

export interface RelayOptions {
  /** Where frontends connect. */
  readonly path: string;
  /** Where the backend listens. */
  readonly backend: string;
  readonly withheld: readonly FeatureName[];
}

const sizeAt = 8;

export class FeatureRelay {
  readonly #listener: FdListener;
  readonly #sockets = new Set<FdSocket>();

  private constructor(listener: FdListener) {
    this.#listener = listener;
  }

  static open({ path, backend, withheld }: RelayOptions): FeatureRelay {
    const relay = new FeatureRelay(FdListener.listen(path));
    const mask = withheld.reduce((set, name) => set | virtioFeatures[name], 0n);
    relay.#listener.onConnection(
      (frontend) => {
        try {
          relay.#join(frontend, FdSocket.connect(backend), mask);
        } catch {
          // Nobody there: what a frontend would find without a relay, but for the moment it takes.
          frontend.close();
        }
      },
      (error) => {
        throw error;
      },
    );
    return relay;
  }

  close(): void {
    this.#listener.close();
    for (const socket of this.#sockets) socket.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #join(frontend: FdSocket, backend: FdSocket, mask: bigint): void {
    const part = () => {
      for (const socket of [frontend, backend]) {
        socket.close();
        this.#sockets.delete(socket);
      }
    };
    pass(frontend, backend, part, () => {});
    pass(backend, frontend, part, (message) => {
      if (message.readUInt32LE(0) !== requestNumbers.GET_FEATURES) return;
      message.writeBigUInt64LE(message.readBigUInt64LE(headerBytes) & ~mask, headerBytes);
    });
    this.#sockets.add(frontend).add(backend);
  }
}

/** Sends on every message of `from`, changed by `change`, until one of them leaves. */
function pass(
  from: FdSocket,
  to: FdSocket,
  part: () => void,
  change: (message: Buffer) => void,
): void {
  let message = Buffer.alloc(0);
  let fds: number[] = [];
  const wanted = () =>
    message.length < headerBytes ? headerBytes : headerBytes + message.readUInt32LE(sizeAt);
  const take = () => {
    for (;;) {
      const received = from.receive(wanted() - message.length);
      if (received === 'would-block') return;
      if (received === 'end') return part();
      message = Buffer.concat([message, received.bytes]);
      fds.push(...received.fds);
      if (message.length < headerBytes || message.length < wanted()) continue;
      change(message);
      to.send(message, fds);
      for (const fd of fds) from.closeFd(fd);
      message = Buffer.alloc(0);
      fds = [];
    }
  };
  from.onReadable(() => {
    try {
      take();
    } catch {
      // The other side has gone in the middle of a message.
      part();
    }
  });
}
