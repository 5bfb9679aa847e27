/**
 * The sources a port is bound to, as they are written: MAC addresses, IP addresses and networks. The data
 * plane holds the guest to them (native/core/policy/source_rule.h says what that means for each protocol).
 */

import ipaddr from 'ipaddr.js';
import { TsvswitchError } from '../errors.ts';
import type { SourceRule, SpoofedSource } from '../native.ts';
import { fields } from '../option-checks.ts';
import type { PortEvent } from './port.ts';

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
  throw bad('neither macs nor addresses are listed; leave it out to allow all');
}

/** What the operator hears when a guest's frame was dropped for its source. */
export function sourceSpoofed(
  port: string,
  { kind, source }: SpoofedSource,
): Extract<PortEvent, { type: 'source-spoofed' }> {
  const what =
    kind === 'unknown'
      ? `of EtherType ${source}, whose source cannot be checked`
      : `from ${source}, which it is not bound to`;
  const counter = kind === 'mac' ? 'spoofedMac' : 'spoofedAddress';
  const sentence = `port ${port}: dropped a frame ${what}; all such are counted as ${counter}`;
  return { type: 'source-spoofed', port, sentence };
}

function list(name: string, value: unknown): readonly unknown[] {
  if (value === undefined) return [];
  if (!Array.isArray(value) || value.length > entriesMax) {
    throw bad(`${name} is not a list of at most ${entriesMax}`);
  }
  return value;
}

function macNumber(mac: unknown): number {
  const isMac = typeof mac === 'string' && /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(mac);
  const number = isMac ? Number.parseInt(mac.replaceAll(':', ''), 16) : 0;
  const groupBit = 2 ** 40;
  if (number === 0 || Math.floor(number / groupBit) % 2 === 1) {
    throw bad(`${JSON.stringify(mac)} is not the MAC address of a card, such as 52:54:00:00:00:01`);
  }
  return number;
}

function network(text: unknown): SourceRule['networks'][number] {
  const [, address, length] =
    /^([^/]+)(?:\/(\d{1,3}))?$/.exec(typeof text === 'string' ? text : '') ?? [];
  const isV4 = address !== undefined && ipaddr.IPv4.isValidFourPartDecimal(address);
  const isV6 = address !== undefined && ipaddr.IPv6.isValid(address) && !address.includes('%');
  const lengthMax = isV4 ? 32 : 128;
  const prefixLength = Number(length ?? lengthMax);
  if (!(isV4 || isV6) || prefixLength > lengthMax) {
    throw bad(
      `${JSON.stringify(text)} is not an IP address or network, such as 10.0.0.1, fd00::1 or 10.0.0.0/24`,
    );
  }
  return { address: Uint8Array.from(ipaddr.parse(address!).toByteArray()), prefixLength };
}

function bad(sentence: string): TsvswitchError {
  return new TsvswitchError('BAD_OPTION', `source: ${sentence}`);
}
