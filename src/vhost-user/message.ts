/**
 * The syntax of vhost-user: request numbers, the header, and every payload as a layout that encodes
 * and decodes. message-reader.ts cuts a stream into messages.
 *
 * Pure: no socket, no state and no meaning. What a request asks for is in requests.ts. Both
 * directions are here, so a frontend can be built from this file.
 *
 * A payload with a count is read by that count: frontends in C send the structure with the most
 * that it has room for (Linux's virtio_uml a table for two regions with one in it), and what lies
 * behind is noise. All numbers are in machine order, which is little-endian on every machine this
 * package builds for.
 *
 * Sources: vhost-user "Message Specification", "Communication", "Front-end message types".
 */

import type { MemoryRegion, RingAddresses } from '../native/addon.ts';

/** Request numbers, spelled as in the specification without the VHOST_USER_ prefix. */
export const requestNumbers = {
  GET_FEATURES: 1,
  SET_FEATURES: 2,
  SET_OWNER: 3,
  RESET_OWNER: 4,
  SET_MEM_TABLE: 5,
  SET_LOG_BASE: 6,
  SET_LOG_FD: 7,
  SET_VRING_NUM: 8,
  SET_VRING_ADDR: 9,
  SET_VRING_BASE: 10,
  GET_VRING_BASE: 11,
  SET_VRING_KICK: 12,
  SET_VRING_CALL: 13,
  SET_VRING_ERR: 14,
  GET_PROTOCOL_FEATURES: 15,
  SET_PROTOCOL_FEATURES: 16,
  GET_QUEUE_NUM: 17,
  SET_VRING_ENABLE: 18,
  SEND_RARP: 19,
  NET_SET_MTU: 20,
  SET_BACKEND_REQ_FD: 21,
  GET_CONFIG: 24,
  SET_CONFIG: 25,
  GET_INFLIGHT_FD: 31,
  SET_INFLIGHT_FD: 32,
  RESET_DEVICE: 34,
  VRING_KICK: 35,
  GET_MAX_MEM_SLOTS: 36,
  ADD_MEM_REG: 37,
  REM_MEM_REG: 38,
  SET_STATUS: 39,
  GET_STATUS: 40,
} as const;

/** The name of a request, as the specification has it. */
export type RequestName = keyof typeof requestNumbers;

/** What a backend may ask for on its own channel; spelled without VHOST_USER_BACKEND_. */
export const backendRequestNumbers = { CONFIG_CHANGE_MSG: 2, VRING_CALL: 4, VRING_ERR: 5 } as const;

export type BackendRequestName = keyof typeof backendRequestNumbers;

/** Header flags: the low two bits are the version, the only one being 1. */
export const headerFlags = { VERSION: 0x1, REPLY: 0x4, NEED_REPLY: 0x8 } as const;
export const versionMask = 0x3;

export const headerBytes = 12;
/** No payload of the specification comes near this; a larger `size` is noise or an attack. */
export const payloadBytesMax = 4096;
/** SET_MEM_TABLE carries the most: one fd for each of its regions. */
export const fdsPerMessageMax = 8;
export const memoryTableRegionsMax = 8;

export interface Header {
  readonly request: number;
  readonly flags: number;
  readonly sizeBytes: number;
}

