/** On which bridge something is that may not say so. Pure. */

import type { FixedAddress, SwitchSettings } from './settings.ts';

/** The bridge of what names none; it is always there. */
export const defaultBridge = 'default';

/** The bridge that knows a fixed address. */
export function bridgeOf(
  { port, bridge }: { readonly [Key in 'port' | 'bridge']?: string | undefined },
  ports: SwitchSettings['ports'],
): string {
  return (port === undefined ? bridge : ports[port]?.bridge) ?? defaultBridge;
}

/** The same for every spelling of an address on a bridge. */
export function placeKey(address: FixedAddress, ports: SwitchSettings['ports']): string {
  return JSON.stringify([address.mac.toLowerCase(), bridgeOf(address, ports)]);
}
