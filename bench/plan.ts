/** Which switches and trials a run of the benchmark consists of, and how long each part takes. */

import type { Driver } from './drivers/driver.ts';
import { inProcess } from './drivers/in-process.ts';
import { linuxBridge } from './drivers/linux-bridge.ts';
import { ovs } from './drivers/ovs.ts';
import { reflector } from './drivers/reflector.ts';
import { testpmd } from './drivers/testpmd.ts';
import { tsvswitch } from './drivers/tsvswitch.ts';
import { vpp, vppWithGso } from './drivers/vpp.ts';
import type { Patience } from './quiet.ts';
import { closedLoopTrial } from './trials/closed-loop.ts';
import { floodTrial, portsTrial, sizeTrial } from './trials/flood.ts';
import { harnessTrials } from './trials/harness.ts';
import { idleTrial, memoryTrial } from './trials/idle.ts';
import { pingpongTrial, wakeTrial } from './trials/latency.ts';
import { loadTrial, lossTrial } from './trials/load.ts';
import { operateTrials } from './trials/operate.ts';
import { pauseTrials } from './trials/pauses.ts';
import { segmentsTrial } from './trials/segments.ts';
import { startupTrial } from './trials/startup.ts';
import { tcpTrial } from './trials/tcp.ts';
import type { Trial } from './trials/trial.ts';

export interface Plan {
  /** The first one is the subject: the table gives its ratio to each of the others. */
  readonly drivers: readonly Driver[];
  readonly trials: readonly Trial[];
  readonly rounds: number;
  readonly warmupS: number;
  readonly seconds: number;
  readonly patience: Patience;
}

export const noPatience: Patience = { repeats: 0, nearWaitMs: 0, totalMs: 0 };

/** Under two minutes with four switches. */
export const quickPlan: Plan = {
  drivers: [tsvswitch, testpmd, ovs, vpp, reflector],
  trials: [
    sizeTrial(64, 'headers'),
    sizeTrial(1500, 'headers'),
    portsTrial(8),
    pingpongTrial,
    startupTrial,
    idleTrial(2),
  ],
  rounds: 2,
  warmupS: 0.2,
  seconds: 0.5,
  patience: { repeats: 1, nearWaitMs: 0, totalMs: 8_000 },
};

const sizes = [64, 128, 256, 512, 1024, 1500, 9000, 'imix'] as const;

export const fullPlan: Plan = {
  drivers: [tsvswitch, testpmd, ovs, vpp, vppWithGso, linuxBridge, reflector],
  trials: [
    // Next to each other, since they are held against each other.
    floodTrial({ frame: 64, touch: 'headers', checks: 'none' }),
    ...sizes.map((frame) => sizeTrial(frame, 'headers')),
    ...sizes.map((frame) => sizeTrial(frame, 'bytes')),
    ...[4, 8, 16].map(portsTrial),
    floodTrial({ frame: 64, touch: 'headers', ring: 'packed' }),
    floodTrial({ frame: 1500, touch: 'bytes', ring: 'packed' }),
    floodTrial({ frame: 64, touch: 'headers', ports: 4, workers: 1 }),
    floodTrial({ frame: 64, touch: 'headers', ports: 4, workers: 2 }),
    segmentsTrial,
    tcpTrial,
    closedLoopTrial(64),
    closedLoopTrial(1500),
    pingpongTrial,
    loadTrial([{ percent: 10 }, { percent: 50 }, { percent: 90 }]),
    loadTrial([{ mpps: 1 }, { mpps: 3 }]),
    wakeTrial,
    lossTrial(70, 60),
    startupTrial,
    ...[2, 64].flatMap((ports) => [idleTrial(ports), memoryTrial(ports)]),
  ],
  rounds: 3,
  warmupS: 0.5,
  seconds: 2,
  patience: { repeats: 5, nearWaitMs: 20_000, totalMs: 1_800_000 },
};

/** What tests of networks rely on; none of the peers can be part of a test. */
export const harnessPlan: Plan = {
  drivers: [inProcess],
  trials: harnessTrials,
  rounds: 3,
  warmupS: 0.3,
  seconds: 1,
  patience: { repeats: 1, nearWaitMs: 0, totalMs: 20_000 },
};

/** What operators wait for, and what watching a flood costs it. */
export const operatePlan: Plan = {
  drivers: [inProcess],
  trials: [...operateTrials, ...pauseTrials],
  rounds: 3,
  warmupS: 0.3,
  seconds: 5,
  patience: { repeats: 1, nearWaitMs: 0, totalMs: 60_000 },
};
