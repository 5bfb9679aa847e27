/**
 * What a capture holds: every frame once for each port and direction, when it passed, and what
 * became of it.
 */

import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type CapturedPacket, decodeCapture, type ProcessPort, Switch } from '../../src/index.ts';
import { broadcast, ethernetFrame, frameBetween, macOf } from '../support/ethernet.ts';

const codeOf = (code: string) => expect.objectContaining({ code });
const nsPerMs = 1_000_000n;

/** A packet in one line, without its bytes. */
const inWords = ({ port, direction, comments }: CapturedPacket) =>
  [port, direction, ...comments].join(' ');

/** take() gives what fits its buffer. */
function takeAll(port: ProcessPort): number {
  let taken = 0;
  for (let more = port.take().length; more > 0; more = port.take().length) taken += more;
  return taken;
}

describe('with a manual clock, a capture', () => {
  let vswitch: Switch;
  let a: ProcessPort;
  let b: ProcessPort;

  beforeEach(() => {
    vswitch = Switch.open({ clock: 'manual', seed: 1 });
    a = vswitch.addPort({ process: 'a' });
    b = vswitch.addPort({ process: 'b' });
  });
  afterEach(() => vswitch.close());

  test('of a bridge has a frame once where it came from and once wherever it went', () => {
    vswitch.addPort({ process: 'elsewhere', bridge: 'blue' });
    const capture = vswitch.capture();
    vswitch.addPort({ process: 'later' });
    a.send(frameBetween(0, 1));
    vswitch.step();
    vswitch.advance(5);
    b.send(frameBetween(1, 0));
    vswitch.step();
    const packets = capture.packets();
    expect(packets.map(inWords)).toEqual([
      'a fromGuest',
      'b toGuest',
      'later toGuest',
      'b fromGuest',
      'a toGuest',
    ]);
    const [first, , , answer] = packets as [CapturedPacket, unknown, unknown, CapturedPacket];
    expect(answer.timeNs - first.timeNs).toBe(5n * nsPerMs);
    expect(first.data).toEqual(Buffer.from(frameBetween(0, 1)));
    expect(answer.data).toEqual(Buffer.from(frameBetween(1, 0)));
  });

  test('of a port has only its frames, and ends with close()', () => {
    const capture = vswitch.capture({ port: 'b' });
    vswitch.addPort({ process: 'c' });
    a.send([frameBetween(0, 1), frameBetween(0, 2)]);
    vswitch.step();
    capture.close();
    capture.close();
    a.send(frameBetween(0, 1));
    vswitch.step();
    expect(capture.packets().map(inWords)).toEqual(['b toGuest', 'b toGuest']);
  });

  test('into a stream waits for its reader, and ends it', async () => {
    const chunks: Buffer[] = [];
    let isRead = false;
    let read = () => {};
    const stream = new Writable({
      highWaterMark: 1,
      write(chunk, _, done) {
        chunks.push(chunk);
        if (isRead) done();
        else read = done;
      },
    });
    const capture = vswitch.capture({ port: 'b', to: stream });
    a.send([frameBetween(0, 1), frameBetween(0, 1)]);
    vswitch.step();
    expect(chunks).toHaveLength(1);
    isRead = true;
    read();
    await expect.poll(() => decodeCapture(Buffer.concat(chunks)).length).toBe(2);
    a.send(frameBetween(0, 1));
    vswitch.step();
    expect(() => capture.packets()).toThrow(codeOf('BAD_OPTION'));
    const finished = once(stream, 'finish');
    capture.close();
    await finished;
    expect(decodeCapture(Buffer.concat(chunks)).map(inWords)).toEqual(Array(3).fill('b toGuest'));
  });

  test('ends with the stream it goes into', async () => {
    const stream = new Writable({ write: (_chunk, _encoding, done) => done() });
    const capture = vswitch.capture({ to: stream });
    const closed = once(stream, 'close');
    stream.destroy();
    await closed;
    a.send(frameBetween(0, 1));
    vswitch.step();
    expect(capture.dropped).toBe(0);
  });

  test('says why the switch dropped a frame', () => {
    const capture = vswitch.capture({ port: a });
    vswitch.removePort(b);
    a.send([
      frameBetween(0, 1),
      ethernetFrame({ from: macOf(0), to: macOf(0) }),
      ethernetFrame({ from: broadcast, to: macOf(1) }),
      frameBetween(0, 1),
    ]);
    vswitch.step();
    expect(capture.packets().map(inWords)).toEqual([
      'a fromGuest dropped: noDestination',
      'a fromGuest dropped: hairpin',
      'a fromGuest dropped: badSource',
      'a fromGuest dropped: noDestination',
    ]);
    expect(a.counters.drops).toMatchObject({ noDestination: 2, hairpin: 1, badSource: 1 });
  });

  test('says which frames found no buffer at their receiver', () => {
    const capture = vswitch.capture({ port: 'b', snapBytes: 14 });
    const jumbo = ethernetFrame({ from: macOf(0), to: macOf(1), lengthBytes: 60_000 });
    for (let i = 0; i < 4; i++) {
      a.send(Array.from({ length: 8 }, () => jumbo));
      vswitch.step();
    }
    const received = takeAll(b);
    const packets = capture.packets();
    expect(packets).toHaveLength(32);
    expect(packets.filter(({ comments }) => comments.length === 0)).toHaveLength(received);
    expect(packets.at(-1)).toMatchObject({ comments: ['dropped: noBuffer'], frameBytes: 60_000 });
    expect(b.counters.drops.noBuffer).toBe(32 - received);
  });

  test('says what impaired links did, at the time when they did it', () => {
    const capture = vswitch.capture({ port: 'b' });
    const send = () => {
      a.send(frameBetween(0, 1));
      vswitch.step();
      vswitch.advance(100);
    };
    vswitch.impair({ port: 'b', direction: 'toGuest' }, { loss: 1 });
    send();
    vswitch.impair({ port: 'b', direction: 'toGuest' }, { delayMs: 10, duplicate: 1, corrupt: 1 });
    send();
    vswitch.impair({ port: 'b' }, {});
    vswitch.partition(['a'], ['b']);
    send();
    const packets = capture.packets();
    expect(packets.map(inWords)).toEqual([
      'b toGuest dropped: lost',
      'b toGuest impairment: held, corrupted',
      'b toGuest impairment: held, duplicated, corrupted',
      'b toGuest dropped: partitioned',
    ]);
    const startNs = packets[0]!.timeNs;
    expect(packets.map(({ timeNs }) => timeNs - startNs)).toEqual([
      0n,
      110n * nsPerMs,
      110n * nsPerMs,
      200n * nsPerMs,
    ]);
    expect(packets[1]!.data).toEqual(b.take()[0]);
  });

  test("has a sender's frames when its link lets them go, and those it loses", () => {
    const capture = vswitch.capture({ port: 'a' });
    vswitch.impair({ port: 'a', direction: 'fromGuest' }, { delayMs: 10 });
    a.send(frameBetween(0, 1));
    vswitch.step();
    expect(capture.packets()).toEqual([]);
    vswitch.advance(10);
    vswitch.impair({ port: 'a', direction: 'fromGuest' }, { blackhole: true });
    a.send(frameBetween(0, 1));
    vswitch.step();
    expect(capture.packets().map(inWords)).toEqual([
      'a fromGuest impairment: held',
      'a fromGuest dropped: blackhole',
    ]);
  });

  test('keeps the beginning of each frame, and its length', () => {
    const capture = vswitch.capture({ port: a, snapBytes: 20 });
    a.send(frameBetween(0, 1, 7, 1000));
    vswitch.step();
    const [packet] = capture.packets();
    expect(packet).toMatchObject({ frameBytes: 1000 });
    expect(packet!.data).toEqual(Buffer.from(frameBetween(0, 1, 7, 1000)).subarray(0, 20));
  });

  test('has frames of every length and snap length as they were', () => {
    const frame = fc.tuple(fc.integer({ min: 18, max: 3000 }), fc.nat(255));
    const frames = fc.array(frame, { minLength: 1, maxLength: 70 });
    fc.assert(
      fc.property(frames, fc.integer({ min: 14, max: 2000 }), (sizes, snapBytes) => {
        const capture = vswitch.capture({ port: b, snapBytes });
        const sent = sizes.map(([bytes, seed]) => Buffer.from(frameBetween(0, 1, seed, bytes)));
        a.send(sent);
        vswitch.step(100);
        takeAll(b);
        const packets = capture.packets();
        expect(packets.map(({ data }) => data)).toEqual(
          sent.map((bytes) => bytes.subarray(0, snapBytes)),
        );
        expect(packets.map(({ frameBytes }) => frameBytes)).toEqual(sizes.map(([bytes]) => bytes));
        capture.close();
      }),
      { numRuns: 50 },
    );
  });

  test('in memory is the same as in a file, however much it is and however often it is read', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'capture-'));
    try {
      const path = join(folder, 'all.pcapng');
      const [file, memory] = [vswitch.capture({ to: path }), vswitch.capture()];
      let sent = 0;
      for (let i = 0; i < 300; i++) {
        const frame = frameBetween(0, 1, i, 60 + 97 * i);
        sent += a.send(Array.from({ length: 1 + (i % 9) }, () => frame));
        vswitch.step(10);
        takeAll(b);
        if (i % 100 !== 50) continue;
        await new Promise(setImmediate);
        expect(memory.pcapng().equals(readFileSync(path))).toBe(true);
      }
      file.close();
      memory.close();
      expect(memory.pcapng().length).toBeGreaterThan(30e6);
      expect(memory.pcapng().equals(readFileSync(path))).toBe(true);
      expect(memory.packets()).toHaveLength(2 * sent);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('that is not emptied in time loses records, counts them, and loses no frame', () => {
    const others = Array.from({ length: 12 }, (_, i) => vswitch.addPort({ process: `more ${i}` }));
    const capture = vswitch.capture();
    const jumbo = ethernetFrame({ from: macOf(0), to: broadcast, lengthBytes: 60_000 });
    const sent = a.send(Array.from({ length: 16 }, () => jumbo));
    expect(sent).toBe(16);
    // A turn has only so much work in it.
    vswitch.step(16);
    for (const port of [b, ...others]) expect(takeAll(port)).toBe(16);
    expect(capture.dropped).toBeGreaterThan(0);
    expect(capture.packets()).toHaveLength(16 * 14 - capture.dropped);
    a.send(frameBetween(0, 99));
    vswitch.step();
    const after = capture.packets().slice(16 * 14 - capture.dropped);
    expect(after.map(({ lost }) => lost)).toEqual([capture.dropped, ...Array(13).fill(0)]);
  });

  test('names a port that was removed, and tells it from the one that got its number', () => {
    const capture = vswitch.capture();
    b.send(frameBetween(1, 0));
    vswitch.step();
    vswitch.removePort(b);
    vswitch.addPort({ process: 'c' }).send(frameBetween(2, 0));
    vswitch.step();
    expect(capture.packets().map(({ port }) => port)).toEqual(['b', 'a', 'c', 'a']);
  });

  test('is the same to the bit each time', () => {
    const run = () => {
      const again = Switch.open({ clock: 'manual', seed: 7 });
      const sender = again.addPort({ process: 'a' });
      again.addPort({ process: 'b' });
      const capture = again.capture();
      again.impair({ from: 'a', to: 'b' }, { loss: 0.3, delayMs: 5, jitterMs: 4, duplicate: 0.2 });
      for (let i = 0; i < 50; i++) {
        sender.send(frameBetween(0, 1, i));
        again.advance(1);
      }
      again.close();
      return capture.pcapng();
    };
    expect(run().equals(run())).toBe(true);
  });

  test.each<[string, object, string]>([
    ['a port and a bridge', { port: 'a', bridge: 'default' }, 'BAD_OPTION'],
    ['no such port', { port: 'x' }, 'NO_SUCH_PORT'],
    ['no such bridge', { bridge: 'x' }, 'BAD_OPTION'],
    ['too short a snap length', { snapBytes: 13 }, 'BAD_OPTION'],
    ['half a byte', { snapBytes: 14.5 }, 'BAD_OPTION'],
    ['a folder that is not there', { to: join(tmpdir(), 'not', 'there') }, 'SYSTEM'],
    ['a full disk', { to: '/dev/full' }, 'SYSTEM'],
  ])('of %s is refused', (_, options, code) => {
    expect(() => vswitch.capture(options)).toThrow(codeOf(code));
  });

  test('of a closed switch is refused, and one that was open stays readable', () => {
    const capture = vswitch.capture();
    a.send(frameBetween(0, 1));
    vswitch.step();
    vswitch.close();
    expect(capture.packets()).toHaveLength(2);
    expect(capture.dropped).toBe(0);
    expect(() => vswitch.capture()).toThrow(codeOf('CLOSED'));
  });
});

