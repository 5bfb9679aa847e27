/**
 * Turns the body of POST /v1/ports, whose shape was checked (bodies.ts), into options of
 * Switch.addPort.
 */

import type { ListenOptions, PortOptions } from '../index.ts';
import type { NewPort } from './protocol.ts';

/** `defaults` apply to a port that listens. */
export function newPortOf(port: NewPort, defaults: ListenOptions): PortOptions {
  if ('connect' in port) return port;
  const { mode, ...rest } = port;
  // JSON has no octal numbers, hence text.
  return {
    ...defaults,
    ...rest,
    ...(mode === undefined ? {} : { mode: Number.parseInt(mode, 8) }),
  };
}
