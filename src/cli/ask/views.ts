/**
 * What `tsvswitch show` has rows of: where they come from, and their columns.
 *
 * With --json a row is what the API says of it.
 */

import type { ControlClient } from '../../control/client.ts';
import type {
  BridgeStatus,
  LearnedAddress,
  MachinePortStatus,
  PortStatus,
} from '../../control/protocol.ts';
import type { Flow, WorkerStatus } from '../../index.ts';
import { defaultBridge } from '../../model/place.ts';
import type { Column } from './table.ts';

/** Of what is asked for. */
export interface Wanted {
  readonly port?: string;
  readonly bridge?: string;
}

export interface View<Row> {
  readonly summary: string;
  readonly columns: readonly Column<Row>[];
  /** What a script wants of a row. */
  readonly name: (row: Row) => string;
  readonly rows: (client: ControlClient, wanted: Wanted) => Promise<readonly Row[]>;
}

type Ring = NonNullable<MachinePortStatus['frontend']>['rings'][number];
type PortState =
  | 'down'
  | 'listening'
  | 'connecting'
  | 'connected'
  | 'forwarding'
  | 'stalled'
  | 'broken';

/** What a port is doing; one without a machine does nothing by itself. */
export function stateOf(port: PortStatus): PortState | undefined {
  if (port.down) return 'down';
  if (port.kind !== 'vhost-user') return undefined;
  const { frontend } = port;
  if (frontend === undefined) return port.listener === 'switch' ? 'listening' : 'connecting';
  if (frontend.rings.some(({ state }) => state === 'broken')) return 'broken';
  const running = frontend.rings.filter(({ enabled, control }) => enabled && control !== true);
  const receivers = running.filter(({ queue }) => queue % 2 === 0);
  if (receivers.length === 0) return 'connected';
  const isStalled = receivers.every((ring) => ring.state === 'started' && ring.offered === 0);
  return isStalled && dropsOf(port, 'noBuffer') > 0 ? 'stalled' : 'forwarding';
}

/** The state of a machine's port; of others the kind, as settings call it. */
export function stateText(port: PortStatus): string {
  return stateOf(port) ?? (port.kind === 'host' ? 'process' : port.kind);
}

function dropsOf({ counters: { drops } }: PortStatus, reason: string): number {
  return (drops as Readonly<Record<string, number>>)[reason] ?? 0;
}

const allDrops = ({ counters: { drops } }: PortStatus) =>
  Object.values(drops).reduce((sum, count) => sum + count, 0);

async function portsOf(client: ControlClient, wanted: Wanted): Promise<readonly PortStatus[]> {
  const ports = wanted.port === undefined ? await client.ports() : [await client.port(wanted.port)];
  return ports.filter(({ bridge }) => wanted.bridge === undefined || bridge === wanted.bridge);
}

const machine = (port: PortStatus) => (port.kind === 'vhost-user' ? port : undefined);

const ports: View<PortStatus> = {
  summary: 'ports, what they do, and how many frames they carried',
  name: ({ name }) => name,
  rows: portsOf,
  columns: [
    { head: 'PORT', of: ({ name }) => name },
    { head: 'STATE', of: stateText },
    { head: 'PEER', of: (port) => pidText(machine(port)?.frontend?.pid) },
    { head: 'MAC', of: ({ macs }) => shortList(macs) },
    { head: 'FROM GUEST', of: ({ counters }) => counters.fromGuest.frames },
    { head: 'TO GUEST', of: ({ counters }) => counters.toGuest.frames },
    { head: 'DROPS', of: allDrops },
    { head: 'BRIDGE', of: ({ bridge }) => bridge, isWide: true },
    { head: 'QUEUES', of: (port) => machine(port)?.frontend?.rings.length, isWide: true },
    { head: 'BYTES FROM', of: ({ counters }) => counters.fromGuest.bytes, isWide: true },
    { head: 'BYTES TO', of: ({ counters }) => counters.toGuest.bytes, isWide: true },
    { head: 'PATH', of: (port) => machine(port)?.path, isWide: true },
  ],
};

const queues: View<{ readonly port: string } & Ring> = {
  summary: 'the rings that run, what their drivers offer, and where they are',
  name: ({ port, queue }) => `${port}:${queue}`,
  rows: async (client, wanted) =>
    (await portsOf(client, wanted)).flatMap((port) =>
      (machine(port)?.frontend?.rings ?? []).map((ring) => ({ port: port.name, ...ring })),
    ),
  columns: [
    { head: 'PORT', of: ({ port }) => port },
    { head: 'QUEUE', of: ({ queue }) => queue },
    { head: 'USE', of: useOf },
    { head: 'STATE', of: ({ state, enabled }) => (enabled ? state : `${state}, disabled`) },
    { head: 'OFFERED', of: (ring) => (ring.state === 'started' ? ring.offered : undefined) },
    { head: 'BASE', of: ({ base }) => base },
    {
      head: 'REASON',
      of: (ring) => (ring.state === 'broken' ? ring.reason : undefined),
      isWide: true,
    },
  ],
};

function useOf({ control, queue }: Ring): string {
  if (control) return 'control';
  return queue % 2 === 0 ? 'to guest' : 'from guest';
}

