/** How a connected frontend is right now: what was agreed, its memory and its rings. */

import { told } from '../../model/faults/table.ts';
import type { NativeRingPort } from '../../native/addon.ts';
import { featureNames, virtioFeatures } from '../../vhost-user/features.ts';
import type { Session } from '../../vhost-user/session.ts';
import type { HugePages } from './huge-pages.ts';
import type { FrontendStatus, RingStatus } from './status.ts';

export function frontendStatus(
  port: NativeRingPort,
  session: Session,
  pid: number,
  { pageBytes }: HugePages,
): FrontendStatus {
  const { features, memory } = session;
  return {
    pid,
    ...(features === undefined ? {} : { features: featureNames(features, virtioFeatures) }),
    memory: {
      regions: memory.regions,
      bytes: Number(memory.bytes),
      ...(pageBytes === undefined ? {} : { hugePageBytes: pageBytes }),
    },
    rings: session.startedRings.map((queue): RingStatus => {
      const read = port.queue(queue).read();
      const { base, offered, outOfStep, broken } = read;
      const control = session.controlQueue === queue ? ({ control: true } as const) : {};
      const ring = { queue, ...control, enabled: session.ringEnabled(queue), base };
      return broken === undefined
        ? { ...ring, state: 'started', offered, ...(outOfStep ? { outOfStep } : {}) }
        : { ...ring, state: 'broken', fault: broken, reason: told(broken).sentence };
    }),
  };
}
