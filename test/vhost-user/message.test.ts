/**
 * Layouts against the bytes of the specification, and the reader against any chunking.
 */

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  configSpanLayout,
  decodeHeader,
  encodeMessage,
  fdsPerMessageMax,
  headerBytes,
  headerFlags,
  inflightAreaLayout,
  type Layout,
  logAreaLayout,
  type Message,
  macLayout,
  memoryRegionLayout,
  memoryTableLayout,
  payloadBytesMax,
  u64Layout,
  vringAddressesLayout,
  vringFdLayout,
  vringStateLayout,
} from '../../src/vhost-user/message.ts';
import { MessageReader } from '../../src/vhost-user/message-reader.ts';

const u16 = fc.integer({ min: 0, max: 0xffff });
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const u64 = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const memoryRegion = fc.record({
  guestAddress: u64,
  sizeBytes: u64,
  userAddress: u64,
  mmapOffset: u64,
});

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

describe('layouts', () => {
  const cases: [string, Layout<never>, fc.Arbitrary<unknown>][] = [
    ['u64', u64Layout as Layout<never>, u64],
    ['vring state', vringStateLayout as Layout<never>, fc.record({ index: u32, num: u32 })],
    [
      'vring addresses',
      vringAddressesLayout as Layout<never>,
      fc.record({ index: u32, flags: u32, desc: u64, used: u64, avail: u64, log: u64 }),
    ],
    [
      'vring fd',
      vringFdLayout as Layout<never>,
      fc.record({ index: fc.integer({ min: 0, max: 255 }), hasFd: fc.boolean() }),
    ],
    [
      'memory table',
      memoryTableLayout as Layout<never>,
      fc.array(memoryRegion, { minLength: 1, maxLength: 8 }),
    ],
    ['memory region', memoryRegionLayout as Layout<never>, memoryRegion],
    ['log area', logAreaLayout as Layout<never>, fc.record({ sizeBytes: u64, offsetBytes: u64 })],
    [
      'inflight area',
      inflightAreaLayout as Layout<never>,
      fc.record({
        sizeBytes: u64,
        offsetBytes: u64,
        queues: u16,
        queueSize: u16,
        wireBytes: fc.constantFrom(20, 24),
      }),
    ],
    [
      'config span',
      configSpanLayout as Layout<never>,
      fc
        .record({
          offsetBytes: u32,
          flags: u32,
          bytes: fc.uint8Array({ maxLength: 300 }),
          room: u16,
        })
        .map(({ room, ...span }) => ({
          ...span,
          sizeBytes: span.bytes.length,
          wireBytes: 12 + span.bytes.length + (room % 3000),
        })),
    ],
    ['MAC', macLayout as Layout<never>, fc.integer({ min: 0, max: 2 ** 48 - 1 })],
  ];

  test.each(cases)('%s: decodes what it encoded, within its own bounds', (_, layout, values) => {
    fc.assert(
      fc.property(values, (value) => {
        const bytes = layout.encode(value as never);
        expect(bytes.length).toBeGreaterThanOrEqual(layout.bytesMin);
        expect(bytes.length).toBeLessThanOrEqual(layout.bytesMax);
        expect(layout.decode(bytes)).toEqual(value);
      }),
    );
  });

  test('vhost-user "Inflight description": four numbers, padded by frontends in C and not by others', () => {
    const area = { sizeBytes: 0x11n, offsetBytes: 0x22n, queues: 3, queueSize: 256 };
    const fields = '11000000000000002200000000000000' + '03000001';
    const encode = (wireBytes: number) => hex(inflightAreaLayout.encode({ ...area, wireBytes }));
    expect(encode(20)).toBe(fields);
    expect(encode(24)).toBe(`${fields}00000000`);
    for (const wireBytes of [20, 21, 22, 23, 24]) {
      const padded = Buffer.from(fields.padEnd(2 * wireBytes, 'a'), 'hex');
      expect(inflightAreaLayout.decode(padded)).toEqual({ ...area, wireBytes });
    }
  });

  test('VHOST_USER_SEND_RARP: the MAC is in the first six bytes', () => {
    expect(hex(macLayout.encode(0x5254_00fe_dcba))).toBe('525400fedcba0000');
  });

  test('vhost-user "A vring address description": used stands before available', () => {
    const bytes = vringAddressesLayout.encode({
      index: 1,
      flags: 0,
      desc: 0x11n,
      used: 0x22n,
      avail: 0x33n,
      log: 0x44n,
    });
    expect(hex(bytes)).toBe(
      '0100000000000000' +
        '1100000000000000' +
        '2200000000000000' +
        '3300000000000000' +
        '4400000000000000',
    );
  });

  test('vhost-user "Memory regions description": guest address, size, user address, offset', () => {
    const bytes = memoryTableLayout.encode([
      { guestAddress: 1n, sizeBytes: 2n, userAddress: 3n, mmapOffset: 4n },
    ]);
    const words = ['01', '01', '02', '03', '04'].map((first) => `${first}00000000000000`);
    expect(hex(bytes)).toBe(words.join(''));
  });

  test('vhost-user SET_VRING_KICK: the index is in bits 0-7 and bit 8 says that no fd comes', () => {
    expect(hex(vringFdLayout.encode({ index: 3, hasFd: false }))).toBe('0301000000000000');
    expect(hex(vringFdLayout.encode({ index: 3, hasFd: true }))).toBe('0300000000000000');
  });

  test('a memory table is read by its count, whatever lies behind', () => {
    const region = { guestAddress: 1n, sizeBytes: 2n, userAddress: 3n, mmapOffset: 4n };
    const bytes = new Uint8Array(memoryTableLayout.bytesMax).fill(0xff);
    bytes.set(memoryTableLayout.encode([region]));
    // Room for two, as Linux's virtio_uml sends it, and as much as a payload has.
    expect(memoryTableLayout.decode(bytes.subarray(0, 72))).toEqual([region]);
    expect(memoryTableLayout.decode(bytes)).toEqual([region]);
  });

  test('a memory table that counts more than it holds is malformed', () => {
    const one = memoryTableLayout.encode([
      { guestAddress: 0n, sizeBytes: 1n, userAddress: 0n, mmapOffset: 0n },
    ]);
    one[0] = 2;
    expect(memoryTableLayout.decode(one)).toBeUndefined();
    one.fill(0xff, 0, 4);
    expect(memoryTableLayout.decode(one)).toBeUndefined();
  });

  test('decodes from a view into a larger buffer', () => {
    const buffer = new Uint8Array(32);
    buffer.set(u64Layout.encode(0x1122n), 5);
    expect(u64Layout.decode(buffer.subarray(5, 13))).toBe(0x1122n);
  });
});

