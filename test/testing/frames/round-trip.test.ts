/**
 * What is built is what is parsed, checksums are right and notice damage, and no bytes whatsoever
 * make the parser fail.
 */

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { canonicalAddress } from '../../../src/testing/frames/address.ts';
import {
  arp,
  build,
  describe as inWords,
  type ParsedFrame,
  parse,
  tcp4,
  tcp6,
  udp4,
  udp6,
} from '../../../src/testing/index.ts';
import { anyFrame } from './arbitrary.ts';

const checksummed = ['ip4', 'udp', 'tcp', 'icmp4', 'icmp6'] as const;

/** Every field that was given, in the form that parsing gives. */
function canonical(value: unknown): unknown {
  if (typeof value === 'string') return canonicalAddress(value);
  if (value instanceof Uint8Array) return [...value];
  if (Array.isArray(value)) return value.map(canonical);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, canonical(field)]));
}

test('every field that is built is parsed again', () => {
  fc.assert(
    fc.property(anyFrame, (fields) => {
      const parsed = parse(build(fields));
      expect(parsed.malformed).toBeUndefined();
      // The first byte of an extension header says what follows it: the builder writes it.
      const { ip6, ...rest } = fields;
      expect(canonical(parsed)).toMatchObject(canonical(rest) as object);
      if (ip6 !== undefined) {
        const { extensions = [], ...header } = ip6;
        expect(parsed.ip6).toMatchObject(canonical(header) as object);
        const kinds = (list: readonly { readonly protocol: number }[]) =>
          list.map(({ protocol }) => protocol);
        expect(kinds(parsed.ip6!.extensions)).toEqual(kinds(extensions));
      }
    }),
  );
});

test('what is parsed builds the same bytes', () => {
  fc.assert(
    fc.property(anyFrame, (fields) => {
      const frame = build(fields);
      expect([...build(parse(frame))]).toEqual([...frame]);
    }),
  );
});

test('computed checksums are right', () => {
  fc.assert(
    fc.property(anyFrame, (fields) => {
      const parsed = parse(build(fields));
      for (const name of checksummed) expect(parsed[name]?.checksumOk ?? true, name).toBe(true);
    }),
  );
});

test('a byte changed behind the addresses and ports makes a checksum wrong', () => {
  const ends = { to: '52:54:00:00:00:02', from: '52:54:00:00:00:01', sourcePort: 1, targetPort: 2 };
  const four = { ...ends, source: '10.0.0.1', target: '10.0.0.2' };
  const six = { ...ends, source: 'fe80::1', target: 'fe80::2' };
  const payload = fc.uint8Array({ minLength: 1, maxLength: 64 });
  const change = fc.integer({ min: 1, max: 255 });
  for (const [make, layer, fields] of [
    [udp4, 'udp', four],
    [udp6, 'udp', six],
    [tcp4, 'tcp', four],
    [tcp6, 'tcp', six],
  ] as const) {
    fc.assert(
      fc.property(payload, change, fc.nat(), (carried, by, where) => {
        const frame = make({ ...fields, payload: carried });
        const at = frame.length - 1 - (where % carried.length);
        frame[at] = frame[at]! ^ by;
        expect(parse(frame)[layer]?.checksumOk).toBe(false);
        expect(inWords(frame)).toContain(`wrong ${layer} checksum`);
      }),
      { numRuns: 50 },
    );
  }
});

test('no bytes make parsing or describing fail', () => {
  const header = fc.uint8Array({ minLength: 12, maxLength: 12 });
  const type = fc.constantFrom(0x0800, 0x0806, 0x86dd, 0x8100, 0x88a8, 0x88b5);
  const rest = fc.uint8Array({ maxLength: 120 });
  fc.assert(
    fc.property(header, type, rest, (addresses, etherType, carried) => {
      const frame = Uint8Array.of(...addresses, etherType >> 8, etherType & 0xff, ...carried);
      expect(typeof inWords(frame)).toBe('string');
    }),
    { numRuns: 500 },
  );
});

test('a frame cut off anywhere is parsed as far as it goes, and says so', () => {
  fc.assert(
    fc.property(anyFrame, fc.nat(), (fields, where) => {
      const frame = build(fields);
      const length = 14 + (where % (frame.length - 13));
      const parsed: ParsedFrame = parse(frame.subarray(0, length));
      const carriesLength = fields.arp ?? fields.ip4 ?? fields.ip6;
      const headBytes = 14 + 4 * (fields.vlans?.length ?? 0);
      if (length < frame.length && length >= headBytes && carriesLength !== undefined) {
        expect(parsed.malformed).toBeDefined();
      }
      expect(inWords(parsed).length).toBeGreaterThan(0);
    }),
  );
});

test.each([
  ['a MAC address', () => arp({ senderMac: 'x', senderIp: '10.0.0.1', targetIp: '10.0.0.2' })],
  [
    'an IPv4 address',
    () => arp({ senderMac: '52:54:00:00:00:01', senderIp: '10.0.0', targetIp: '10.0.0.2' }),
  ],
  [
    'a port',
    () =>
      udp4({
        to: '52:54:00:00:00:02',
        from: '52:54:00:00:00:01',
        source: '10.0.0.1',
        target: '10.0.0.2',
        sourcePort: 65536,
        targetPort: 1,
      }),
  ],
  [
    'a payload',
    () =>
      build({
        ethernet: { to: '52:54:00:00:00:02', from: '52:54:00:00:00:01' },
        payload: new Uint8Array(65536),
      }),
  ],
  [
    'layers on top of each other',
    () =>
      build({
        ethernet: { to: '52:54:00:00:00:02', from: '52:54:00:00:00:01' },
        udp: { sourcePort: 1, targetPort: 2 },
      }),
  ],
  ['a frame to parse', () => parse(new Uint8Array(13))],
  ['text as a frame', () => parse('frame' as unknown as Uint8Array)],
  [
    'an absent address',
    () => udp4({ sourcePort: 1, targetPort: 2 } as unknown as Parameters<typeof udp4>[0]),
  ],
  [
    'a number as a payload',
    () =>
      build({
        ethernet: { to: '52:54:00:00:00:02', from: '52:54:00:00:00:01' },
        payload: 7 as unknown as string,
      }),
  ],
])('%s that cannot be is refused with a code', (_, attempt) => {
  expect(attempt).toThrow(expect.objectContaining({ code: 'BAD_FRAME' }));
});
