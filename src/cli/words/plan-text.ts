/**
 * Changes of settings as lines that people know from other tools: what comes, what changes, what
 * goes, and whom that disturbs.
 *
 *     + port db
 *     ~ port web: mtu, source
 *     - port old (its machine is disconnected)
 */

import type { Change } from '../../model/difference.ts';

/** One line for each change. */
export function planLines(changes: readonly Change[]): string[] {
  return changes.map((change) => {
    const [sign, what] = lineOf(change);
    const keys = 'keys' in change ? `: ${change.keys.join(', ')}` : '';
    return `${sign} ${what}${keys}${disturbed(change)}`;
  });
}

function lineOf(change: Change): readonly [sign: '+' | '~' | '-', what: string] {
  switch (change.type) {
    case 'port-added':
      return ['+', `port ${change.port}`];
    case 'port-changed':
    case 'port-reopened':
      return ['~', `port ${change.port}`];
    case 'port-removed':
      return ['-', `port ${change.port}`];
    case 'bridge-added':
      return ['+', `bridge ${change.bridge}`];
    case 'bridge-changed':
      return ['~', `bridge ${change.bridge}`];
    case 'bridge-removed':
      return ['-', `bridge ${change.bridge}`];
    case 'address-fixed': {
      const { mac, port } = change.address;
      return ['+', `address ${mac} ${port === undefined ? 'nowhere' : `at port ${port}`}`];
    }
    case 'address-freed':
      return ['-', `address ${change.address.mac}`];
    case 'link-changed': {
      const { from = 'the machine', to = 'the machine' } = change.link;
      return [change.to === undefined ? '-' : '~', `link from ${from} to ${to}`];
    }
    case 'partition-changed':
      return [change.to.length === 0 ? '-' : '~', 'partition'];
    case 'workers-changed':
      return ['~', 'workers'];
  }
}

function disturbed({ disturbs, type }: Change): string {
  switch (disturbs) {
    case 'nobody':
      return '';
    case 'port':
      return type === 'port-removed'
        ? ' (its machine is disconnected)'
        : ' (its machine is disconnected, and may connect again)';
    case 'unlisted':
      return ' (its machine is disconnected if it is not allowed any more)';
  }
}

/** Of keys of the file that a reload cannot change. */
export function restartText(keys: readonly string[]): string {
  const are = keys.length === 1 ? 'is' : 'are';
  return `${keys.join(', ')} ${are} read at the start only; restart the switch to change that`;
}