/** Or one that is nowhere. */
type Address = LearnedAddress | { readonly [Key in 'mac' | 'bridge']: string };

const portOf = (address: Address) => ('port' in address ? address.port : undefined);

function kindOf(address: Address): string {
  if (!('port' in address)) return 'drop';
  return address.fixed ? 'fixed' : 'learned';
}

async function addressesOf(client: ControlClient): Promise<readonly Address[]> {
  const { fdb } = await client.settings();
  const nowhere = fdb.filter(({ port }) => port === undefined);
  return [
    ...(await client.fdb()),
    ...nowhere.map(({ mac, bridge = defaultBridge }) => ({ mac, bridge })),
  ];
}

const fdb: View<Address> = {
  summary: 'the addresses that are known, and behind which port',
  name: ({ mac }) => mac,
  rows: async (client, { port, bridge }) =>
    (await addressesOf(client)).filter(
      (entry) =>
        (port === undefined || portOf(entry) === port) &&
        (bridge === undefined || entry.bridge === bridge),
    ),
  columns: [
    { head: 'MAC', of: ({ mac }) => mac },
    { head: 'PORT', of: portOf },
    { head: 'BRIDGE', of: ({ bridge }) => bridge },
    { head: 'KIND', of: kindOf },
    {
      head: 'AGE',
      of: (entry) => (kindOf(entry) === 'learned' ? (entry as LearnedAddress).ageSeconds : ''),
    },
  ],
};

const bridges: View<BridgeStatus> = {
  summary: 'bridges, their ports, and how many addresses they know',
  name: ({ name }) => name,
  rows: async (client, { bridge }) =>
    bridge === undefined ? client.bridges() : [await client.bridge(bridge)],
  columns: [
    { head: 'BRIDGE', of: ({ name }) => name },
    { head: 'PORTS', of: ({ ports: { length } }) => length },
    { head: 'ADDRESSES', of: ({ addresses }) => addresses },
    { head: 'NAMES', of: ({ ports: names }) => names.join(','), isWide: true },
  ],
};

const workers: View<WorkerStatus> = {
  summary: 'the polling threads',
  name: ({ number }) => `${number}`,
  rows: (client) => client.workers(),
  columns: [
    { head: 'WORKER', of: ({ number }) => number },
    { head: 'CPU', of: ({ cpu }) => cpu },
    { head: 'TRANSMITQS', of: ({ transmitqs }) => transmitqs },
  ],
};

interface Drops {
  readonly port: string;
  readonly reason: string;
  readonly frames: number;
}

const drops: View<Drops> = {
  summary: 'frames that ended at a port, by reason',
  name: ({ port, reason }) => `${port}:${reason}`,
  rows: async (client, wanted) =>
    (await portsOf(client, wanted)).flatMap(({ name: port, counters }) =>
      Object.entries(counters.drops)
        .filter(([, frames]) => frames > 0)
        .map(([reason, frames]) => ({ port, reason, frames })),
    ),
  columns: [
    { head: 'PORT', of: ({ port }) => port },
    { head: 'REASON', of: ({ reason }) => reason },
    { head: 'FRAMES', of: ({ frames }) => frames },
  ],
};

type Memory = { readonly port: string } & NonNullable<MachinePortStatus['frontend']>['memory'];

const memory: View<Memory> = {
  summary: 'the memory that guests share',
  name: ({ port }) => port,
  rows: async (client, wanted) =>
    (await portsOf(client, wanted)).flatMap((port) => {
      const shared = machine(port)?.frontend?.memory;
      return shared === undefined ? [] : [{ port: port.name, ...shared }];
    }),
  columns: [
    { head: 'PORT', of: ({ port }) => port },
    { head: 'REGIONS', of: ({ regions }) => regions },
    { head: 'BYTES', of: ({ bytes }) => bytes },
    { head: 'PAGES', of: ({ hugePageBytes }) => hugePageBytes },
  ],
};

const flows: View<Flow> = {
  summary: 'what was delivered from port to port, the busiest pair first',
  name: ({ from, to }) => `${from}:${to ?? ''}`,
  rows: async (client, { port, bridge }) => {
    const all = await client.flows();
    if (port === undefined && bridge === undefined) return all;
    const names = new Set(
      (await portsOf(client, bridge === undefined ? {} : { bridge })).map(({ name }) => name),
    );
    const isAsked = (name = '') => names.has(name) && (port === undefined || name === port);
    return all.filter(({ from, to }) => isAsked(from) || isAsked(to));
  },
  columns: [
    { head: 'FROM', of: ({ from }) => from },
    { head: 'TO', of: ({ to }) => to ?? '(others)' },
    { head: 'FRAMES', of: ({ frames }) => frames },
    { head: 'BYTES', of: ({ bytes }) => bytes },
  ],
};

// Each with the type of its own rows.
export const views = { ports, queues, fdb, bridges, workers, drops, memory, flows };

export type ViewName = keyof typeof views;

function pidText(pid: number | undefined): string | undefined {
  return pid === undefined ? undefined : `pid ${pid}`;
}

function shortList(all: readonly string[]): string | undefined {
  return all.length > 1 ? `${all[0]} +${all.length - 1}` : all[0];
}
