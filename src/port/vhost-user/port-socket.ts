/**
 * What the operator of a vhost-user port may say of its socket, and of its frontend. Types only.
 */

import type { ListenOptions } from '../../native/fd-socket.ts';
import type { Peer } from './allow.ts';

/** How a port meets its frontend: it listens on `path`, or connects to `connect`. */
export type PortSocket = {
  /**
   * Users and groups whose processes may be the frontend, such as `['libvirt-qemu', 1000, ':kvm']`;
   * all that the file's permissions let in unless given. Not even root is let in unless listed.
   */
  readonly allow?: readonly Peer[];
  /**
   * Offers VIRTIO_F_RING_RESET; false unless given. For frontends that stop a ring (GET_VRING_BASE)
   * when their driver resets its queue. QEMU does not: its guest would free memory that is still
   * written.
   */
  readonly ringReset?: boolean;
  /**
   * Offers VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS; false unless given. For frontends that have
   * no eventfds: each kick and call is a message then, which is slower.
   */
  readonly inBand?: boolean;
  /**
   * The MTU of a guest whose frontend reads it from the switch, as User-mode Linux and crosvm do;
   * 1500 unless given. QEMU says its own: host_mtu.
   */
  readonly mtu?: number;
} & (
  | (ListenOptions & { readonly path: string; readonly connect?: undefined })
  | { readonly connect: string; readonly path?: undefined }
);
