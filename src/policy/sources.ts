/**
 * The source addresses that a port is bound to: MAC addresses, IP addresses and networks.
 * The data plane holds the guest to them (native/core/policy/source_rule.h says what that means for
 * each protocol).
 */

import { failure } from '../model/errors.ts';
import { type IpNetwork, parseIpNetwork } from '../model/ip-network.ts';
import { parseCardMac } from '../model/mac.ts';
import { fields } from '../model/option-checks.ts';
import type { SourceRule } from '../native/addon.ts';

/** What the guest of a port may send from; what it sends from others is dropped. */
export interface SourceOptions {
  /** Such as `52:54:00:00:00:01`; any unless given. At most 64. */
  readonly macs?: readonly string[];
  /**
   * Such as `192.168.0.1`, `fd00::1` or `10.0.0.0/24`; any unless given. At most 64. The link-local
   * address made from the MAC address need not be listed; one that the guest chose by itself
   * (`fe80::/64` allows all) does.
   */
  readonly addresses?: readonly string[];
}

const entriesMax = 64;

/** Throws BAD_OPTION. */
export function sourceRule(source: SourceOptions | undefined): SourceRule | undefined {
  if (source === undefined) return undefined;
  const { macs, addresses } = fields('source', source, ['macs', 'addresses']);
  const rule = {
    macs: list('macs', macs).map(macNumber),
    networks: list('addresses', addresses).map(network),
  };
  if (rule.macs.length + rule.networks.length > 0) return rule;
  throw failure('source-empty');
}

function list(name: string, value: unknown): readonly unknown[] {
  if (value === undefined) return [];
  if (!Array.isArray(value) || value.length > entriesMax) {
    throw failure('source-no-list', { name, max: entriesMax });
  }
  return value;
}

function macNumber(text: unknown): number {
  const number = parseCardMac(text);
  if (number !== undefined) return number;
  throw failure('source-no-mac', { text: JSON.stringify(text) });
}

function network(text: unknown): IpNetwork {
  const parsed = parseIpNetwork(text);
  if (parsed !== undefined) return parsed;
  throw failure('source-no-network', { text: JSON.stringify(text) });
}