describe('MessageReader', () => {
  test('wants the header, then exactly the payload, then the next header', () => {
    const reader = new MessageReader('backend');
    const bytes = encodeMessage(2, headerFlags.VERSION, u64Layout.encode(7n));
    expect(reader.wants).toBe(headerBytes);
    expect(reader.feed(bytes.subarray(0, headerBytes), [], false).kind).toBe('incomplete');
    expect(reader.wants).toBe(8);
    expect(reader.feed(bytes.subarray(headerBytes), [], false).kind).toBe('message');
    expect(reader.wants).toBe(headerBytes);
    expect(reader.midMessage).toBe(false);
  });

  test('a message without payload is complete with its header', () => {
    const step = new MessageReader('backend').feed(
      encodeMessage(1, headerFlags.VERSION, new Uint8Array(0)),
      [],
      false,
    );
    expect(step).toMatchObject({ kind: 'message', message: { request: 1, fds: [] } });
  });

  test('cuts any sequence of messages back out of any chunking, each with its own fds', () => {
    const messages = fc.array(
      fc.record({
        request: u32,
        payload: fc.uint8Array({ maxLength: 300 }),
        fds: fc.array(fc.nat(), { maxLength: fdsPerMessageMax }),
      }),
      { maxLength: 6 },
    );
    fc.assert(
      fc.property(messages, fc.infiniteStream(fc.integer({ min: 1, max: 64 })), (sent, chunks) => {
        const reader = new MessageReader('backend');
        const got: Message[] = [];
        for (const { request, payload, fds } of sent) {
          const bytes = encodeMessage(request, headerFlags.VERSION, payload);
          let left = fds;
          for (let at = 0; at < bytes.length; ) {
            const length = Math.min(reader.wants, chunks.next().value as number);
            const step = reader.feed(bytes.subarray(at, at + length), left, false);
            left = [];
            at += length;
            if (step.kind === 'message') got.push(step.message);
          }
        }
        expect(got).toEqual(sent.map((message) => ({ ...message, flags: headerFlags.VERSION })));
      }),
    );
  });

  test('fds that come with the payload belong to the message too', () => {
    const reader = new MessageReader('backend');
    const bytes = encodeMessage(5, headerFlags.VERSION, new Uint8Array(8));
    reader.feed(bytes.subarray(0, headerBytes), [10], false);
    const step = reader.feed(bytes.subarray(headerBytes), [11], false);
    expect(step).toMatchObject({ kind: 'message', message: { fds: [10, 11] } });
  });

  test('refuses a size above the bound before it wants a single byte of payload', () => {
    const header = encodeMessage(1, headerFlags.VERSION, new Uint8Array(0));
    new DataView(header.buffer).setUint32(8, payloadBytesMax + 1, true);
    const reader = new MessageReader('backend');
    expect(reader.feed(header, [4], false)).toMatchObject({
      kind: 'error',
      error: { code: 'BAD_SIZE' },
      fds: [4],
    });
    expect(reader.wants).toBe(0);
  });

  test.each([
    ['a version that is not 1', 'backend', 0x2, 'BAD_VERSION'],
    ['a reply at the backend', 'backend', 0x5, 'BAD_FLAGS'],
    ['a request at the frontend', 'frontend', 0x1, 'BAD_FLAGS'],
  ] as const)('refuses %s', (_, role, flags, code) => {
    const step = new MessageReader(role).feed(
      encodeMessage(1, flags, new Uint8Array(0)),
      [],
      false,
    );
    expect(step).toMatchObject({ kind: 'error', error: { code } });
  });

  test('a frontend reads replies', () => {
    const reply = encodeMessage(1, 0x5, new Uint8Array(0));
    expect(new MessageReader('frontend').feed(reply, [], false).kind).toBe('message');
  });

  test('hands every fd back when there are too many, or when the kernel dropped some', () => {
    const many = Array.from({ length: fdsPerMessageMax + 1 }, (_, i) => i);
    const first = new Uint8Array(1);
    expect(new MessageReader('backend').feed(first, many, false)).toMatchObject({
      error: { code: 'BAD_FDS' },
      fds: many,
    });
    expect(new MessageReader('backend').feed(first, [1, 2], true)).toMatchObject({
      error: { code: 'BAD_FDS' },
      fds: [1, 2],
    });
  });

  test('is mid-message from the first byte or fd on', () => {
    const bytes = new MessageReader('backend');
    bytes.feed(new Uint8Array(1), [], false);
    expect(bytes.midMessage).toBe(true);
    const fd = new MessageReader('backend');
    fd.feed(new Uint8Array(0), [3], false);
    expect(fd.midMessage).toBe(true);
    expect(fd.abandon()).toEqual([3]);
  });

  test('being fed more than it wants is the owner’s mistake', () => {
    const reader = new MessageReader('backend');
    expect(() => reader.feed(new Uint8Array(headerBytes + 1), [], false)).toThrow(RangeError);
  });

  test('decodes the header it encodes', () => {
    const bytes = encodeMessage(37, 0x9, new Uint8Array(40));
    expect(decodeHeader(bytes)).toEqual({ request: 37, flags: 9, sizeBytes: 40 });
  });
});
