/**
 * What people write for a setting, such as `delay=20ms`, `loss=1%` and `mac=52:54:00:00:00:01`, as
 * values of the API. Only the notation is read here: whether a value can be, the switch says, with
 * the path to it. Pure.
 */

import { failure, type TsvswitchError } from '../../model/errors.ts';
import { unknownKey } from '../../model/wording.ts';

/** `key=value`; without a value the key has its default again. */
export interface Pair {
  readonly key: string;
  readonly value: string;
}

/** Throws BAD_OPTION. */
export function pairsOf(words: readonly string[]): Pair[] {
  return words.map((word) => {
    const [, key, value] = /^([A-Za-z-]+)=(.*)$/s.exec(word) ?? [];
    if (key !== undefined && value !== undefined) return { key, value };
    throw failure('no-pair', { word });
  });
}

type Read = (value: string) => unknown;

const text: Read = (value) => value;
const list: Read = (value) => value.split(',');
const number: Read = (value) => (/^-?\d+(\.\d+)?$/.test(value) ? Number(value) : value);
const nameOrNumber: Read = (value) => (/^\d{1,10}$/.test(value) ? Number(value) : value);

const booleans: Readonly<Record<string, boolean>> = {
  on: true,
  off: false,
  true: true,
  false: false,
};
const boolean: Read = (value) => (Object.hasOwn(booleans, value) ? booleans[value] : value);

/** Settings of a port: the key of the API, and how its value is written. */
const portKeys: Readonly<Record<string, readonly [path: readonly string[], read: Read]>> = {
  path: [['path'], text],
  connect: [['connect'], text],
  peer: [['peer'], text],
  bridge: [['bridge'], text],
  mode: [['mode'], text],
  group: [['group'], nameOrNumber],
  allow: [['allow'], (value) => value.split(',').map(nameOrNumber)],
  mac: [['source', 'macs'], list],
  address: [['source', 'addresses'], list],
  mtu: [['mtu'], number],
  'ring-reset': [['ringReset'], boolean],
  'in-band': [['inBand'], boolean],
};

type Plain = Record<string, unknown>;

/** Sets keys of a port; one without a value is taken out. Throws BAD_OPTION. */
export function setPort(port: object, pairs: readonly Pair[]): void {
  for (const { key, value } of pairs) {
    const row = Object.hasOwn(portKeys, key) ? portKeys[key] : undefined;
    if (row === undefined) throw strange(key, Object.keys(portKeys));
    const [[first, second], read] = row;
    const at = second === undefined ? (port as Plain) : inner(port as Plain, first!);
    const last = second ?? first!;
    if (value === '') delete at[last];
    else at[last] = read(value);
    // A source that lists nothing is none.
    if (second !== undefined && Object.values(at).flat().length === 0) {
      delete (port as Plain)[first!];
    }
  }
}

function inner(port: Plain, key: string): Plain {
  port[key] ??= {};
  return port[key] as Plain;
}

/** Parts of a second. */
const unitsMs: Readonly<Record<string, number>> = { us: 1e-3, ms: 1, s: 1000 };
const unitsBits: Readonly<Record<string, number>> = {
  ...{ bit: 1, kbit: 1e3, mbit: 1e6, gbit: 1e9 },
};
const unitsBytes: Readonly<Record<string, number>> = { '': 1, k: 2 ** 10, m: 2 ** 20 };

const withUnit = (units: Readonly<Record<string, number>>, example: string) => (value: string) => {
  const [, digits, unit] = /^(\d+(?:\.\d+)?)([a-z]*)$/.exec(value.toLowerCase()) ?? [];
  const factor = unit === undefined || !Object.hasOwn(units, unit) ? undefined : units[unit];
  if (digits !== undefined && factor !== undefined) return Number(digits) * factor;
  throw failure('unit-unknown', { value, example });
};

const duration = withUnit(unitsMs, '20ms, 500us or 1s');
const rate = withUnit(unitsBits, '100Mbit or 1Gbit');
const size = withUnit(unitsBytes, '65536, 64k or 1M');

/** A probability as a percentage or a part of one. */
function chance(value: string): unknown {
  const percent = /^(\d+(?:\.\d+)?)%$/.exec(value)?.[1];
  return percent === undefined ? number(value) : Number(percent) / 100;
}

/** What a link can suffer from, as keys people know from tc. */
const linkKeys: Readonly<Record<string, (value: string) => object>> = {
  delay: (value) => ({ delayMs: duration(value) }),
  jitter: (value) => ({ jitterMs: duration(value) }),
  loss: (value) => ({ loss: chance(value) }),
  duplicate: (value) => ({ duplicate: chance(value) }),
  corrupt: (value) => ({ corrupt: chance(value) }),
  reorder: (value) => {
    const [probability = '', lateBy = '1ms'] = value.split(',');
    return { reorder: { probability: chance(probability), lateByMs: duration(lateBy) } };
  },
  rate: (value) => {
    const [bits = '', queue] = value.split(',');
    const queueBytes = queue === undefined ? {} : { queueBytes: size(queue) };
    return { rate: { bitsPerSecond: rate(bits), ...queueBytes } };
  },
  mtu: (value) => ({ mtuBytes: number(value) }),
  blackhole: (value) => ({ blackhole: boolean(value) }),
};

/** Throws BAD_OPTION. */
export function impairmentOf(pairs: readonly Pair[]): object {
  return Object.assign(
    {},
    ...pairs.map(({ key, value }) => {
      if (Object.hasOwn(linkKeys, key)) return linkKeys[key]!(value);
      throw strange(key, Object.keys(linkKeys));
    }),
  );
}

/** Ports between commas, sides between slashes. */
export function sidesOf(words: readonly string[]): string[][] {
  return words
    .join(' ')
    .split('/')
    .map((side) =>
      side
        .split(',')
        .map((port) => port.trim())
        .filter((port) => port !== ''),
    );
}

function strange(key: string, known: readonly string[]): TsvswitchError {
  return failure('key-unknown', { what: unknownKey(key, known) });
}
