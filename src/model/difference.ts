/**
 * What has to be done so that a switch is as wanted: the changes from one complete document to
 * another, in an order in which each can be made.
 *
 *     ports go, bridges come, ports change, ports come, bridges go, addresses, links, partition,
 *     workers
 *
 * A port goes before another one may take its socket, and a bridge comes before a port is on it.
 * Pure.
 */

import { isDeepStrictEqual } from 'node:util';
import { bridgeOf, placeKey } from './place.ts';
import type {
  BridgeSettings,
  FixedAddress,
  LinkSettings,
  PortKindName,
  PortSettings,
  SettingsOf,
  SwitchSettings,
} from './settings.ts';

/** What cannot be changed while the machine stays connected: its port is opened anew. */
export const reopeningKeys: {
  readonly [Kind in PortKindName]: readonly (keyof SettingsOf<Kind>)[];
} = {
  'vhost-user': ['path', 'connect', 'ringReset', 'inBand'],
  process: [],
  dgram: ['path', 'peer'],
};

/**
 * Whom a change disturbs, beyond what it is for: `nobody`; the machine on its `port`, which loses
 * its connection; or that machine only if it is `unlisted`, as `allow` names its process no more.
 */
export type Disturbance = 'nobody' | 'port' | 'unlisted';

/** What of a switch is about its workers. */
export type WorkerSettings = Pick<SwitchSettings, 'workers' | 'cpus' | 'idleUs' | 'balance'>;

/** One thing to do. `keys` are the settings that differ. */
export type Change = { readonly disturbs: Disturbance } & Deed;

type Deed =
  | { readonly type: 'port-removed'; readonly port: string }
  | { readonly type: 'bridge-added'; readonly bridge: string; readonly to: BridgeSettings }
  | {
      readonly type: 'bridge-changed';
      readonly bridge: string;
      readonly keys: readonly string[];
      readonly from: BridgeSettings;
      readonly to: BridgeSettings;
    }
  | {
      readonly type: 'port-changed';
      readonly port: string;
      readonly keys: readonly string[];
      readonly from: PortSettings;
      readonly to: PortSettings;
    }
  /** The port is closed and opened anew: its machine loses its connection for a moment. */
  | {
      readonly type: 'port-reopened';
      readonly port: string;
      readonly keys: readonly string[];
      readonly to: PortSettings;
    }
  | { readonly type: 'port-added'; readonly port: string; readonly to: PortSettings }
  | { readonly type: 'bridge-removed'; readonly bridge: string }
  /** In place of what was known of it. */
  | { readonly type: 'address-fixed'; readonly address: FixedAddress }
  /** It is learned again. */
  | { readonly type: 'address-freed'; readonly address: FixedAddress }
  /** Without `to` it is as good as new. */
  | {
      readonly type: 'link-changed';
      readonly link: Pick<LinkSettings, 'from' | 'to'>;
      readonly to?: LinkSettings['impairment'];
    }
  | { readonly type: 'partition-changed'; readonly to: SwitchSettings['partition'] }
  | {
      readonly type: 'workers-changed';
      readonly keys: readonly string[];
      readonly from: WorkerSettings;
      readonly to: WorkerSettings;
    };

/** Of two complete documents (check.ts). */
export function difference(from: SwitchSettings, to: SwitchSettings): Change[] {
  const ports = portChanges(from.ports, to.ports);
  const bridges = bridgeChanges(from.bridges, to.bridges);
  const ofType = (...types: Deed['type'][]) =>
    [...ports, ...bridges].filter(({ type }) => types.includes(type));
  const deeds = [
    ...ofType('port-removed'),
    ...ofType('bridge-added', 'bridge-changed'),
    ...ofType('port-changed', 'port-reopened'),
    ...ofType('port-added'),
    ...ofType('bridge-removed'),
    ...addressChanges(from, to, [...ports, ...bridges]),
    ...linkChanges(from, to, ports),
    ...partitionChange(from, to, ports),
    ...workerChange(from, to),
  ];
  return deeds.map((deed) => ({ disturbs: disturbance(deed), ...deed }));
}

function disturbance(deed: Deed): Disturbance {
  switch (deed.type) {
    case 'port-removed':
    case 'port-reopened':
      return 'port';
    case 'port-changed':
      return deed.keys.includes('allow') ? 'unlisted' : 'nobody';
    default:
      return 'nobody';
  }
}

function portChanges(from: SwitchSettings['ports'], to: SwitchSettings['ports']): Deed[] {
  const removed = Object.keys(from).filter((port) => !Object.hasOwn(to, port));
  return [
    ...removed.map((port): Deed => ({ type: 'port-removed', port })),
    ...Object.entries(to).flatMap(([port, wanted]): Deed[] => {
      const present = Object.hasOwn(from, port) ? from[port] : undefined;
      if (present === undefined) return [{ type: 'port-added', port, to: wanted }];
      const keys = differingKeys(present, wanted);
      if (keys.length === 0) return [];
      const reopening: readonly string[] = ['kind', ...reopeningKeys[wanted.kind]];
      if (keys.some((key) => reopening.includes(key))) {
        return [{ type: 'port-reopened', port, keys, to: wanted }];
      }
      return [{ type: 'port-changed', port, keys, from: present, to: wanted }];
    }),
  ];
}

