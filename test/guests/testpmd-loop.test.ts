/**
 * The command between two ports of DPDK's testpmd, an independent frontend and driver, in a closed
 * loop at full rate: what goes in comes out, to the frame.
 *
 * TSVSWITCH_LOOP_SECONDS makes each loop longer than its 2 seconds. The counts are printed.
 *
 * @module-tag huge-pages
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Command } from '../support/command.ts';
import { needs } from '../support/needs.ts';
import {
  type PortStatistics,
  runTestpmdLoop,
  testpmdFrontendMissing,
} from '../support/testpmd-frontend.ts';

const seconds = Number(process.env.TSVSWITCH_LOOP_SECONDS ?? 2);
const missing = testpmdFrontendMissing();

describe('testpmd in a closed loop', needs(missing), () => {
  test.each([
    ['mergeable buffers', 'mrg_rxbuf=1', 64],
    ['one buffer a frame', 'mrg_rxbuf=0', 64],
    ['large frames', 'mrg_rxbuf=1', 1514],
  ])(
    'loses nothing with %s',
    { timeout: 300_000 + 4000 * seconds },
    async (_, device, frameBytes) => {
      const folder = mkdtempSync(join(tmpdir(), 'loop-'));
      const paths = [join(folder, 'a.sock'), join(folder, 'b.sock')] as const;
      const command = await Command.start(paths, ['--cpus', '1', '--log-format', 'json'], {
        limitMs: 280_000 + 3000 * seconds,
      });
      try {
        const { ports: statistics, forwardingDrops } = await runTestpmdLoop({
          paths,
          seconds,
          devices: [device, device],
          frameBytes,
        });
        const ports = statistics as [PortStatistics, PortStatistics];
        const { status, stdout } = await command.stop();
        expect(status).toBe(0);
        const [a, b] = stdout
          .trimEnd()
          .split('\n')
          .map((line) => JSON.parse(line))
          .filter(({ event }) => event === 'counters');
        process.stdout.write(
          `testpmd ${device} ${frameBytes} B ${seconds} s: ` +
            `${ports[0].transmitted} + ${ports[1].transmitted} frames sent, ` +
            `${ports[1].received} + ${ports[0].received} received\n`,
        );

        expect(forwardingDrops).toBe(0);
        expect(ports.map(({ errors }) => errors)).toEqual([0, 0]);
        // At the least every frame has gone round many times.
        expect(ports[0].transmitted).toBeGreaterThan(10_000);
        // In = out, seen from outside and from inside.
        expect(ports[1].received).toBe(ports[0].transmitted);
        expect(ports[0].received).toBe(ports[1].transmitted);
        expect([a.fromGuest.frames, b.toGuest.frames]).toEqual([
          ports[0].transmitted,
          ports[1].received,
        ]);
        expect([b.fromGuest.frames, a.toGuest.frames]).toEqual([
          ports[1].transmitted,
          ports[0].received,
        ]);
        expect(a.fromGuest.bytes).toBe(b.toGuest.bytes);
        for (const port of [a, b]) expect(Object.values(port.drops).some(Boolean)).toBe(false);
      } finally {
        await command.stop();
        rmSync(folder, { recursive: true });
      }
    },
  );
});
