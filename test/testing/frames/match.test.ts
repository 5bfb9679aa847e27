/** What a pattern accepts, and what a test reads when a frame is not the one it expected. */

import { describe, expect, test } from 'vitest';
import { TsvswitchError } from '../../../src/model/errors.ts';
import {
  arp,
  assertFrame,
  expectFrame,
  type FrameMatcher,
  type FrameSource,
  parse,
  udp4,
  udp6,
} from '../../../src/testing/index.ts';

const to = '52:54:00:00:00:02';
const from = '52:54:00:00:00:01';
const whoHas = (targetIp: string) => arp({ senderMac: from, senderIp: '10.0.0.1', targetIp });
const datagram = udp4({
  to,
  from,
  source: '10.0.0.1',
  target: '10.0.0.2',
  sourcePort: 4000,
  targetPort: 53,
  payload: 'hello',
});

/** Frames that are there at once, and then nothing. */
function sourceOf(frames: readonly Uint8Array[]): FrameSource {
  const left = [...frames];
  return {
    async receive() {
      const frame = left.shift();
      if (frame === undefined) throw new TsvswitchError('TIMEOUT', 'no more frames');
      return frame;
    },
  };
}

function messageOf(frame: Uint8Array, matcher: FrameMatcher): string {
  try {
    assertFrame(frame, matcher);
  } catch (error) {
    expect(error).toMatchObject({ code: 'FRAME_MISMATCH' });
    return (error as Error).message;
  }
  return 'it matches';
}

describe('a frame matches', () => {
  test.each<[string, FrameMatcher, Uint8Array]>([
    ['a layer that is there', { arp: {} }, whoHas('10.0.0.2')],
    ['a value', { arp: { operation: 'request', targetIp: '10.0.0.2' } }, whoHas('10.0.0.2')],
    ['a value in several layers', { ip4: { ttl: 64 }, udp: { targetPort: 53 } }, datagram],
    ['a function of a value', { udp: { sourcePort: (port) => port >= 1024 } }, datagram],
    ['a payload in words', { payload: 'hello' }, datagram],
    ['a function of the frame', ({ udp }) => udp !== undefined, datagram],
    ['its own bytes', datagram, datagram],
    ['no VLAN tag', { vlans: [] }, datagram],
    [
      'an address in another form',
      { ethernet: { to: '52-54-00-00-00-02' }, ip6: { source: 'FE80:0::1' } },
      udp6({ to, from, source: 'fe80::1', target: 'fe80::2', sourcePort: 1, targetPort: 2 }),
    ],
  ])('%s', (_, matcher, frame) => {
    expect(assertFrame(frame, matcher)).toEqual(parse(frame));
  });
});

describe('a frame that differs is shown beside what was expected', () => {
  test.each<[Uint8Array, FrameMatcher, string]>([
    [
      whoHas('10.0.0.3'),
      { arp: { operation: 'request', targetIp: '10.0.0.2' } },
      'expected ARP who-has 10.0.0.2, got ARP who-has 10.0.0.3 tell 10.0.0.1 ' +
        '(arp.targetIp is 10.0.0.3, not 10.0.0.2)',
    ],
    [
      whoHas('10.0.0.3'),
      { udp: { targetPort: 53 } },
      'expected IP * > *.53: UDP, got ARP who-has 10.0.0.3 tell 10.0.0.1 (it has no udp)',
    ],
    [
      datagram,
      { ip4: { ttl: 63 }, udp: {} },
      'expected IP * > *: UDP with ip4.ttl 63, got IP 10.0.0.1.4000 > 10.0.0.2.53: UDP, length 5 ' +
        '(ip4.ttl is 64, not 63)',
    ],
    [
      datagram,
      { payload: 'hallo' },
      'expected a frame with payload hallo, got IP 10.0.0.1.4000 > 10.0.0.2.53: UDP, length 5 ' +
        '(payload is <68 65 6c 6c 6f>, not hallo)',
    ],
    [
      datagram,
      { vlans: [{ id: 7 }] },
      'expected vlan 7, a frame, got IP 10.0.0.1.4000 > 10.0.0.2.53: UDP, length 5 ' +
        '(it has 0 VLAN tags, not 1)',
    ],
    [
      whoHas('10.0.0.3'),
      whoHas('10.0.0.2'),
      'expected exactly ARP who-has 10.0.0.2 tell 10.0.0.1, got ARP who-has 10.0.0.3 tell 10.0.0.1 ' +
        '(byte 41 is 0x03, not 0x02)',
    ],
  ])('%#', (frame, matcher, message) => {
    expect(messageOf(frame, matcher)).toBe(message);
  });
});

describe('expecting a frame', () => {
  test('passes over those that differ', async () => {
    const source = sourceOf([whoHas('10.0.0.3'), datagram, whoHas('10.0.0.2')]);
    const found = await expectFrame(source, { arp: { targetIp: '10.0.0.2' } });
    expect(found.arp?.senderMac).toBe(from);
  });

  test('says that nothing came', async () => {
    await expect(
      expectFrame(
        sourceOf([]),
        { arp: { operation: 'request', targetIp: '10.0.0.2' } },
        { within: 5 },
      ),
    ).rejects.toMatchObject({
      code: 'TIMEOUT',
      message: 'expected ARP who-has 10.0.0.2, got nothing within 5 ms',
    });
  });

  test('shows the last frames that came instead', async () => {
    const others = Array.from({ length: 7 }, (_, i) => whoHas(`10.0.1.${i}`));
    await expect(
      expectFrame(sourceOf(others), { arp: { targetIp: '10.0.0.2' } }, { within: 5000 }),
    ).rejects.toMatchObject({
      code: 'TIMEOUT',
      message: expect.stringMatching(
        /^expected ARP about 10\.0\.0\.2, got 7 other frames within 5000 ms; the last 5:\n {2}ARP who-has 10\.0\.1\.2 .*10\.0\.1\.6 tell 10\.0\.0\.1 \(arp\.targetIp is 10\.0\.1\.6, not 10\.0\.0\.2\)$/s,
      ),
    });
  });

  test('ends at its limit even if other frames keep coming', async () => {
    const busy: FrameSource = {
      receive: () => new Promise((resolve) => setImmediate(() => resolve(datagram))),
    };
    await expect(expectFrame(busy, { arp: {} }, { within: 20 })).rejects.toMatchObject({
      code: 'TIMEOUT',
    });
  });

  test('passes on whatever else ends the source', async () => {
    const closed: FrameSource = {
      receive: () => Promise.reject(new TsvswitchError('CLOSED', 'closed')),
    };
    await expect(expectFrame(closed, { arp: {} })).rejects.toMatchObject({ code: 'CLOSED' });
  });
});
