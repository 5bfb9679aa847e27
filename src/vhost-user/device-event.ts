/** What a device tells of itself. */

import type { RingEvent } from './ring.ts';

/** What happens to a guest's device in the course of a session. */
export type DeviceEvent =
  | RingEvent
  | {
      readonly type: 'features-agreed';
      readonly features: bigint;
      readonly names: readonly string[];
      readonly netHeaderBytes: number;
    }
  | { readonly type: 'memory'; readonly regions: number; readonly bytes: bigint }
  /** A migration begins or ends: what is written to guest memory is noted in the frontend's log. */
  | { readonly type: 'logging'; readonly enabled: boolean }
  | { readonly type: 'mtu'; readonly bytes: number };
