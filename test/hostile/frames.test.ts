/**
 * Frames and headers that lie (attacks/frames.ts), and rings that are odd but legal
 * (attacks/layouts.ts). What breaks no rule is forwarded whole; what cannot be is counted under its
 * reason and handed back, and the queue goes on with the next frame.
 */

import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { Arena, patience } from './arena.ts';
import {
  checksumLinks,
  emptyLies,
  hiddenChecksums,
  lies,
  offerCrumbs,
  showOtherLaps,
  tcpFrame,
  transmitter,
} from './attacks/frames.ts';
import { layoutsIn, move } from './attacks/layouts.ts';
import { formats, type Link, packet, type RawQueue, receiveq, transmitq } from './raw-queue.ts';
import { fromAttacker, toAttacker } from './stage.ts';

let arena: Arena;
beforeAll(async () => {
  arena = await Arena.open();
});
afterAll(() => arena.close());

/** Offers one chain, waits until it was handed back, and returns what was dropped meanwhile. */
async function dropsOf(ring: RawQueue, links: readonly Link[]) {
  const before = await arena.drops();
  ring.offer(links);
  ring.kick();
  await vi.waitFor(() => expect(ring.isDrained).toBe(true), patience);
  const after = await arena.drops();
  return Object.fromEntries(
    Object.entries(after).flatMap(([reason, count]) =>
      count > before[reason]! ? [[reason, count - before[reason]!]] : [],
    ),
  );
}

/** The transmitq is as healthy as before, and the operator was not bothered. */
async function expectGoesOn(ring: RawQueue): Promise<void> {
  expect(await dropsOf(ring, [ring.buffer(packet(fromAttacker(77)))])).toEqual({});
  await arena.arrives(fromAttacker(77));
  const { frontend } = await arena.status();
  expect(frontend?.rings.map(({ state }) => state)).toEqual(['started', 'started']);
  expect(arena.warnings).toEqual([]);
}

describe.each(formats)('in a %s ring', (format) => {
  describe.each([
    ['transmitq', transmitq],
    ['receiveq', receiveq],
  ] as const)('%s', (_, queue) => {
    test.each(layoutsIn(format))('class $class: $name is served', (layout) =>
      arena.attack(async () => {
        const before = await arena.drops();
        const ring = await move(arena, format, queue, layout);
        await vi.waitFor(() => expect(ring.isDrained).toBe(true), patience);
        if (layout.id !== undefined) expect(ring.guest.raw.packedRing(queue).id(0)).toBe(layout.id);
        expect(await arena.drops()).toEqual(before);
        expect(arena.warnings).toEqual([]);
      }),
    );
  });

  test.each(lies)('class $class: $name is counted and handed back', ({ drops, links }) =>
    arena.attack(async () => {
      const ring = await transmitter(arena, format);
      const offered = links(ring);
      expect(await dropsOf(ring, offered)).toEqual(drops);
      if (offered.length === 1) await expectGoesOn(ring);
      expect(arena.warnings).toEqual([]);
    }),
  );

  test.each(emptyLies)('class $class: $name changes nothing about the packet', ({ links }) =>
    arena.attack(async () => {
      const ring = await transmitter(arena, format);
      expect(await dropsOf(ring, links(ring))).toEqual({});
      // The peer takes no checksums to complete: only that field is another one.
      const received = Buffer.from(await arena.nextAtPeer());
      expect(received.readUInt16BE(50)).not.toBe(0);
      received.writeUInt16BE(0, 50);
      expect(Buffer.compare(received.subarray(34), tcpFrame().subarray(34))).toBe(0);
      await expectGoesOn(ring);
    }),
  );

  test.each(hiddenChecksums)('class 14: $name is completed where it is said to be', (hidden) =>
    arena.attack(async () => {
      const ring = await transmitter(arena, format);
      expect(await dropsOf(ring, checksumLinks(ring, hidden))).toEqual({});
      const received = Buffer.from(await arena.nextAtPeer());
      const { csumStart: start } = hidden;
      const frame = Buffer.from(hidden.frame);
      frame.writeUInt16BE(onesComplementSum(frame.subarray(start)), start + 16);
      expect(Buffer.compare(received, frame)).toBe(0);
    }),
  );

  test('class 18: a frame for more merged buffers than the ring has is counted', () =>
    arena.attack(async () => {
      await offerCrumbs(arena, format);
      const before = (await arena.drops()).bufferTooSmall!;
      await arena.peer.send(toAttacker(1, 1514));
      await arena.peer.flush();
      expect((await arena.drops()).bufferTooSmall).toBe(before + 1);
      // None of them was used up by it: a frame for four of them still arrives.
      await arena.peer.send(toAttacker(2, 60));
      await arena.peer.flush();
      expect((await arena.drops()).bufferTooSmall).toBe(before + 1);
      expect(arena.warnings).toEqual([]);
    }));
});

test('class 19: packed descriptors with the wrap bits of another lap are not there', () =>
  arena.attack(async () => {
    const ring = await transmitter(arena, 'packed');
    const packed = ring.guest.raw.packedRing(transmitq);
    await showOtherLaps(arena, ring, (flags) => expect(packed.flags(0)).toBe(flags));
    await expectGoesOn(ring);
  }));

/** RFC 1071, over bytes with an even or odd end. */
function onesComplementSum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i++) sum += i % 2 === 0 ? bytes[i]! << 8 : bytes[i]!;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
