/**
 * Whether settings that have the right shape fit together: a port that has no socket or two, two
 * ports with one socket, links of ports that are not there. Pure.
 */

import type { Finding } from './findings.ts';
import type { ImpairmentSettings, PortSettings, SwitchSettings } from './settings.ts';

export function conflicts(settings: SwitchSettings): Finding[] {
  return [
    ...workerConflicts(settings),
    ...Object.entries(settings.ports).flatMap(([name, port]) =>
      portConflicts(port).map(({ key, sentence }) => ({
        path: ['ports', name, ...(key === undefined ? [] : [key])],
        part: 'value' as const,
        sentence,
      })),
    ),
    ...sharedSockets(settings),
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

function portConflicts(port: PortSettings): { key?: string; sentence: string }[] {
  const found: { key?: string; sentence: string }[] = [];
  if (port.kind === 'vhost-user') {
    if (port.path === undefined && port.connect === undefined) {
      found.push({ sentence: 'has neither path nor connect; it needs one of them' });
    }
    if (port.path !== undefined && port.connect !== undefined) {
      found.push({ key: 'connect', sentence: 'path is given as well; a port has one of them' });
    }
    if (port.connect !== undefined && port.group !== undefined) {
      found.push({ key: 'group', sentence: 'belongs to a port that listens; this one connects' });
    }
  }
  const { source } = port;
  if (source !== undefined && source.macs.length + source.addresses.length === 0) {
    found.push({ key: 'source', sentence: 'lists nothing; leave it out to allow all' });
  }
  return found;
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
    const owner = owners.get(socket);
    owners.set(socket, owner ?? name);
    if (owner === undefined) return [];
    const sentence = `port ${owner} has this socket; every port needs one of its own`;
    return [{ path: ['ports', name, key], part: 'value', sentence }];
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

function impairmentConflicts({ delayMs = 0, jitterMs = 0 }: ImpairmentSettings): string[] {
  if (jitterMs <= delayMs) return [];
  return [`jitterMs is ${jitterMs}, more than delayMs, which is ${delayMs}`];
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
