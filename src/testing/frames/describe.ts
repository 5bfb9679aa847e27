/**
 * A frame, or the pattern of one, in one line as tcpdump would put it:
 *
 *     ARP who-has 10.0.0.2 tell 10.0.0.1
 *     IP 10.0.0.1.4000 > 10.0.0.2.53: UDP, length 5
 *
 * What a pattern leaves open is `*`, or is not said. Pure.
 */

import { type LayerName, neighbourAdvertisement, neighbourSolicitation } from './layers.ts';
import { type ParsedFrame, parse } from './parse.ts';

/** Where the words come from. */
export interface FieldTexts {
  has(layer: LayerName): boolean;
  /** The value of a field in words; undefined where it is open. */
  text(layer: LayerName, field: string): string | undefined;
}

const icmp4Names: Readonly<Record<string, string>> = {
  0: 'echo reply',
  3: 'unreachable',
  5: 'redirect',
  8: 'echo request',
  11: 'time exceeded',
};

const icmp6Names: Readonly<Record<string, string>> = {
  1: 'unreachable',
  2: 'packet too big',
  3: 'time exceeded',
  128: 'echo request',
  129: 'echo reply',
  133: 'router solicitation',
  134: 'router advertisement',
  [neighbourSolicitation]: 'neighbour solicitation',
  [neighbourAdvertisement]: 'neighbour advertisement',
  143: 'multicast listener report',
};

/** One line for a frame; never throws. */
export function describe(frame: Uint8Array | ParsedFrame): string {
  if (frame instanceof Uint8Array && frame.length < 14) {
    return `${frame.length} bytes, too few for a frame`;
  }
  const parsed = frame instanceof Uint8Array ? parse(frame) : frame;
  const tags = parsed.vlans.map(({ id }) => `vlan ${id}, `).join('');
  const wrong = (['ip4', 'icmp4', 'icmp6', 'udp', 'tcp'] as const)
    .filter((name) => parsed[name]?.checksumOk === false)
    .map((name) => ` (wrong ${name} checksum)`);
  const malformed = parsed.malformed === undefined ? '' : ` (malformed: ${parsed.malformed})`;
  const { length } = parsed.arp ? parsed.bytes : parsed.payload;
  const lengthText = parsed.arp ? '' : `, length ${length}`;
  return `${tags}${headline(textsOf(parsed))}${lengthText}${wrong.join('')}${malformed}`;
}

function textsOf(frame: ParsedFrame): FieldTexts {
  return {
    has: (layer) => frame[layer] !== undefined,
    text(layer, field) {
      const value: unknown = (frame[layer] as unknown as Record<string, unknown>)?.[field];
      return value === undefined ? undefined : `${value}`;
    },
  };
}

/** What the line says of the layers, the innermost that is known first. */
export function headline(texts: FieldTexts): string {
  if (texts.has('arp')) return arpLine(texts);
  const layer = (['udp', 'tcp', 'icmp4', 'icmp6'] as const).find((name) => texts.has(name));
  if (layer === undefined && !texts.has('ip4') && !texts.has('ip6')) return ethernetLine(texts);
  const ip = texts.has('ip6') || layer === 'icmp6' ? 'ip6' : 'ip4';
  const hasPorts = layer === 'udp' || layer === 'tcp';
  const end = (side: 'source' | 'target') => {
    const port = hasPorts ? texts.text(layer, `${side}Port`) : undefined;
    return `${texts.text(ip, side) ?? '*'}${port === undefined ? '' : `.${port}`}`;
  };
  const ends = `${ip === 'ip6' ? 'IP6' : 'IP'} ${end('source')} > ${end('target')}`;
  if (layer === undefined) return `${ends}: protocol ${texts.text(ip, 'protocol') ?? '*'}`;
  if (layer === 'udp') return `${ends}: UDP`;
  return `${ends}: ${layer === 'tcp' ? tcpText(texts) : icmpText(layer, texts)}`;
}

function arpLine(texts: FieldTexts): string {
  const text = (field: string) => texts.text('arp', field);
  const operation = text('operation');
  if (operation === 'reply') {
    return `ARP ${text('senderIp') ?? '*'} is-at ${text('senderMac') ?? '*'}`;
  }
  const other = operation === undefined ? 'about' : `operation ${operation}:`;
  const verb = operation === 'request' ? 'who-has' : other;
  const tell = text('senderIp');
  return `ARP ${verb} ${text('targetIp') ?? '*'}${tell === undefined ? '' : ` tell ${tell}`}`;
}

function ethernetLine(texts: FieldTexts): string {
  const text = (field: string) => texts.text('ethernet', field) ?? '*';
  const type = Number(texts.text('ethernet', 'etherType'));
  const typeText = Number.isNaN(type) ? '*' : `0x${type.toString(16).padStart(4, '0')}`;
  return `${text('from')} > ${text('to')}: ethertype ${typeText}`;
}

function tcpText(texts: FieldTexts): string {
  const flags = texts.text('tcp', 'flags');
  const numbers = listed(texts, 'tcp', { seq: 'sequence', ack: 'acknowledgment', win: 'window' });
  return `TCP${flags === undefined ? '' : ` [${flags}]`}${numbers}`;
}

function icmpText(layer: 'icmp4' | 'icmp6', texts: FieldTexts): string {
  const type = texts.text(layer, 'type');
  const names = layer === 'icmp4' ? icmp4Names : icmp6Names;
  const name = type === undefined ? '*' : (names[type] ?? `type ${type}`);
  const protocol = layer === 'icmp4' ? 'ICMP' : 'ICMP6';
  if (name.startsWith('neighbour')) {
    const who = texts.text(layer, 'targetIp') ?? '*';
    const link = texts.text(layer, 'linkAddress');
    return `${protocol} ${name} of ${who}${link === undefined ? '' : ` at ${link}`}`;
  }
  if (!name.startsWith('echo')) return `${protocol} ${name}`;
  return `${protocol} ${name}${listed(texts, layer, { id: 'id', seq: 'sequence' })}`;
}

/** Those fields that are not open, each behind its word. */
function listed(texts: FieldTexts, layer: LayerName, fields: Record<string, string>): string {
  const said = Object.entries(fields).map(([word, field]) => [word, texts.text(layer, field)]);
  return said.map(([word, value]) => (value === undefined ? '' : `, ${word} ${value}`)).join('');
}
