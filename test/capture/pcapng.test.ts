/**
 * Captures as bytes: what is written is read again, by this code and by tcpdump; what others write
 * is read; and what is damaged is said to be.
 */

import { execFileSync } from 'node:child_process';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  decodeCapture,
  encodeInterface,
  encodeSectionHeader,
  packetsIn,
} from '../../src/capture/pcapng.ts';
import type { CapturedPacket } from '../../src/index.ts';

const codeOf = (code: string) => expect.objectContaining({ code });

const anyPacket: fc.Arbitrary<CapturedPacket> = fc
  .record({
    timeNs: fc.bigInt({ min: 0n, max: (1n << 61n) - 1n }),
    direction: fc.constantFrom('fromGuest' as const, 'toGuest' as const, undefined),
    comments: fc.array(fc.string({ unit: 'grapheme', maxLength: 40 }), { maxLength: 3 }),
    lost: fc.nat(),
    data: fc.uint8Array({ minLength: 14, maxLength: 300 }),
    cutBytes: fc.nat(2000),
  })
  .map(({ direction, data, cutBytes, ...rest }) => ({
    ...rest,
    port: 'web 1',
    ...(direction === undefined ? {} : { direction }),
    frameBytes: data.length + cutBytes,
    data: Buffer.from(data),
  }));

const fileOf = (packets: readonly CapturedPacket[]) =>
  Buffer.concat([
    encodeSectionHeader(),
    encodeInterface('web 1', 65550),
    ...packets.map(encodePacket),
  ]);

/** A block with its numbers in the other byte order, as the hexadecimal of its body gives it. */
function bigEndianBlock(type: number, body: string): Buffer {
  const bytes = Buffer.from(body.replaceAll(' ', ''), 'hex');
  const frame = Buffer.alloc(8);
  frame.writeUInt32BE(type, 0);
  frame.writeUInt32BE(bytes.length + 12, 4);
  return Buffer.concat([frame, bytes, frame.subarray(4)]);
}

const u16 = (value: number) => Buffer.from(Uint16Array.of(value).buffer);
const u32 = (value: number) => Buffer.from(Uint32Array.of(value).buffer);

function littleBlock(type: number, body: Buffer): Buffer {
  const padding = Buffer.alloc(-body.length & 3);
  const bytes = u32(body.length + padding.length + 12);
  return Buffer.concat([u32(type), bytes, body, padding, bytes]);
}

const littleInterface = (options = Buffer.alloc(0)) =>
  littleBlock(1, Buffer.concat([u16(1), u16(0), u32(0), options]));

const paddingOf = (bytes: Uint8Array) => Buffer.alloc(-bytes.length & 3);
const littleOption = (code: number, value: Buffer) =>
  Buffer.concat([u16(code), u16(value.length), value, paddingOf(value)]);

/** As the data plane writes them (native/core/policy/packet_block.h), and with any comments. */
function encodePacket(packet: Omit<CapturedPacket, 'port'>): Buffer {
  const { timeNs, comments, direction, data, frameBytes, lost } = packet;
  const flags = direction === 'fromGuest' ? 1 : 2;
  const numbers = [0, Number(timeNs >> 32n), Number(timeNs & 0xffff_ffffn), data.length];
  const body = [
    ...[...numbers, frameBytes].map(u32),
    ...[data, paddingOf(data)],
    ...comments.map((comment) => littleOption(1, Buffer.from(comment))),
    ...(direction === undefined ? [] : [littleOption(2, u32(flags))]),
    ...(lost === 0 ? [] : [littleOption(4, Buffer.concat([u32(lost), u32(0)]))]),
    littleOption(0, Buffer.alloc(0)),
  ];
  return littleBlock(6, Buffer.concat(body));
}

/** A packet that begins with `start`, at a time in units of its interface. */
function timedBlock(type: number, start: Buffer, units: bigint, options = Buffer.alloc(0)): Buffer {
  const time = [u32(Number(units >> 32n)), u32(Number(units & 0xffff_ffffn))];
  return littleBlock(type, Buffer.concat([start, ...time, u32(16), u32(16), frame, options]));
}

function withByte(file: Buffer, at: number, value: number): Buffer {
  const changed = Buffer.from(file);
  changed[at] = value;
  return changed;
}

const frame = Buffer.from('ffffffffffff52540000000188b5abcd', 'hex');

const withPackets = (...start: Buffer[]) =>
  Buffer.concat([
    ...start,
    encodePacket({ timeNs: 0n, comments: [], lost: 0, frameBytes: 16, data: frame }),
  ]);

