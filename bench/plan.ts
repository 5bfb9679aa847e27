/** Which switches and trials a run of the benchmark consists of, and how long each part takes. */

import type { Driver } from './drivers/driver.ts';
import { ovs } from './drivers/ovs.ts';
import { testpmd } from './drivers/testpmd.ts';
import { tsvswitch } from './drivers/tsvswitch.ts';
import { vpp } from './drivers/vpp.ts';
import type { Patience } from './quiet.ts';
import { floodTrial } from './trials/flood.ts';
import { idleTrial } from './trials/idle.ts';
import { memoryTrial } from './trials/memory.ts';
import { pingpongTrial } from './trials/pingpong.ts';
import { startupTrial } from './trials/startup.ts';
import type { Trial } from './trials/trial.ts';

/** The first one is the subject: the table gives its ratio to each of the others. */
export const drivers: readonly Driver[] = [tsvswitch, testpmd, ovs, vpp];

export interface Plan {
  readonly trials: readonly Trial[];
  readonly rounds: number;
  readonly warmupS: number;
  readonly seconds: number;
  readonly patience: Patience;
}

const resting: readonly Trial[] = [startupTrial, idleTrial(2), memoryTrial(2)];

/** Under two minutes with three switches. */
export const quickPlan: Plan = {
  trials: [
    floodTrial({ frameBytes: 64, touch: 'headers', ports: 2 }),
    floodTrial({ frameBytes: 1500, touch: 'bytes', ports: 2 }),
    pingpongTrial(64),
    ...resting,
  ],
  rounds: 3,
  warmupS: 0.2,
  seconds: 0.5,
  patience: { repeats: 1, nearWaitMs: 0, totalMs: 8_000 },
};

export const fullPlan: Plan = {
  trials: [
    ...[64, 256, 512, 1024, 1500].map((frameBytes) =>
      floodTrial({ frameBytes, touch: 'headers', ports: 2 }),
    ),
    ...[64, 1500].map((frameBytes) => floodTrial({ frameBytes, touch: 'bytes', ports: 2 })),
    floodTrial({ frameBytes: 64, touch: 'headers', ports: 8 }),
    pingpongTrial(64),
    ...resting,
  ],
  rounds: 5,
  warmupS: 0.5,
  seconds: 3,
  patience: { repeats: 5, nearWaitMs: 20_000, totalMs: 1_800_000 },
};