/** A message of the protocol, with the files that came along. */
export interface Message {
  readonly request: number;
  readonly flags: number;
  readonly payload: Uint8Array;
  readonly fds: readonly number[];
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** A whole message: header and payload, without its fds. */
export function encodeMessage(request: number, flags: number, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(headerBytes + payload.length);
  const fields = view(bytes);
  fields.setUint32(0, request, true);
  fields.setUint32(4, flags, true);
  fields.setUint32(8, payload.length, true);
  bytes.set(payload, headerBytes);
  return bytes;
}

export function decodeHeader(bytes: Uint8Array): Header {
  const fields = view(bytes);
  return {
    request: fields.getUint32(0, true),
    flags: fields.getUint32(4, true),
    sizeBytes: fields.getUint32(8, true),
  };
}

/**
 * The shape of one kind of payload. `decode` is given a length within the bounds and returns
 * undefined where the contents count more than that length holds.
 */
export interface Layout<T> {
  readonly bytesMin: number;
  readonly bytesMax: number;
  encode(value: T): Uint8Array;
  decode(bytes: Uint8Array): T | undefined;
}

function fixed<T>(
  sizeBytes: number,
  write: (fields: DataView, value: T) => void,
  read: (fields: DataView) => T,
): Layout<T> {
  return {
    bytesMin: sizeBytes,
    bytesMax: sizeBytes,
    encode(value) {
      const bytes = new Uint8Array(sizeBytes);
      write(view(bytes), value);
      return bytes;
    },
    decode: (bytes) => read(view(bytes)),
  };
}

export const emptyLayout: Layout<null> = fixed(
  0,
  () => {},
  () => null,
);

/** "A single 64-bit integer". */
export const u64Layout: Layout<bigint> = fixed(
  8,
  (fields, value) => fields.setBigUint64(0, value, true),
  (fields) => fields.getBigUint64(0, true),
);

export interface VringState {
  readonly index: number;
  readonly num: number;
}

/** "A vring state description". */
export const vringStateLayout: Layout<VringState> = fixed(
  8,
  (fields, value) => {
    fields.setUint32(0, value.index, true);
    fields.setUint32(4, value.num, true);
  },
  (fields) => ({ index: fields.getUint32(0, true), num: fields.getUint32(4, true) }),
);

export interface VringAddresses extends Omit<RingAddresses, 'usedLogAddress'> {
  readonly index: number;
  readonly flags: number;
  readonly log: bigint;
}

/** "A vring address description"; on the wire used comes before avail. */
export const vringAddressesLayout: Layout<VringAddresses> = fixed(
  40,
  (fields, value) => {
    fields.setUint32(0, value.index, true);
    fields.setUint32(4, value.flags, true);
    fields.setBigUint64(8, value.desc, true);
    fields.setBigUint64(16, value.used, true);
    fields.setBigUint64(24, value.avail, true);
    fields.setBigUint64(32, value.log, true);
  },
  (fields) => ({
    index: fields.getUint32(0, true),
    flags: fields.getUint32(4, true),
    desc: fields.getBigUint64(8, true),
    used: fields.getBigUint64(16, true),
    avail: fields.getBigUint64(24, true),
    log: fields.getBigUint64(32, true),
  }),
);

/** VHOST_VRING_F_LOG of a vring address description. */
export const vringLogFlag = 1;

export interface VringFd {
  readonly index: number;
  /** False (the "invalid FD flag") where the peer wants polling instead of an eventfd. */
  readonly hasFd: boolean;
}

const vringIndexMask = 0xffn;
const vringNoFdFlag = 0x100n;

/** The u64 of SET_VRING_KICK, _CALL and _ERR: index in bits 0-7, invalid FD flag in bit 8. */
export const vringFdLayout: Layout<VringFd> = fixed(
  8,
  (fields, value) =>
    fields.setBigUint64(0, BigInt(value.index) | (value.hasFd ? 0n : vringNoFdFlag), true),
  (fields) => {
    const word = fields.getBigUint64(0, true);
    return { index: Number(word & vringIndexMask), hasFd: (word & vringNoFdFlag) === 0n };
  },
);

const regionBytes = 32;
const tableHeadBytes = 8;
const singleRegionHeadBytes = 8;

function writeRegion(fields: DataView, at: number, region: MemoryRegion): void {
  fields.setBigUint64(at, region.guestAddress, true);
  fields.setBigUint64(at + 8, region.sizeBytes, true);
  fields.setBigUint64(at + 16, region.userAddress, true);
  fields.setBigUint64(at + 24, region.mmapOffset, true);
}

function readRegion(fields: DataView, at: number): MemoryRegion {
  return {
    guestAddress: fields.getBigUint64(at, true),
    sizeBytes: fields.getBigUint64(at + 8, true),
    userAddress: fields.getBigUint64(at + 16, true),
    mmapOffset: fields.getBigUint64(at + 24, true),
  };
}

/** "Memory regions description". More than memoryTableRegionsMax cannot come with an fd each. */
export const memoryTableLayout: Layout<readonly MemoryRegion[]> = {
  bytesMin: tableHeadBytes,
  bytesMax: payloadBytesMax,
  encode(regions) {
    const bytes = new Uint8Array(tableHeadBytes + regions.length * regionBytes);
    const fields = view(bytes);
    fields.setUint32(0, regions.length, true);
    regions.forEach((region, i) => {
      writeRegion(fields, tableHeadBytes + i * regionBytes, region);
    });
    return bytes;
  },
  decode(bytes) {
    const fields = view(bytes);
    const count = fields.getUint32(0, true);
    if (bytes.length < tableHeadBytes + count * regionBytes) return undefined;
    return Array.from({ length: count }, (_, i) =>
      readRegion(fields, tableHeadBytes + i * regionBytes),
    );
  },
};

/** "Single memory region description". */
export const memoryRegionLayout: Layout<MemoryRegion> = fixed(
  singleRegionHeadBytes + regionBytes,
  (fields, region) => writeRegion(fields, singleRegionHeadBytes, region),
  (fields) => readRegion(fields, singleRegionHeadBytes),
);

export interface LogArea {
  readonly sizeBytes: bigint;
  readonly offsetBytes: bigint;
}

/** "Log description". */
export const logAreaLayout: Layout<LogArea> = fixed(
  16,
  (fields, value) => {
    fields.setBigUint64(0, value.sizeBytes, true);
    fields.setBigUint64(8, value.offsetBytes, true);
  },
  (fields) => ({
    sizeBytes: fields.getBigUint64(0, true),
    offsetBytes: fields.getBigUint64(8, true),
  }),
);

export interface InflightArea {
  readonly sizeBytes: bigint;
  readonly offsetBytes: bigint;
  readonly queues: number;
  readonly queueSize: number;
  /** How long this description is on the wire. */
  readonly wireBytes: number;
}

const inflightFieldsBytes = 20;
/** QEMU and DPDK send the C structure, which the compiler rounds up. */
const inflightPaddedBytes = 24;

/** "Inflight description"; the answer to one is as long as the question. */
export const inflightAreaLayout: Layout<InflightArea> = {
  bytesMin: inflightFieldsBytes,
  bytesMax: inflightPaddedBytes,
  encode(value) {
    const bytes = new Uint8Array(value.wireBytes);
    const fields = view(bytes);
    fields.setBigUint64(0, value.sizeBytes, true);
    fields.setBigUint64(8, value.offsetBytes, true);
    fields.setUint16(16, value.queues, true);
    fields.setUint16(18, value.queueSize, true);
    return bytes;
  },
  decode(bytes) {
    const fields = view(bytes);
    return {
      sizeBytes: fields.getBigUint64(0, true),
      offsetBytes: fields.getBigUint64(8, true),
      queues: fields.getUint16(16, true),
      queueSize: fields.getUint16(18, true),
      wireBytes: bytes.length,
    };
  },
};

export interface ConfigSpan {
  readonly offsetBytes: number;
  readonly sizeBytes: number;
  readonly flags: number;
  /** `sizeBytes` of them. */
  readonly bytes: Uint8Array;
  /** How long this description is on the wire. */
  readonly wireBytes: number;
}

export const configHeadBytes = 12;

/** "Virtio device config space"; the answer to one is as long as the question. */
export const configSpanLayout: Layout<ConfigSpan> = {
  bytesMin: configHeadBytes,
  bytesMax: payloadBytesMax,
  encode({ offsetBytes, sizeBytes, flags, bytes: contents, wireBytes }) {
    const bytes = new Uint8Array(wireBytes);
    const fields = view(bytes);
    fields.setUint32(0, offsetBytes, true);
    fields.setUint32(4, sizeBytes, true);
    fields.setUint32(8, flags, true);
    bytes.set(contents, configHeadBytes);
    return bytes;
  },
  decode(bytes) {
    const fields = view(bytes);
    const sizeBytes = fields.getUint32(4, true);
    if (bytes.length - configHeadBytes < sizeBytes) return undefined;
    return {
      offsetBytes: fields.getUint32(0, true),
      sizeBytes,
      flags: fields.getUint32(8, true),
      bytes: bytes.slice(configHeadBytes, configHeadBytes + sizeBytes),
      wireBytes: bytes.length,
    };
  },
};

/** The u64 of SEND_RARP: a MAC in its first six bytes, here as a number, first byte highest. */
export const macLayout: Layout<number> = fixed(
  8,
  (fields, mac) => {
    fields.setUint16(0, Math.floor(mac / 2 ** 32), false);
    fields.setUint32(2, mac % 2 ** 32, false);
  },
  (fields) => fields.getUint16(0, false) * 2 ** 32 + fields.getUint32(2, false),
);