/** Of IP without Ethernet. */
const rawInterface = encodeInterface('tun', 100);
rawInterface.writeUInt16LE(101, 8);

describe('a capture', () => {
  test('is read as it was written', () => {
    fc.assert(
      fc.property(fc.array(anyPacket, { maxLength: 5 }), (packets) => {
        expect(decodeCapture(fileOf(packets))).toEqual(packets);
      }),
    );
  });

  test('has as many packets as were written', () => {
    fc.assert(
      fc.property(fc.array(anyPacket, { maxLength: 5 }), (packets) => {
        expect(packetsIn(Buffer.concat(packets.map(encodePacket)))).toBe(packets.length);
      }),
    );
  });

  test('is read up to a block that was not written to its end', () => {
    fc.assert(
      fc.property(anyPacket, fc.nat(400), (packet, more) => {
        const whole = fileOf([packet, packet]);
        const one = fileOf([packet]);
        const cut = whole.subarray(0, Math.min(one.length + more, whole.length - 1));
        expect(decodeCapture(cut)).toEqual([packet]);
      }),
    );
  });

  test('is never the end of the process, whatever its bytes are', () => {
    const start = fileOf([]);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(start.length + 50), (noise, at) => {
        const bytes = Buffer.concat([start, Buffer.alloc(100)]);
        bytes.set(noise.subarray(0, bytes.length - at), at);
        try {
          decodeCapture(bytes);
        } catch (error) {
          expect(error).toMatchObject({ code: 'BAD_CAPTURE' });
        }
      }),
      { numRuns: 1000 },
    );
  });

  test('of tcpdump, which writes pcap, has the same packets', () => {
    const packets = [1n, 1_700_000_000_123_456_789n].map((timeNs) => ({
      timeNs,
      port: '',
      comments: [],
      lost: 0,
      frameBytes: 100,
      data: frame,
    }));
    const pcap = (...options: string[]) =>
      execFileSync('tcpdump', ['-r', '-', '-w', '-', ...options], {
        input: fileOf(packets),
        stdio: ['pipe', 'pipe', 'ignore'],
      });
    expect(decodeCapture(pcap('--nano'))).toEqual(packets);
    expect(decodeCapture(pcap()).map(({ timeNs }) => timeNs)).toEqual([
      0n,
      1_700_000_000_123_456_000n,
    ]);
  });

  test('of a big-endian machine is read, with simple packets and blocks that are not known', () => {
    const file = Buffer.concat([
      bigEndianBlock(0x0a0d0d0a, '1a2b3c4d 0001 0000 ffffffffffffffff'),
      // Named e0, in units of 2^-10 s.
      bigEndianBlock(1, '0001 0000 00040000 0002 0002 65300000 0009 0001 8a000000 00000000'),
      bigEndianBlock(0xbad, '01020304'),
      bigEndianBlock(
        6,
        `00000000 00000000 00000c00 00000010 00000040 ${frame.toString('hex')} 0002 0004 00000002 00000000`,
      ),
      bigEndianBlock(3, `00000010 ${frame.toString('hex')}`),
    ]);
    const rest = { port: 'e0', comments: [], lost: 0, data: frame };
    expect(decodeCapture(file)).toEqual([
      { ...rest, timeNs: 3_000_000_000n, direction: 'toGuest', frameBytes: 64 },
      { ...rest, timeNs: 0n, untimed: true, frameBytes: 16 },
    ]);
  });

  describe('of others is read in full', () => {
    const section = encodeSectionHeader();
    const second = 1_000_000n;
    const start = 1_700_000_000n;
    const rest = { port: '', comments: [], lost: 0, frameBytes: 16, data: frame };
    const at = (timeNs: bigint) => ({ ...rest, timeNs });

    test('also where an interface counts from a time of its own', () => {
      const offset = Buffer.alloc(16);
      offset.writeUInt16LE(14, 0);
      offset.writeUInt16LE(8, 2);
      offset.writeBigInt64LE(start, 4);
      const before = Buffer.from(offset);
      before.writeBigInt64LE(-1n, 4);
      const file = Buffer.concat([
        section,
        littleInterface(),
        littleInterface(offset),
        littleInterface(before),
        timedBlock(6, u32(0), start * second),
        timedBlock(6, u32(1), 5000n),
        timedBlock(6, u32(2), 3n * second),
      ]);
      expect(decodeCapture(file)).toEqual(
        [start * 1_000_000_000n, start * 1_000_000_000n + 5_000_000n, 2_000_000_000n].map(at),
      );
    });

    test('also with the packet blocks of old writers', () => {
      const flags = Buffer.from('0200040001000000 00000000'.replace(' ', ''), 'hex');
      const file = Buffer.concat([
        section,
        littleInterface(),
        timedBlock(2, Buffer.concat([u16(0), u16(3)]), start * second, flags),
        timedBlock(2, Buffer.concat([u16(0), u16(0xffff)]), start * second),
      ]);
      const timeNs = start * 1_000_000_000n;
      expect(decodeCapture(file)).toEqual([
        { ...at(timeNs), lost: 3, direction: 'fromGuest' },
        at(timeNs),
      ]);
      const stranger = timedBlock(2, Buffer.concat([u16(1), u16(0)]), 0n);
      expect(() => decodeCapture(Buffer.concat([section, littleInterface(), stranger]))).toThrow(
        codeOf('BAD_CAPTURE'),
      );
    });

    test('also between names, statistics, secrets and other blocks that are no packets', () => {
      const others = [4, 5, 9, 10, 0xbad, 0x4000_0bad].map((type) => littleBlock(type, u32(7)));
      const file = Buffer.concat([
        section,
        littleInterface(),
        ...others.flatMap((other) => [other, timedBlock(6, u32(0), 0n)]),
      ]);
      expect(decodeCapture(file)).toEqual(Array(others.length).fill(at(0n)));
    });

    test('also of simple packets that were cut, whose bytes are padded', () => {
      const cut = Buffer.concat([u16(1), u16(0), u32(14)]);
      const simple = littleBlock(3, Buffer.concat([u32(16), frame.subarray(0, 14)]));
      const file = Buffer.concat([section, littleBlock(1, cut), simple]);
      const [packet] = decodeCapture(file);
      expect(packet).toEqual({ ...at(0n), untimed: true, data: frame.subarray(0, 14) });
    });

    test('also where frames have their checksums, which are no part of them', () => {
      const option = (octets: number) => Buffer.from([13, 0, 1, 0, octets, 0, 0, 0]);
      for (const octets of [4, 32]) {
        const sum = [littleInterface(option(octets)), timedBlock(6, u32(0), 0n)];
        const [packet] = decodeCapture(Buffer.concat([section, ...sum]));
        expect(packet).toMatchObject({ frameBytes: 12, data: frame.subarray(0, 12) });
      }
      const flags = Buffer.from([2, 0, 4, 0, 4 << 5, 0, 0, 0]);
      const flagged = [littleInterface(), timedBlock(6, u32(0), 0n, flags)];
      const [packet] = decodeCapture(Buffer.concat([section, ...flagged]));
      expect(packet).toMatchObject({ frameBytes: 12 });
      const odd = Buffer.concat([section, littleInterface(option(9))]);
      expect(() => decodeCapture(odd)).toThrow(codeOf('BAD_CAPTURE'));
    });

    test('and as pcap, of the one version that there is', () => {
      const pcap = (link: number, minor = 4) => {
        const head = [u32(0xa1b2c3d4), u16(2), u16(minor), u32(0), u32(0), u32(65_535), u32(link)];
        return Buffer.concat([...head, u32(1), u32(2), u32(16), u32(16), frame]);
      };
      expect(decodeCapture(pcap(1))).toEqual([at(1_000_002_000n)]);
      const sum = 0x2400_0001;
      expect(decodeCapture(pcap(sum))).toMatchObject([{ frameBytes: 12 }]);
      expect(() => decodeCapture(pcap(1, 3))).toThrow(/pcap of version 2\.3; only 2\.4 is known/);
    });
  });

  test.each<[string, Buffer, RegExp]>([
    ['compressed', gzipSync(fileOf([])), /but compressed; use `gunzip` first/],
    ['of another version', withByte(fileOf([]), 12, 2), /pcapng of version 2; only 1 is known/],
    ['whose block ends as another', withByte(fileOf([]), 24, 99), /which ends as one of/],
  ])('%s is refused with a sentence', (_, file, sentence) => {
    expect(() => decodeCapture(file)).toThrow(sentence);
  });

  test.each<[string, Buffer]>([
    ['nothing', Buffer.alloc(0)],
    ['text', Buffer.from('a text that is longer than twenty-four bytes')],
    ['a packet of an interface that is not described', withPackets(encodeSectionHeader())],
    ['of another kind of link', withPackets(encodeSectionHeader(), rawInterface)],
  ])('is not %s', (_, file) => {
    expect(() => decodeCapture(file)).toThrow(codeOf('BAD_CAPTURE'));
  });
});
