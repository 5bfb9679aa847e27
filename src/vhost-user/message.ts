/**
 * The syntax of vhost-user: request numbers, the header, every payload as a layout that encodes and
 * decodes, and MessageReader, which cuts a byte stream with passed fds into messages.
 *
 * Pure: no socket, no state but the bytes of the message being read, and no meaning. What a request
 * asks for is in requests.ts. Both directions are here, so a frontend can be built from this file.
 * All numbers are in machine order, which is little-endian on every machine this package builds for.
 *
 * Sources: vhost-user "Message Specification", "Communication", "Front-end message types".
 */

import type { MemoryRegion, RingAddresses } from '../native.ts';

/** Request numbers, spelled as in the specification without the VHOST_USER_ prefix. */
export const requestNumbers = {
  GET_FEATURES: 1,
  SET_FEATURES: 2,
  SET_OWNER: 3,
  RESET_OWNER: 4,
  SET_MEM_TABLE: 5,
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
  RESET_DEVICE: 34,
  GET_MAX_MEM_SLOTS: 36,
  ADD_MEM_REG: 37,
  REM_MEM_REG: 38,
  SET_STATUS: 39,
  GET_STATUS: 40,
} as const;

export type RequestName = keyof typeof requestNumbers;

/** Header flags: the low two bits are the version, the only one being 1. */
export const headerFlags = { VERSION: 0x1, REPLY: 0x4, NEED_REPLY: 0x8 } as const;
const versionMask = 0x3;

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
 * undefined where the contents contradict that length.
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

export interface VringAddresses extends RingAddresses {
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

/** "Memory regions description". */
export const memoryTableLayout: Layout<readonly MemoryRegion[]> = {
  bytesMin: tableHeadBytes,
  bytesMax: tableHeadBytes + memoryTableRegionsMax * regionBytes,
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
    if (bytes.length !== tableHeadBytes + count * regionBytes) return undefined;
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

/** Why a byte stream stopped being vhost-user. */
export type FramingErrorCode = 'BAD_VERSION' | 'BAD_FLAGS' | 'BAD_SIZE' | 'BAD_FDS';

export type ReadStep =
  | { readonly kind: 'incomplete' }
  | { readonly kind: 'message'; readonly message: Message }
  | {
      readonly kind: 'error';
      readonly code: FramingErrorCode;
      readonly sentence: string;
      /** Every fd gathered so far; the caller closes them. */
      readonly fds: readonly number[];
    };

/** Which end this reader is: a backend reads requests, a frontend reads replies. */
export type ReaderRole = 'backend' | 'frontend';

type ReaderState =
  | { readonly kind: 'header' }
  | { readonly kind: 'payload'; readonly header: Header }
  | { readonly kind: 'failed' };

/**
 * Cuts a stream into messages. The owner reads at most `wants` bytes from the socket and feeds them:
 * first the 12 bytes of the header, then exactly the payload. As a read never crosses the end of a
 * message, neither do the fds that come with it. After an error the reader wants nothing any more.
 */
export class MessageReader {
  readonly #role: ReaderRole;
  #state: ReaderState = { kind: 'header' };
  #buffer = new Uint8Array(headerBytes);
  #filledBytes = 0;
  #fds: number[] = [];

  constructor(role: ReaderRole) {
    this.#role = role;
  }

  /** How many bytes are missing to the end of the header or payload; 0 after an error. */
  get wants(): number {
    return this.#state.kind === 'failed' ? 0 : this.#buffer.length - this.#filledBytes;
  }

  /** True while a message has begun and not ended. */
  get midMessage(): boolean {
    return this.#state.kind === 'payload' || this.#filledBytes > 0 || this.#fds.length > 0;
  }

  /**
   * Takes over bytes and fds. Feeding more than `wants` is a programming error (RangeError).
   * `fdsTruncated` says that the kernel dropped fds that did not fit the caller's buffer.
   */
  feed(bytes: Uint8Array, fds: readonly number[], fdsTruncated: boolean): ReadStep {
    if (bytes.length > this.wants) {
      throw new RangeError(`fed ${bytes.length} bytes where ${this.wants} were wanted`);
    }
    this.#buffer.set(bytes, this.#filledBytes);
    this.#filledBytes += bytes.length;
    this.#fds.push(...fds);
    if (fdsTruncated || this.#fds.length > fdsPerMessageMax) {
      return this.#fail('BAD_FDS', `more than ${fdsPerMessageMax} fds came with one message`);
    }
    if (this.wants > 0) return { kind: 'incomplete' };
    return this.#state.kind === 'header' ? this.#acceptHeader() : this.#finish();
  }

  /** Gives up the message being read and hands back its fds. */
  abandon(): readonly number[] {
    this.#state = { kind: 'failed' };
    const fds = this.#fds;
    this.#fds = [];
    return fds;
  }

  #acceptHeader(): ReadStep {
    const header = decodeHeader(this.#buffer);
    const flags = `flags 0x${header.flags.toString(16)}`;
    if ((header.flags & versionMask) !== headerFlags.VERSION) {
      return this.#fail('BAD_VERSION', `${flags}: version 1 was expected in the low two bits`);
    }
    const isReply = (header.flags & headerFlags.REPLY) !== 0;
    if (isReply !== (this.#role === 'frontend')) {
      const expected = this.#role === 'frontend' ? 'a reply' : 'a request';
      return this.#fail('BAD_FLAGS', `${flags}: ${expected} was expected`);
    }
    if (header.sizeBytes > payloadBytesMax) {
      return this.#fail(
        'BAD_SIZE',
        `request ${header.request}: payload of ${header.sizeBytes} bytes, at most ${payloadBytesMax} were expected`,
      );
    }
    this.#state = { kind: 'payload', header };
    this.#buffer = new Uint8Array(header.sizeBytes);
    this.#filledBytes = 0;
    return header.sizeBytes === 0 ? this.#finish() : { kind: 'incomplete' };
  }

  #finish(): ReadStep {
    if (this.#state.kind !== 'payload') return { kind: 'incomplete' };
    const { request, flags } = this.#state.header;
    const message = { request, flags, payload: this.#buffer, fds: this.#fds };
    this.#state = { kind: 'header' };
    this.#buffer = new Uint8Array(headerBytes);
    this.#filledBytes = 0;
    this.#fds = [];
    return { kind: 'message', message };
  }

  #fail(code: FramingErrorCode, sentence: string): ReadStep {
    return { kind: 'error', code, sentence, fds: this.abandon() };
  }
}
