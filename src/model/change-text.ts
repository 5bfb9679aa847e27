/** Changes of settings in a few words, such as `port web reopened (path)`. Pure. */

import type { Change } from './difference.ts';

export function changeText(change: Change): string {
  const keys = 'keys' in change ? ` (${change.keys.join(', ')})` : '';
  const [noun, verb] = change.type.split('-');
  if ('port' in change) return `port ${change.port} ${verb}${keys}`;
  if ('bridge' in change) return `bridge ${change.bridge} ${verb}${keys}`;
  if ('address' in change) return `address ${change.address.mac} ${verb}`;
  if ('link' in change) {
    const { from, to } = change.link;
    if (to === undefined) return `link from the guest of port ${from} ${verb}`;
    if (from === undefined) return `link to the guest of port ${to} ${verb}`;
    return `link from port ${from} to port ${to} ${verb}`;
  }
  return `${noun} ${verb}${keys}`;
}
