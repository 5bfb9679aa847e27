/**
 * struct virtio_net_hdr, which travels in front of every frame: what a driver asks the device to do
 * (complete a checksum, cut a packet) and what a device says it has left undone. Pure.
 *
 * Source: virtio 1.2 §5.1.6. Its legacy form lacks num_buffers (§5.1.6.1).
 */

import { failure } from '../model/errors.ts';

/**
 * flags: the checksum is yet to be completed. Spelled, like the others, as in virtio 1.2 §5.1.6.
 */
export const VIRTIO_NET_HDR_F_NEEDS_CSUM = 1;
/** flags: the checksum was looked at and is right. */
export const VIRTIO_NET_HDR_F_DATA_VALID = 2;
/** gsoType: not to be cut. */
export const VIRTIO_NET_HDR_GSO_NONE = 0;
/** gsoType: TCP over IPv4, to be cut into segments. */
export const VIRTIO_NET_HDR_GSO_TCPV4 = 1;
/** gsoType: UDP, to be cut into IP fragments. */
export const VIRTIO_NET_HDR_GSO_UDP = 3;
/** gsoType: TCP over IPv6, to be cut into segments. */
export const VIRTIO_NET_HDR_GSO_TCPV6 = 4;
/** gsoType: UDP, to be cut into datagrams. */
export const VIRTIO_NET_HDR_GSO_UDP_L4 = 5;
/** gsoType, beside TCP: the packet has CWR set. */
export const VIRTIO_NET_HDR_GSO_ECN = 0x80;

/** The fields of the header, all numbers as they are in it. */
export interface NetHeader {
  /** `VIRTIO_NET_HDR_F_*` */
  readonly flags: number;
  /** `VIRTIO_NET_HDR_GSO_*` */
  readonly gsoType: number;
  /** Length of the packet's headers; a hint. */
  readonly hdrLen: number;
  /** Payload bytes of each segment. */
  readonly gsoSize: number;
  /** Where in the frame the checksum begins to be computed. */
  readonly csumStart: number;
  /** Where behind csumStart it is to be stored. */
  readonly csumOffset: number;
  /** How many receive buffers the frame is in; undefined in a header of 10 bytes. */
  readonly numBuffers: number | undefined;
}

/** Where num_buffers lies. */
export const numBuffersAt = 10;

/** Writes a header of 10 or 12 bytes at `at`; what is not given is 0. Throws BAD_OPTION. */
export function writeNetHeader(
  view: DataView,
  at: number,
  headerBytes: number,
  header: Partial<NetHeader>,
): void {
  view.setUint8(at, field(header, 'flags', 0xff));
  view.setUint8(at + 1, field(header, 'gsoType', 0xff));
  view.setUint16(at + 2, field(header, 'hdrLen', 0xffff), true);
  view.setUint16(at + 4, field(header, 'gsoSize', 0xffff), true);
  view.setUint16(at + 6, field(header, 'csumStart', 0xffff), true);
  view.setUint16(at + 8, field(header, 'csumOffset', 0xffff), true);
  if (headerBytes <= numBuffersAt) return;
  view.setUint16(at + numBuffersAt, field(header, 'numBuffers', 0xffff), true);
}

function field(header: Partial<NetHeader>, name: keyof NetHeader, max: number): number {
  const value = header[name] ?? 0;
  if (Number.isInteger(value) && value >= 0 && value <= max) return value;
  throw failure('header-field', { name, value, max });
}

/** The header that `bytes`, 10 or 12 of them, hold. */
export function parseNetHeader(bytes: Uint8Array): NetHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    flags: view.getUint8(0),
    gsoType: view.getUint8(1),
    hdrLen: view.getUint16(2, true),
    gsoSize: view.getUint16(4, true),
    csumStart: view.getUint16(6, true),
    csumOffset: view.getUint16(8, true),
    numBuffers: bytes.length > numBuffersAt ? view.getUint16(numBuffersAt, true) : undefined,
  };
}
