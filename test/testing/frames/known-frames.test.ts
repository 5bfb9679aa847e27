/**
 * Frames against what others make of them: checksums of frames whose bytes are published, and
 * tcpdump, which reads a capture of every kind of frame the builders make.
 */

import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { checksum } from '../../../src/testing/frames/checksum.ts';
import {
  arp,
  build,
  icmp4,
  icmp6,
  describe as inWords,
  parse,
  tcp4,
  tcp6,
  udp4,
  udp6,
} from '../../../src/testing/index.ts';
import { needs } from '../../support/needs.ts';
import { anyFrame } from './arbitrary.ts';

const to = '52:54:00:00:00:02';
const from = '52:54:00:00:00:01';
const four = { to, from, source: '10.0.0.1', target: '10.0.0.2' };
const six = { to, from, source: 'fe80::1', target: 'fe80::2' };
const ports = { sourcePort: 4000, targetPort: 53 };

function tcpdumpMissing(): string | undefined {
  try {
    execFileSync('which', ['tcpdump']);
    return undefined;
  } catch {
    return 'tcpdump is not installed';
  }
}

/** What tcpdump says of each frame, several lines joined to one. */
function tcpdump(frames: readonly Uint8Array[]): string[] {
  const head = Buffer.alloc(24);
  head.writeUInt32LE(0xa1b2c3d4, 0);
  head.writeUInt16LE(2, 4);
  head.writeUInt16LE(4, 6);
  head.writeUInt32LE(65535, 16);
  head.writeUInt32LE(1, 20);
  const records = frames.flatMap((frame, i) => {
    const record = Buffer.alloc(16);
    record.writeUInt32LE(i, 0);
    record.writeUInt32LE(frame.length, 8);
    record.writeUInt32LE(frame.length, 12);
    return [record, frame];
  });
  const said = execFileSync('tcpdump', ['-vv', '-n', '-tt', '-r', '-'], {
    input: Buffer.concat([head, ...records]),
    stdio: ['pipe', 'pipe', 'ignore'],
    encoding: 'utf8',
    maxBuffer: 64 << 20,
  });
  return said.split(/^(?=\d+\.000000 )/m).map((lines) => lines.replaceAll(/\s+/g, ' '));
}

describe('known checksums', () => {
  test('RFC 1071 §3: the example of the sum', () => {
    const bytes = Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7);
    expect(checksum(bytes)).toBe(~0xddf2 & 0xffff);
  });

  test('an IPv4 header with the checksum 0xb861', () => {
    const header = Buffer.from('45000073000040004011b861c0a80001c0a800c7', 'hex');
    expect(checksum(header)).toBe(0);
    const frame = build({
      ethernet: { to, from },
      ip4: { source: '192.168.0.1', target: '192.168.0.199', dontFragment: true, protocol: 17 },
      payload: new Uint8Array(0x73 - 20),
    });
    expect(Buffer.from(frame.subarray(14, 34)).equals(header)).toBe(true);
  });

  test('RFC 768: a UDP checksum that comes out as 0 is sent as 0xffff', () => {
    const datagram = (payload: Uint8Array) => parse(udp4({ ...four, ...ports, payload })).udp!;
    const { checksum: without } = datagram(Uint8Array.of(0, 0));
    // Adding what is missing to the sum makes it all ones, and its complement 0.
    const payload = Uint8Array.of(without >> 8, without & 0xff);
    expect(datagram(payload)).toMatchObject({ checksum: 0xffff, checksumOk: true });
  });
});

describe('tcpdump', needs(tcpdumpMissing()), () => {
  test('finds every checksum correct', () => {
    const frames = fc.sample(anyFrame, { numRuns: 300, seed: 1 }).map(build);
    const said = tcpdump(frames);
    expect(said).toHaveLength(frames.length);
    expect(said.filter((line) => /incorrect|bad cksum|bad .?cksum/i.test(line))).toEqual([]);
    // It did look: what has ports says "correct" or "ok" wherever tcpdump dissects it that far.
    const looked = said.filter((line) => /\(correct\)|udp sum ok/.test(line));
    expect(looked.length).toBeGreaterThan(30);
  });

  test('finds a wrong checksum where one was given', () => {
    const [line] = tcpdump([tcp4({ ...four, ...ports, checksum: 0x1234 })]);
    expect(line).toContain('cksum 0x1234 (incorrect');
  });

  test.each([
    [
      arp({ senderMac: from, senderIp: '10.0.0.1', targetIp: '10.0.0.2' }),
      'ARP who-has 10.0.0.2 tell 10.0.0.1',
      'who-has 10.0.0.2 tell 10.0.0.1',
    ],
    [
      arp({
        operation: 'reply',
        senderMac: to,
        senderIp: '10.0.0.2',
        targetMac: from,
        targetIp: '10.0.0.1',
      }),
      `ARP 10.0.0.2 is-at ${to}`,
      `10.0.0.2 is-at ${to}`,
    ],
    [
      udp4({ ...four, sourcePort: 4000, targetPort: 4001, payload: 'hello' }),
      'IP 10.0.0.1.4000 > 10.0.0.2.4001: UDP, length 5',
      '10.0.0.1.4000 > 10.0.0.2.4001: [udp sum ok] UDP, length 5',
    ],
    [
      udp6({ ...six, sourcePort: 4000, targetPort: 4001, payload: 'hello' }),
      'IP6 fe80::1.4000 > fe80::2.4001: UDP, length 5',
      'fe80::1.4000 > fe80::2.4001: [udp sum ok] UDP, length 5',
    ],
    [
      tcp4({
        ...four,
        sourcePort: 4000,
        targetPort: 80,
        flags: 'S.',
        sequence: 7,
        acknowledgment: 9,
      }),
      'IP 10.0.0.1.4000 > 10.0.0.2.80: TCP [S.], seq 7, ack 9, win 65535, length 0',
      '(correct), seq 7, ack 9, win 65535, length 0',
    ],
    [
      tcp6({ ...six, sourcePort: 4000, targetPort: 80, flags: 'F' }),
      'IP6 fe80::1.4000 > fe80::2.80: TCP [F], seq 0, ack 0, win 65535, length 0',
      'fe80::1.4000 > fe80::2.80: Flags [F]',
    ],
    [
      icmp4({ ...four, id: 3, sequence: 4, payload: 'ping' }),
      'IP 10.0.0.1 > 10.0.0.2: ICMP echo request, id 3, seq 4, length 4',
      '10.0.0.1 > 10.0.0.2: ICMP echo request, id 3, seq 4',
    ],
    [
      icmp6({ ...six, id: 3, sequence: 4 }),
      'IP6 fe80::1 > fe80::2: ICMP6 echo request, id 3, seq 4, length 0',
      'ICMP6, echo request, id 3, seq 4',
    ],
    [
      icmp6({ ...six, type: 135, targetIp: 'fe80::2', linkAddress: from }),
      `IP6 fe80::1 > fe80::2: ICMP6 neighbour solicitation of fe80::2 at ${from}, length 0`,
      `who has fe80::2 source link-address option (1), length 8 (1): ${from}`,
    ],
    [
      udp4({ ...four, ...ports, vlan: 7, sourcePort: 1, targetPort: 4001 }),
      'vlan 7, IP 10.0.0.1.1 > 10.0.0.2.4001: UDP, length 0',
      '10.0.0.1.1 > 10.0.0.2.4001: [udp sum ok] UDP, length 0',
    ],
  ])('frame %#: describe() says %s', (frame, words, itsWords) => {
    expect(inWords(frame)).toBe(words);
    expect(tcpdump([frame])[0]).toContain(itsWords);
  });
});