describe('a capture of a running switch', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'capture-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  test.each([1, 2])(
    'with %d workers writes every frame into a file that tcpdump reads',
    async (workers) => {
      const path = join(folder, 'all.pcapng');
      await using vswitch = Switch.open({ workers });
      const [a, b] = [vswitch.addPort({ process: 'a' }), vswitch.addPort({ process: 'b' })];
      const before = BigInt(Date.now()) * nsPerMs;
      {
        await using capture = vswitch.capture({ to: path });
        for (let i = 0; i < 500; i++) {
          a.send(frameBetween(0, 1, i));
          b.send(frameBetween(1, 0, i));
          if (i % 100 === 99) {
            await Promise.all([a.flush(), b.flush()]);
          }
        }
        expect(capture.dropped).toBe(0);
        expect(capture.packets()).toHaveLength(2000);
      }
      const packets = decodeCapture(readFileSync(path));
      for (const port of ['a', 'b']) {
        const sent = packets.filter(
          (packet) => packet.port === port && packet.direction === 'fromGuest',
        );
        const frames = Array.from({ length: 500 }, (_, i) =>
          Buffer.from(port === 'a' ? frameBetween(0, 1, i) : frameBetween(1, 0, i)),
        );
        expect(sent.map(({ data }) => data)).toEqual(frames);
      }
      expect(packets.filter(({ direction }) => direction === 'toGuest')).toHaveLength(1000);
      for (const { timeNs } of packets) {
        expect(timeNs >= before && timeNs <= BigInt(Date.now() + 1) * nsPerMs).toBe(true);
      }
      const said = execFileSync('tcpdump', ['-n', '-e', '-r', path], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      // The others are bytes of frames whose type tcpdump does not know.
      const lines = said.split('\n').filter((line) => line.includes(' > '));
      expect(lines).toHaveLength(2000);
      expect(lines.filter((line) => line.includes(`${macOf(0)} > ${macOf(1)}`))).toHaveLength(1000);
    },
  );

  test('fills by itself while this thread only waits', async () => {
    const path = join(folder, 'file.pcapng');
    await using vswitch = Switch.open();
    const [a, b] = [vswitch.addPort({ process: 'a' }), vswitch.addPort({ process: 'b' })];
    vswitch.capture({ to: path, port: b });
    a.send(frameBetween(0, 1));
    await expect.poll(() => decodeCapture(readFileSync(path)).length).toBe(1);
    a.send(frameBetween(0, 1));
    await expect.poll(() => decodeCapture(readFileSync(path)).length).toBe(2);
  });
});
