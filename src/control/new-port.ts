/**
 * Reads the body of POST /v1/ports: what the switch is asked to add, checked field by field,
 * because it may have been typed into curl. What a path or a group is good for only the switch
 * finds out.
 */

import { isAbsolute } from 'node:path';
import { type ListenOptions, type PortOptions, TsvswitchError } from '../index.ts';
import { nameFault } from '../model/option-checks.ts';
import { printable, unknownKey } from '../model/wording.ts';

const textCharactersMax = 1024;
const portFields = [
  ...['path', 'connect', 'name', 'bridge', 'mode', 'group', 'allow', 'source'],
  ...['ringReset', 'inBand', 'mtu'],
];

/** `defaults` apply to a port that listens. Throws CONTROL_BAD_REQUEST. */
export function newPortOf(body: unknown, defaults: ListenOptions): PortOptions {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw bad(`the body is ${JSON.stringify(body)}, but {"path": "..."} was expected`);
  }
  const unknown = Object.keys(body).find((key) => !portFields.includes(key));
  if (unknown !== undefined) throw bad(`port: ${unknownKey(unknown, portFields)}`);
  const { name, bridge, allow, source, ringReset, inBand, mtu, path, connect, mode, group } =
    body as Record<string, unknown>;
  const place = {
    ...(name === undefined ? {} : { name: nameOf('name', name) }),
    ...(bridge === undefined ? {} : { bridge: nameOf('bridge', bridge) }),
    // These are checked to the last entry where they are used.
    ...(allow === undefined ? {} : { allow: allow as NonNullable<PortOptions['allow']> }),
    ...(source === undefined ? {} : { source: source as NonNullable<PortOptions['source']> }),
    ...(ringReset === undefined ? {} : { ringReset: ringReset as boolean }),
    ...(inBand === undefined ? {} : { inBand: inBand as boolean }),
    ...(mtu === undefined ? {} : { mtu: mtu as number }),
  };
  if (connect !== undefined) {
    if (path !== undefined) throw bad('path and connect are both given; a port has one of them');
    if (mode !== undefined || group !== undefined) {
      throw bad('mode and group belong to a port that listens on a path; this one connects');
    }
    return { ...place, connect: pathOf('connect', connect) };
  }
  if (path === undefined) throw bad('neither path nor connect is given; a port needs one of them');
  return {
    ...place,
    ...defaults,
    path: pathOf('path', path),
    ...(mode === undefined ? {} : { mode: modeOf(mode) }),
    ...(group === undefined ? {} : { group: groupOf(group) }),
  };
}

/** A relative path would be one of the switch, and not of whoever asks. */
function pathOf(field: string, value: unknown): string {
  const path = textOf(field, value);
  if (!isAbsolute(path)) throw bad(`${field}: ${path} is not an absolute path`);
  return path;
}

function nameOf(field: string, value: unknown): string {
  const expected = nameFault(value);
  if (expected === undefined) return value as string;
  throw bad(`${field}: ${printable(JSON.stringify(value))} is not ${expected}`);
}

/** Paths end up in log lines and command lines. */
function textOf(field: string, value: unknown): string {
  if (
    typeof value !== 'string' ||
    value === '' ||
    value.length > textCharactersMax ||
    printable(value) !== value
  ) {
    throw bad(
      `${field}: ${printable(JSON.stringify(value))} is not a text of printable characters`,
    );
  }
  return value;
}

/** JSON has no octal numbers, hence text. */
function modeOf(value: unknown): number {
  if (typeof value === 'string' && /^[0-7]{3}$/.test(value)) return Number.parseInt(value, 8);
  throw bad(`mode: ${JSON.stringify(value)} is not a text of three octal digits, such as "660"`);
}

function groupOf(value: unknown): string | number {
  return typeof value === 'number' ? value : textOf('group', value);
}

function bad(sentence: string): TsvswitchError {
  return new TsvswitchError('CONTROL_BAD_REQUEST', sentence);
}
