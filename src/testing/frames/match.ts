/**
 * What a test expects of a frame, and where a frame differs from it.
 *
 * A pattern has the shape of a parsed frame, with as much of it as matters: `{ arp: { targetIp:
 * '10.0.0.2' } }` is any ARP about that address, `{ udp: {} }` any UDP. A field is a value or a
 * function that says whether a value will do. Pure.
 */

import { failure } from '../../model/errors.ts';
import { canonicalAddress } from './address.ts';
import { describe, headline } from './describe.ts';
import type { FrameLayers, LayerName, VlanLayer } from './layers.ts';
import { type ParsedFrame, parse } from './parse.ts';

/** The value of a field, or whether one will do. */
export type FieldPattern<T> = T | ((value: T) => boolean);

/** Those fields of a layer that matter. */
export type LayerPattern<Layer> = {
  readonly [Field in keyof Layer]?: FieldPattern<Exclude<Layer[Field], undefined>>;
};

/** Those layers of a frame that matter. */
export type FramePattern = {
  readonly [Name in LayerName]?: LayerPattern<NonNullable<FrameLayers[Name]>>;
} & {
  /** Every tag, outermost first; `[]` is an untagged frame. */
  readonly vlans?: readonly LayerPattern<VlanLayer>[];
  /** What lies behind the last layer; text is compared as UTF-8. */
  readonly payload?: FieldPattern<Uint8Array> | string;
};

/** A pattern, the very bytes of a frame, or a function that says whether a frame will do. */
export type FrameMatcher = FramePattern | Uint8Array | ((frame: ParsedFrame) => boolean);

const ethernetBytes = 14;

/** Throws BAD_OPTION for what a call without types may give. */
export function checkMatcher(matcher: FrameMatcher): void {
  if (typeof matcher === 'function' || (typeof matcher === 'object' && matcher !== null)) return;
  throw failure('matcher-unknown', { matcher });
}

/** Where a frame differs from what is expected; empty if it does not. */
export function differences(frame: Uint8Array, matcher: FrameMatcher): string[] {
  if (matcher instanceof Uint8Array) return byteDifferences(frame, matcher);
  if (frame.length < ethernetBytes) return ['it is too short to be parsed'];
  const parsed = parse(frame);
  if (typeof matcher === 'function') {
    return matcher(parsed) ? [] : ['the function returned false'];
  }
  const { vlans, payload, ...layers } = matcher;
  return [
    ...(vlans === undefined ? [] : vlanDifferences(parsed.vlans, vlans)),
    ...Object.entries(layers).flatMap(([name, pattern]) =>
      layerDifferences(name, parsed[name as LayerName], pattern),
    ),
    ...(payload === undefined ? [] : payloadDifferences(parsed.payload, payload)),
  ];
}

/** What is expected, in the words of `describe()`. */
export function describeMatcher(matcher: FrameMatcher): string {
  if (matcher instanceof Uint8Array) return `exactly ${describe(matcher)}`;
  if (typeof matcher === 'function') return `a frame for which ${functionText(matcher)}`;
  const { vlans, payload, ...layers } = matcher;
  const said = new Set<string>();
  const line = headline({
    has: (layer) => layers[layer] !== undefined,
    text(layer, field) {
      said.add(`${layer}.${field}`);
      const pattern = fieldOf(layers[layer], field);
      return pattern === undefined ? undefined : valueText(pattern);
    },
  });
  const tags = (vlans ?? []).map((tag) => `vlan ${valueText(tag.id ?? '*')}, `).join('');
  const unsaid = Object.entries(layers).flatMap(([layer, pattern]) =>
    Object.entries(pattern ?? {})
      .filter(([field]) => !said.has(`${layer}.${field}`))
      .map(([field, value]) => `${layer}.${field} ${valueText(value)}`),
  );
  if (payload !== undefined) unsaid.push(`payload ${valueText(payload)}`);
  if (vlans?.length === 0) unsaid.push('no VLAN tag');
  const isAny = Object.keys(layers).length === 0;
  const besides = unsaid.length > 0 ? ` with ${unsaid.join(', ')}` : '';
  return `${tags}${isAny ? 'a frame' : line}${besides}`;
}

function byteDifferences(frame: Uint8Array, expected: Uint8Array): string[] {
  const length = Math.min(frame.length, expected.length);
  let at = 0;
  while (at < length && frame[at] === expected[at]) at++;
  if (at < length) {
    return [`byte ${at} is 0x${hex(frame[at]!)}, not 0x${hex(expected[at]!)}`];
  }
  if (frame.length === expected.length) return [];
  return [`it has ${frame.length} bytes, not ${expected.length}`];
}

function vlanDifferences(
  tags: readonly VlanLayer[],
  patterns: FramePattern['vlans'] = [],
): string[] {
  if (tags.length !== patterns.length) {
    return [`it has ${tags.length} VLAN tags, not ${patterns.length}`];
  }
  return patterns.flatMap((pattern, i) => layerDifferences(`vlans[${i}]`, tags[i], pattern));
}

function layerDifferences(
  name: string,
  layer: object | undefined,
  pattern: object | undefined,
): string[] {
  if (pattern === undefined) return [];
  if (layer === undefined) return [`it has no ${name}`];
  return Object.entries(pattern).flatMap(([field, expected]) => {
    const value = fieldOf(layer, field);
    if (matches(value, expected)) return [];
    return [`${name}.${field} is ${valueText(value)}, not ${valueText(expected)}`];
  });
}

function payloadDifferences(
  payload: Uint8Array,
  expected: FieldPattern<Uint8Array> | string,
): string[] {
  const pattern = typeof expected === 'string' ? Buffer.from(expected) : expected;
  return matches(payload, pattern)
    ? []
    : [`payload is ${valueText(payload)}, not ${valueText(expected)}`];
}

function matches(value: unknown, expected: unknown): boolean {
  if (typeof expected === 'function') return value !== undefined && expected(value) === true;
  if (expected instanceof Uint8Array) {
    return value instanceof Uint8Array && Buffer.compare(value, expected) === 0;
  }
  if (typeof expected === 'string' && typeof value === 'string') {
    return canonicalAddress(value) === canonicalAddress(expected);
  }
  return value === expected;
}

function fieldOf(layer: object | undefined, field: string): unknown {
  return (layer as Record<string, unknown> | undefined)?.[field];
}

function valueText(value: unknown): string {
  if (typeof value === 'function') return functionText(value as () => unknown);
  if (typeof value === 'string') return canonicalAddress(value);
  if (!(value instanceof Uint8Array)) return `${value}`;
  const shown = Array.from(value.subarray(0, 16), hex).join(' ');
  return `<${shown}${value.length > 16 ? ` ... ${value.length} bytes` : ''}>`;
}

function functionText(fn: (...parameters: never[]) => unknown): string {
  return `${fn}`.replaceAll(/\s+/g, ' ');
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, '0');
}
