/**
 * Whether settings that have the right shape fit together: a port that has no socket or two, two
 * ports with one socket, links of ports that are not there. Pure.
 */

import { resolve } from 'node:path';
import { type Finding, shown } from './findings.ts';
import { parseIpNetwork } from './ip-network.ts';
import { parseCardMac } from './mac.ts';
import { bridgeOf } from './place.ts';
import type {
  ImpairmentSettings,
  PortSettings,
  SourceSettings,
  SwitchSettings,
  VhostUserSettings,
} from './settings.ts';

export function conflicts(settings: SwitchSettings): Finding[] {
  return [
    ...workerConflicts(settings),
    ...Object.entries(settings.ports).flatMap(([name, port]) =>
      portConflicts(port).map(({ at, sentence }) => ({
        path: ['ports', name, ...at],
        part: 'value' as const,
        sentence,
      })),
    ),
    ...sharedSockets(settings),
    ...fixedConflicts(settings),
    ...linkConflicts(settings),
    ...partitionConflicts(settings),
  ];
}

function workerConflicts({ workers, cpus }: SwitchSettings): Finding[] {
  if (cpus.length <= workers) return [];
  const count = workers === 1 ? 'one worker' : `${workers} workers`;
  const sentence = `${cpus.length} CPUs for ${count}; give at most one each`;
  return [{ path: ['cpus'], part: 'value', sentence }];
}

interface PortFinding {
  readonly at: readonly string[];
  readonly sentence: string;
}

function portConflicts(port: PortSettings): PortFinding[] {
  return [
    ...(port.kind === 'vhost-user' ? vhostUserConflicts(port) : []),
    ...(port.source === undefined ? [] : sourceConflicts(port.source)),
  ];
}

function vhostUserConflicts({ path, connect, group }: VhostUserSettings): PortFinding[] {
  const found: PortFinding[] = [];
  if (path === undefined && connect === undefined) {
    found.push({ at: [], sentence: 'has neither path nor connect; it needs one of them' });
  }
  if (path !== undefined && connect !== undefined) {
    found.push({ at: ['connect'], sentence: 'path is given as well; a port has one of them' });
  }
  if (connect !== undefined && group !== undefined) {
    found.push({ at: ['group'], sentence: 'belongs to a port that listens; this one connects' });
  }
  return found;
}

function sourceConflicts({ macs, addresses }: SourceSettings): PortFinding[] {
  if (macs.length + addresses.length === 0) {
    return [{ at: ['source'], sentence: 'lists nothing; leave it out to allow all' }];
  }
  const wrong = (
    key: 'macs' | 'addresses',
    texts: readonly string[],
    parse: (text: string) => unknown,
    what: string,
  ) =>
    texts.flatMap((text, index): PortFinding[] => {
      if (parse(text) !== undefined) return [];
      return [{ at: ['source', key, String(index)], sentence: `${shown(text)} is not ${what}` }];
    });
  return [
    ...wrong('macs', macs, parseCardMac, 'the MAC address of a card, such as 52:54:00:00:00:01'),
    ...wrong(
      'addresses',
      addresses,
      parseIpNetwork,
      'an IP address or network, such as 10.0.0.1, fd00::1 or 10.0.0.0/24',
    ),
  ];
}

/** Every socket of a switch is one port's. */
function sharedSockets({ ports }: SwitchSettings): Finding[] {
  const owners = new Map<string, string>();
  return Object.entries(ports).flatMap(([name, port]): Finding[] => {
    if (port.kind === 'process') return [];
    const [key, socket] =
      port.kind === 'vhost-user' && port.path === undefined
        ? (['connect', port.connect] as const)
        : (['path', port.path] as const);
    if (socket === undefined) return [];
    const owner = owners.get(resolve(socket));
    owners.set(resolve(socket), owner ?? name);
    if (owner === undefined) return [];
    const sentence = `port ${owner} has this socket; every port needs one of its own`;
    return [{ path: ['ports', name, key], part: 'value', sentence }];
  });
}

/** An address is at one place of a bridge. */
function fixedConflicts({ fdb, ports, bridges }: SwitchSettings): Finding[] {
  const seen = new Set<string>();
  return fdb.flatMap(({ mac, port, bridge }, index): Finding[] => {
    const of = (key: string, sentence: string): Finding[] => [
      { path: ['fdb', String(index), key], part: 'value', sentence },
    ];
    const number = parseCardMac(mac);
    if (number === undefined) {
      return of('mac', `${shown(mac)} is not the MAC address of a card, such as 52:54:00:00:00:01`);
    }
    if (port !== undefined && bridge !== undefined) {
      return of('bridge', `is that of port ${port}; leave it out`);
    }
    if (port !== undefined && !Object.hasOwn(ports, port)) {
      return of('port', `there is no port named ${port}`);
    }
    if (bridge !== undefined && !Object.hasOwn(bridges, bridge)) {
      return of('bridge', `there is no bridge named ${bridge}`);
    }
    const key = JSON.stringify([number, bridgeOf({ port, bridge }, ports)]);
    if (seen.has(key)) return of('mac', `${mac} is listed twice on this bridge`);
    seen.add(key);
    return [];
  });
}

function linkConflicts({ links, ports }: SwitchSettings): Finding[] {
  const seen = new Set<string>();
  return links.flatMap(({ from, to, impairment }, index): Finding[] => {
    const path = ['links', String(index)];
    const of = (key: string | undefined, sentence: string): Finding => ({
      path: key === undefined ? path : [...path, key],
      part: 'value',
      sentence,
    });
    if (from === undefined && to === undefined) {
      return [of(undefined, 'has neither from nor to; it needs one of them')];
    }
    const missing = (['from', 'to'] as const).flatMap((key) => {
      const port = { from, to }[key];
      if (port === undefined || Object.hasOwn(ports, port)) return [];
      return [of(key, `there is no port named ${port}`)];
    });
    if (missing.length > 0) return missing;
    if (from !== undefined && from === to) {
      return [of('to', 'no frame goes back to its own port')];
    }
    if (from !== undefined && to !== undefined && ports[from]!.bridge !== ports[to]!.bridge) {
      return [of('to', `${to} is on another bridge than ${from}`)];
    }
    const key = JSON.stringify([from, to]);
    if (seen.has(key)) return [of(undefined, 'this link is listed twice')];
    seen.add(key);
    return impairmentConflicts(impairment).map((sentence) => of('impairment', sentence));
  });
}

function impairmentConflicts(impairment: ImpairmentSettings): string[] {
  const { delayMs = 0, jitterMs = 0, reorder } = impairment;
  return [
    ...(jitterMs > delayMs
      ? [`jitterMs is ${jitterMs}, more than delayMs, which is ${delayMs}`]
      : []),
    ...(reorder?.lateByMs === 0 ? ['reorder.lateByMs is 0; late is more than that'] : []),
  ];
}

function partitionConflicts({ partition, ports }: SwitchSettings): Finding[] {
  if (partition.length === 0) return [];
  if (partition.length === 1) {
    return [{ path: ['partition'], part: 'value', sentence: 'has one side; it needs two or more' }];
  }
  const seen = new Set<string>();
  return partition.flatMap((side, index) =>
    side.flatMap((port): Finding[] => {
      const of = (sentence: string): Finding[] => [
        { path: ['partition', String(index)], part: 'value', sentence },
      ];
      if (!Object.hasOwn(ports, port)) return of(`there is no port named ${port}`);
      if (seen.has(port)) return of(`${port} is on two sides`);
      seen.add(port);
      return [];
    }),
  );
}
