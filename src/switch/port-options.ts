/**
 * The options of addPort(), in all their spellings, as the settings of a port. Every field is
 * checked here or, if only the machine knows what it is good for, where the port is prepared.
 */

import { basename, resolve } from 'node:path';
import { failure } from '../model/errors.ts';
import { bad, name as checkedName, flag, integer, text } from '../model/option-checks.ts';
import { defaultBridge } from '../model/place.ts';
import type { DgramSettings, PortSettings, VhostUserSettings } from '../model/settings.ts';
import { type SourceOptions, sourceRule } from '../policy/sources.ts';
import type { AnyPortOptions } from './options.ts';

const mtuDefault = 1500;
const mtuMin = 68;
const mtuMax = 65535;
const modeDefault = 0o660;

/** A port that is wanted. */
export interface WantedPort {
  readonly settings: PortSettings;
  /** Undefined: after its socket. */
  readonly name: string | undefined;
  /** As it was given, for the name and for sentences; undefined where there is no socket. */
  readonly socket: string | undefined;
}

/** The ports of these options, as settings by name. Throws what addPort() throws of options. */
export function portsOf(list: readonly AnyPortOptions[]): Record<string, PortSettings> {
  const ports = new Map<string, { readonly settings: PortSettings }>();
  for (const options of list) {
    const wanted = wantedPort(options);
    ports.set(nameOf(wanted, ports), wanted);
  }
  return Object.fromEntries(Array.from(ports, ([name, { settings }]) => [name, settings]));
}

/**
 * Of a port beside others: if none is given the file's, or the whole path where that is taken.
 * Throws SOCKET_DUPLICATE and BAD_OPTION.
 */
export function nameOf(
  { name, socket, settings }: WantedPort,
  others: ReadonlyMap<string, { readonly settings: PortSettings }>,
): string {
  const own = socketOf(settings);
  for (const other of own === undefined ? [] : others.values()) {
    if (socketOf(other.settings) !== own) continue;
    throw failure('socket-twice', { socket: socket! });
  }
  const short = basename(socket ?? '', '.sock');
  const chosen = checkedName('name', name ?? (others.has(short) ? socket : short));
  if (!others.has(chosen)) return chosen;
  throw failure('port-name-taken', { name: chosen });
}

/** Which no two ports share, whoever makes it. */
function socketOf(settings: PortSettings): string | undefined {
  if (settings.kind === 'process') return undefined;
  return settings.kind === 'vhost-user' ? (settings.connect ?? settings.path) : settings.path;
}

/** Throws BAD_OPTION. */
export function wantedPort(options: AnyPortOptions): WantedPort {
  if (typeof options !== 'object' || options === null) {
    throw failure('port-no-options', { options: String(options) });
  }
  const given = options as Readonly<Record<string, unknown>>;
  const place = {
    bridge: checkedName('bridge', given.bridge ?? defaultBridge),
    ...(given.source === undefined ? {} : { source: sourceOf(given.source as SourceOptions) }),
  };
  switch (kindOf(given)) {
    case 'process': {
      const name = checkedName('name', given.process ?? given.host ?? given.name);
      return { settings: { kind: 'process', ...place }, name, socket: undefined };
    }
    case 'dgram':
      return socketPort(given, given.dgram ?? given.path, (path) => dgram(given, place, path));
    default:
      return socketPort(given, given.connect ?? given.path, (path) =>
        vhostUser(given, place, path),
      );
  }
}

type Given = Readonly<Record<string, unknown>>;
type Place = Pick<PortSettings, 'bridge' | 'source'>;

function kindOf(given: Given): PortSettings['kind'] {
  switch (given.kind) {
    case undefined:
      if ('process' in given || 'host' in given) return 'process';
      return 'dgram' in given ? 'dgram' : 'vhost-user';
    case 'vhost-user':
    case 'process':
    case 'dgram':
      return given.kind;
    default:
      throw bad('kind', given.kind, 'vhost-user, process or dgram');
  }
}

function socketPort(
  { name }: Given,
  socket: unknown,
  settingsAt: (path: string) => PortSettings,
): WantedPort {
  const path = text('path', socket);
  return {
    settings: settingsAt(path),
    name: name === undefined ? undefined : checkedName('name', name),
    socket: path,
  };
}

function vhostUser(given: Given, place: Place, path: string): VhostUserSettings {
  const { connect, mode, group, allow, ringReset, inBand, mtu } = given;
  return {
    kind: 'vhost-user',
    ...place,
    ...(connect === undefined ? { path: resolve(path) } : { connect: resolve(path) }),
    mode: modeText(path, mode),
    // Looked up, and refused if need be, where the port is prepared.
    ...(group === undefined || connect !== undefined ? {} : { group: group as string | number }),
    ...(allow === undefined ? {} : { allow: copyOf(allow) as (string | number)[] }),
    ringReset: ringReset === undefined ? false : flag('ringReset', ringReset),
    inBand: inBand === undefined ? false : flag('inBand', inBand),
    mtu: mtu === undefined ? mtuDefault : integer('mtu', mtu, mtuMin, mtuMax),
  };
}

function dgram(given: Given, place: Place, path: string): DgramSettings {
  if (given.allow !== undefined) {
    const why = 'it hears all who may write to its file, so that a mode says who they are';
    throw failure('dgram-no-allow', { path, why });
  }
  const peer = resolve(text('peer', given.peer));
  return { kind: 'dgram', ...place, path: resolve(path), peer, mode: modeText(path, given.mode) };
}

function sourceOf(source: SourceOptions): NonNullable<PortSettings['source']> {
  sourceRule(source);
  return { macs: [...(source.macs ?? [])], addresses: [...(source.addresses ?? [])] };
}

/** JSON has no octal numbers, hence text. */
function modeText(path: string, mode: unknown = modeDefault): string {
  if (typeof mode === 'number' && Number.isInteger(mode) && mode >= 0 && mode <= 0o777) {
    return mode.toString(8).padStart(3, '0');
  }
  throw failure('socket-mode', { path, mode: String(mode) });
}

function copyOf(value: unknown): unknown {
  return Array.isArray(value) ? [...value] : value;
}
