/**
 * The events of a switch as a stream: where it begins and ends, and what becomes of what nobody
 * reads.
 */

import { describe, expect, test } from 'vitest';
import type { EventsLost, SwitchEvent } from '../../src/index.ts';
import { broadcast, ethernetFrame, frameBetween, macOf } from '../support/ethernet.ts';
import { openManual } from '../support/manual-switch.ts';

const codeOf = (code: string) => expect.objectContaining({ code });

describe('events', () => {
  test('stream from the moment they are asked for until the switch is closed', async () => {
    const { vswitch, ports } = openManual('a', 'b');
    const events = vswitch.events();
    ports[0]!.send([frameBetween(0, 1), frameBetween(2, 1)]);
    vswitch.step();
    ports[1]!.send(frameBetween(0, 1));
    vswitch.step();
    vswitch.close();
    const seen: (SwitchEvent | EventsLost)[] = [];
    for await (const event of events) seen.push(event);
    expect(seen).toEqual([
      { type: 'mac-learned', port: 'a', mac: macOf(0) },
      { type: 'mac-learned', port: 'a', mac: macOf(2) },
      { type: 'mac-moved', port: 'b', fromPort: 'a', mac: macOf(0) },
    ]);
    expect(() => vswitch.events()).toThrow(codeOf('CLOSED'));
  });

  test('streams end with their loop or their signal, and leave no listener', async () => {
    const { vswitch, ports } = openManual('a', 'b');
    const stop = new AbortController();
    const aborted = vswitch.events({ signal: stop.signal });
    const events = vswitch.events();
    expect(vswitch.listenerCount('event')).toBe(2);
    ports[0]!.send(frameBetween(0, 1));
    vswitch.step();
    for await (const { type } of events) {
      expect(type).toBe('mac-learned');
      break;
    }
    stop.abort();
    await expect(
      (async () => {
        for await (const _ of aborted);
      })(),
    ).rejects.toMatchObject({ name: 'AbortError' });
    expect(vswitch.listenerCount('event')).toBe(0);
    vswitch.close();
  });
});

test('a stream that nobody reads keeps 16384 events, and counts the others until it is read', async () => {
  const { vswitch, ports } = openManual('a', 'b');
  const events = vswitch.events();
  let told = 0;
  vswitch.on('event', () => told++);
  const macs = Array.from({ length: 4000 }, (_, i) => macOf(i & 0xff, i >> 8));
  const frames = macs.map((from) => ethernetFrame({ from, to: broadcast }));
  // Learned once, then moved to and fro.
  for (let i = 0; told < 16_484; i = (i + 1) % 2) {
    for (let at = 0; at < frames.length; at += 64) {
      ports[i]!.send(frames.slice(at, at + 64));
      vswitch.step();
      for (const port of ports) port.take();
    }
  }
  const read: (SwitchEvent | EventsLost)[] = [];
  while (read.at(-1)?.type !== 'events-lost') read.push((await events.next()).value);
  expect(read).toHaveLength(16_385);
  expect(read.at(-1)).toEqual({ type: 'events-lost', count: told - 16_384 });
  ports[0]!.send(ethernetFrame({ from: macOf(0, 0xffff), to: broadcast }));
  vswitch.step();
  expect((await events.next()).value).toMatchObject({ mac: macOf(0, 0xffff) });
  vswitch.close();
});
