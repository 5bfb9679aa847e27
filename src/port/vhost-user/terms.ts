/** What a vhost-user port is told of the machine that it is for. Types only. */

import type { AllowList } from './allow.ts';

/** What holds for a port and its frontend, and may change while the port is open. */
export interface PortTerms {
  readonly allow: AllowList | undefined;
  /**
   * The addresses that the port is bound to; any if there are none. The first is the guest's own.
   */
  readonly macs: readonly number[];
  readonly mtu: number;
}

/** What stays as it is while the port is open, as well. */
export interface VhostUserPortOptions extends PortTerms {
  readonly ringReset: boolean;
  readonly inBand: boolean;
}