function bridgeChanges(from: SwitchSettings['bridges'], to: SwitchSettings['bridges']): Deed[] {
  const removed = Object.keys(from).filter((bridge) => !Object.hasOwn(to, bridge));
  return [
    ...Object.entries(to).flatMap(([bridge, wanted]): Deed[] => {
      const present = Object.hasOwn(from, bridge) ? from[bridge] : undefined;
      if (present === undefined) return [{ type: 'bridge-added', bridge, to: wanted }];
      const keys = differingKeys(present, wanted);
      if (keys.length === 0) return [];
      return [{ type: 'bridge-changed', bridge, keys, from: present, to: wanted }];
    }),
    ...removed.map((bridge): Deed => ({ type: 'bridge-removed', bridge })),
  ];
}

/** A port that goes, is opened anew or moves takes its addresses with it, and so does a bridge. */
function addressChanges(
  from: SwitchSettings,
  to: SwitchSettings,
  changes: readonly Deed[],
): Deed[] {
  const gone = newPorts(changes);
  const goneBridges = new Set<string>();
  for (const change of changes) {
    if (change.type === 'port-changed' && change.keys.includes('bridge')) gone.add(change.port);
    if (change.type === 'bridge-removed') goneBridges.add(change.bridge);
  }
  const present = new Map(
    from.fdb
      .filter((address) => !gone.has(address.port ?? ''))
      .filter((address) => !goneBridges.has(bridgeOf(address, from.ports)))
      .map((address) => [placeKey(address, from.ports), address]),
  );
  const wanted = new Map(to.fdb.map((address) => [placeKey(address, to.ports), address]));
  return [
    ...[...present]
      .filter(([key]) => !wanted.has(key))
      .map(([, address]): Deed => ({ type: 'address-freed', address })),
    ...[...wanted]
      .filter(([key, address]) => !isDeepStrictEqual(present.get(key), address))
      .map(([, address]): Deed => ({ type: 'address-fixed', address })),
  ];
}

/** A port that goes, or is opened anew, takes its links with it. */
function linkChanges(from: SwitchSettings, to: SwitchSettings, ports: readonly Deed[]): Deed[] {
  const gone = newPorts(ports);
  const key = ({ from, to }: Pick<LinkSettings, 'from' | 'to'>) => JSON.stringify([from, to]);
  const survives = ({ from, to }: LinkSettings) => ![from, to].some((port) => gone.has(port ?? ''));
  const present = new Map(from.links.filter(survives).map((link) => [key(link), link]));
  const wanted = new Map(to.links.map((link) => [key(link), link]));
  const ends = ({ from, to }: LinkSettings) => ({
    ...(from === undefined ? {} : { from }),
    ...(to === undefined ? {} : { to }),
  });
  return [
    ...[...present]
      .filter(([at]) => !wanted.has(at))
      .map(([, link]): Deed => ({ type: 'link-changed', link: ends(link) })),
    ...[...wanted]
      .filter(([at, { impairment }]) => !isDeepStrictEqual(present.get(at)?.impairment, impairment))
      .map(([, link]): Deed => ({ type: 'link-changed', link: ends(link), to: link.impairment })),
  ];
}

function partitionChange(from: SwitchSettings, to: SwitchSettings, ports: readonly Deed[]): Deed[] {
  const isOfNew = to.partition.flat().some((port) => newPorts(ports).has(port));
  if (isDeepStrictEqual(from.partition, to.partition) && !isOfNew) return [];
  return [{ type: 'partition-changed', to: to.partition }];
}

function workerChange(from: SwitchSettings, to: SwitchSettings): Deed[] {
  const settingsOf = ({ workers, cpus, idleUs, balance }: SwitchSettings): WorkerSettings => ({
    workers,
    cpus,
    idleUs,
    balance,
  });
  const [present, wanted] = [settingsOf(from), settingsOf(to)];
  const keys = differingKeys(present, wanted);
  return keys.length === 0 ? [] : [{ type: 'workers-changed', keys, from: present, to: wanted }];
}

/** Ports that the data plane knows nothing of any more, or not yet. */
function newPorts(changes: readonly Deed[]): Set<string> {
  return new Set(
    changes.flatMap((change) =>
      change.type === 'port-removed' ||
      change.type === 'port-reopened' ||
      change.type === 'port-added'
        ? [change.port]
        : [],
    ),
  );
}

function differingKeys(one: object, other: object): string[] {
  const entries = (value: object) => value as Readonly<Record<string, unknown>>;
  const keys = new Set([...Object.keys(one), ...Object.keys(other)]);
  return [...keys].filter((key) => !isDeepStrictEqual(entries(one)[key], entries(other)[key]));
}
