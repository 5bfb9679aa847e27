/**
 * Every format of ring that DPDK's virtio-user speaks, through the command: packed and split, with
 * and without IN_ORDER and mergeable buffers, one queue pair and four. Each kind of ring plays a
 * closed loop with its like, and with its opposite in every respect, all of them at once on one
 * bridge.
 *
 * @module-tag huge-pages
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { Command } from '../support/command.ts';
import { needs } from '../support/needs.ts';
import {
  type PortStatistics,
  runTestpmdLoop,
  testpmdFrontendMissing,
} from '../support/testpmd-frontend.ts';

const seconds = 3;
const frameBytes = 200;
const missing = testpmdFrontendMissing();

/** An option of virtio-user and the feature it asks for. */
const options = [
  ['packed_vq', 'VIRTIO_F_RING_PACKED'],
  ['in_order', 'VIRTIO_F_IN_ORDER'],
  ['mrg_rxbuf', 'VIRTIO_NET_F_MRG_RXBUF'],
] as const;

/** All their combinations; the opposite of kind n is kind 7 - n. */
const kinds = Array.from({ length: 2 ** options.length }, (_, kind) =>
  options.map(([option, feature], bit) => ({ option, feature, wanted: ((kind >> bit) & 1) === 1 })),
);
type Kind = (typeof kinds)[number];

const deviceOf = (kind: Kind) => kind.map(({ option, wanted }) => `${option}=${+wanted}`).join(',');
const nameOf = (kind: Kind) =>
  kind.map(({ option, wanted }) => (wanted ? option : `no ${option}`)).join(', ');

interface LogEntry {
  readonly event: string;
  readonly port: string;
  readonly names: readonly string[];
  readonly queue: number;
}

interface PortCounters {
  readonly fromGuest: { readonly frames: number; readonly bytes: number };
  readonly toGuest: { readonly frames: number; readonly bytes: number };
  readonly drops: Readonly<Record<string, number>>;
}

interface Played {
  readonly ports: readonly PortStatistics[];
  readonly receivedByQueue: readonly (readonly number[])[];
  readonly introductions: number;
  readonly forwardingDrops: number;
  readonly log: readonly LogEntry[];
  /** As the switch logs them when it ends, by port. */
  readonly counters: readonly PortCounters[];
}

/** The players sit on the ports in their order, two to a pair. */
async function play(players: readonly Kind[], queuePairs: number): Promise<Played> {
  const folder = mkdtempSync(join(tmpdir(), 'rings-'));
  const paths = players.map((_, port) => join(folder, `${port}.sock`));
  const command = await Command.start(paths, [
    ...['--cpus', '1', '--log-format', 'json', '--log-level', 'debug'],
  ]);
  try {
    const devices = players.map(deviceOf);
    const played = await runTestpmdLoop({ paths, devices, queuePairs, seconds, frameBytes });
    const { stdout } = await command.stop();
    const log = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    return { ...played, log, counters: log.filter(({ event }) => event === 'counters') };
  } finally {
    await command.stop();
    rmSync(folder, { recursive: true });
  }
}

describe('DPDK virtio-user', needs(missing), () => {
  describe.each([
    ['its like', 1, (kind: number) => kind],
    ['its like', 4, (kind: number) => kind],
    ['its opposite', 1, (kind: number) => kinds.length - 1 - kind],
    ['its opposite', 4, (kind: number) => kinds.length - 1 - kind],
  ] as const)('against %s, %i queue pairs', (_, queuePairs, peerOf) => {
    let played: Played;
    beforeAll(async () => {
      const players = kinds.flatMap((kind, number) => [kind, kinds[peerOf(number)]!]);
      played = await play(players, queuePairs);
    }, 300_000);

    test('no queue breaks and no session ends early', () => {
      const events = new Set(played.log.map(({ event }) => event));
      expect(events).toContain('frontend-left');
      for (const trouble of ['ring-broken', 'request-refused', 'memory-lost']) {
        expect(events).not.toContain(trouble);
      }
      expect(played.forwardingDrops).toBe(0);
    });

    test.each(kinds.map((kind, number) => ({ name: nameOf(kind), kind, pair: number })))(
      '$name: agreed on what was asked for, and every frame came through',
      ({ kind, pair }) => {
        const [one, other] = [2 * pair, 2 * pair + 1];
        const agreed = played.log.find(
          ({ event, port }) => event === 'features-agreed' && port === `${one}`,
        );
        for (const { feature, wanted } of kind) {
          expect(agreed!.names.includes(feature), feature).toBe(wanted);
        }
        for (const [from, to] of [
          [one, other],
          [other, one],
        ] as const) {
          const sender = played.ports[from]!;
          const receiver = played.ports[to]!;
          expect(sender.errors).toBe(0);
          expect(sender.transmitted).toBeGreaterThan(5_000);
          expect(receiver.received).toBe(sender.transmitted);
          const { fromGuest, toGuest, drops } = played.counters[from]!;
          const sent = sender.transmitted + played.introductions;
          const received = sender.received + played.introductions * (played.ports.length - 1);
          expect(fromGuest).toMatchObject({ frames: sent, bytes: sent * frameBytes });
          expect(toGuest).toMatchObject({ frames: received, bytes: received * frameBytes });
          expect(Object.entries(drops).filter(([, frames]) => frames > 0)).toEqual([]);
        }
      },
    );

    if (queuePairs === 1) return;
    test('every queue carries its share', () => {
      expect(played.receivedByQueue).toHaveLength(2 * kinds.length);
      for (const queues of played.receivedByQueue) {
        expect(queues).toHaveLength(queuePairs);
        expect(Math.min(...queues)).toBeGreaterThan(Math.max(...queues) / 20);
      }
    });
  });
});
