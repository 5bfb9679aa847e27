/**
 * What Prometheus is told of a switch: one table, a row a metric, from which the text, the
 * reference and the dashboard's test are made.
 *
 * Names follow Prometheus: a unit or `_total` last, counters only ever grow while their port is
 * there. Directions are the guest's, as everywhere here: a frame that a port has delivered is one
 * `to_guest`.
 *
 * Source: https://prometheus.io/docs/practices/naming.
 */

import type { Flow, Switch, SwitchPort, WorkerCounters } from '../../index.ts';
import { version } from '../../runtime/version.ts';
import type { Sessions } from './sessions.ts';

export type Labels = Readonly<Record<string, string>>;

/** One number. A histogram's has what its buckets add to, each bucket with all below it. */
export type Sample =
  | { readonly labels: Labels; readonly value: number }
  | {
      readonly labels: Labels;
      readonly buckets: readonly { readonly upTo: number; readonly count: number }[];
      /** Of all, beyond the last bucket as well. */
      readonly count: number;
      readonly sum: number;
    };

export interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  /** What its samples are of: ports and flows can be asked for some of them at a time. */
  readonly of: 'switch' | 'ports' | 'flows';
  readonly samples: (of: Scrape) => readonly Sample[];
}

/** What one scrape looks at: every port is asked once. */
export interface Scrape {
  readonly switch: Switch;
  readonly workers: readonly WorkerCounters[];
  readonly flows: readonly Flow[];
  readonly ports: readonly {
    readonly port: SwitchPort;
    readonly labels: Labels;
    readonly counters: SwitchPort['counters'];
    /** How often a machine has connected. */
    readonly sessions: number;
    /** Of the port of a machine that is connected. */
    readonly frontend: Frontend | undefined;
  }[];
}

type Frontend = NonNullable<Extract<SwitchPort, { kind: 'vhost-user' }>['status']['frontend']>;

export function scrapedPort(port: SwitchPort, sessions: Sessions): Scrape['ports'][number] {
  const { name, bridge } = port;
  const rest = { port, labels: { port: name, bridge }, sessions: sessions.of(name) };
  if (port.kind !== 'vhost-user') {
    return { ...rest, counters: port.counters, frontend: undefined };
  }
  const { counters, frontend } = port.status;
  return { ...rest, counters, frontend };
}

const startedAtSeconds = Date.now() / 1000 - process.uptime();

export const families: readonly Family[] = [
  {
    name: 'tsvswitch_info',
    help: 'The version of the switch; always 1.',
    type: 'gauge',
    of: 'switch',
    samples: () => [{ labels: { version }, value: 1 }],
  },
  {
    name: 'process_start_time_seconds',
    help: 'When the process started, in seconds since 1970.',
    type: 'gauge',
    of: 'switch',
    samples: () => [{ labels: {}, value: startedAtSeconds }],
  },
  {
    name: 'process_resident_memory_bytes',
    help: 'Memory of the process that is in RAM.',
    type: 'gauge',
    of: 'switch',
    samples: () => [{ labels: {}, value: process.memoryUsage.rss() }],
  },
  {
    name: 'process_cpu_seconds_total',
    help: 'CPU time of all threads, the polling ones included.',
    type: 'counter',
    of: 'switch',
    samples: () => {
      const { user, system } = process.cpuUsage();
      return [{ labels: {}, value: (user + system) / 1e6 }];
    },
  },
  {
    name: 'tsvswitch_port_frames_total',
    help: 'Frames that came from a guest, or were delivered to it.',
    type: 'counter',
    of: 'ports',
    samples: directions(({ frames }) => frames),
  },
  {
    name: 'tsvswitch_port_bytes_total',
    help: 'Bytes of these frames.',
    type: 'counter',
    of: 'ports',
    samples: directions(({ bytes }) => bytes),
  },
  {
    name: 'tsvswitch_port_notifications_total',
    help: 'Interrupts that a guest was sent for these frames.',
    type: 'counter',
    of: 'ports',
    samples: directions(({ notifications }) => notifications),
  },
  {
    name: 'tsvswitch_port_flooded_frames_total',
    help: 'Frames of a guest that went to every other port of its bridge.',
    type: 'counter',
    of: 'ports',
    samples: ({ ports }) =>
      ports.map(({ labels, counters }) => ({ labels, value: counters.floodedFrames })),
  },
  {
    name: 'tsvswitch_port_drops_total',
    help: 'Frames that ended at a port, by reason.',
    type: 'counter',
    of: 'ports',
    samples: ({ ports }) =>
      ports.flatMap(({ labels, counters }) =>
        Object.entries(counters.drops).map(([reason, value]) => ({
          labels: { ...labels, reason },
          value,
        })),
      ),
  },
  {
    name: 'tsvswitch_port_impaired_frames_total',
    help: 'Frames that an impaired link held, duplicated, reordered or corrupted.',
    type: 'counter',
    of: 'ports',
    samples: ({ ports }) =>
      ports.flatMap(({ labels, counters }) =>
        Object.entries(counters.impaired).map(([effect, value]) => ({
          labels: { ...labels, effect },
          value,
        })),
      ),
  },
  {
    name: 'tsvswitch_port_connected',
    help: 'Whether a machine is connected to the port of one.',
    type: 'gauge',
    of: 'ports',
    samples: ({ ports }) =>
      ports.flatMap(({ port, labels, frontend }) =>
        port.kind === 'vhost-user' ? [{ labels, value: frontend === undefined ? 0 : 1 }] : [],
      ),
  },
  {
    name: 'tsvswitch_port_sessions_total',
    help: 'Times that a machine connected to the port of one.',
    type: 'counter',
    of: 'ports',
    samples: ({ ports }) =>
      ports.flatMap(({ port, labels, sessions }) =>
        port.kind === 'vhost-user' ? [{ labels, value: sessions }] : [],
      ),
  },
  {
    name: 'tsvswitch_port_guest_memory_bytes',
    help: 'Memory that a guest shares with the switch.',
    type: 'gauge',
    of: 'ports',
    samples: ({ ports }) =>
      ports.flatMap(({ labels, frontend }) =>
        frontend === undefined ? [] : [{ labels, value: frontend.memory.bytes }],
      ),
  },
  {
    name: 'tsvswitch_queue_offered_chains',
    help: 'Buffers that a driver offers on a queue and the switch has not taken.',
    type: 'gauge',
    of: 'ports',
    samples: ({ ports }) => rings(ports, (ring) => (ring.state === 'started' ? ring.offered : 0)),
  },
  {
    name: 'tsvswitch_queue_broken',
    help: 'Whether a guest broke a queue by what it wrote there.',
    type: 'gauge',
    of: 'ports',
    samples: ({ ports }) => rings(ports, (ring) => (ring.state === 'broken' ? 1 : 0)),
  },
  {
    name: 'tsvswitch_flow_frames_total',
    help: 'Frames that were delivered from one port to another.',
    type: 'counter',
    of: 'flows',
    samples: ofFlows(({ frames }) => frames),
  },
  {
    name: 'tsvswitch_flow_bytes_total',
    help: 'Bytes of these frames.',
    type: 'counter',
    of: 'flows',
    samples: ofFlows(({ bytes }) => bytes),
  },
  {
    name: 'tsvswitch_fdb_entries',
    help: 'Addresses that a bridge has learned.',
    type: 'gauge',
    of: 'switch',
    samples: ({ switch: { bridges } }) =>
      bridges.map(({ name, fdbSize }) => ({ labels: { bridge: name }, value: fdbSize })),
  },
  {
    name: 'tsvswitch_worker_transmitqs',
    help: 'Transmit queues that a worker polls.',
    type: 'gauge',
    of: 'switch',
    samples: ({ switch: { workers } }) =>
      workers.map(({ number, transmitqs }) => ({
        labels: { worker: String(number) },
        value: transmitqs,
      })),
  },
  {
    name: 'tsvswitch_worker_idle_seconds_total',
    help: 'Time in which a worker slept, or polled and found nothing.',
    type: 'counter',
    of: 'switch',
    samples: ({ workers }) =>
      workers.map(({ number, idleSeconds }) => ({
        labels: { worker: String(number) },
        value: idleSeconds,
      })),
  },
  {
    name: 'tsvswitch_worker_wakeups_total',
    help: 'Times that a worker woke up after it slept.',
    type: 'counter',
    of: 'switch',
    samples: ({ workers }) =>
      workers.map(({ number, wakeups }) => ({
        labels: { worker: String(number) },
        value: wakeups,
      })),
  },
  {
    name: 'tsvswitch_worker_round_frames',
    help: 'Frames that a worker moved in one round, of rounds that moved any.',
    type: 'histogram',
    of: 'switch',
    samples: ({ workers }) =>
      workers.map(({ number, frames, rounds }) => ({
        labels: { worker: String(number) },
        ...cumulative(rounds),
        sum: frames,
      })),
  },
];

function directions(
  pick: (counters: { frames: number; bytes: number; notifications: number }) => number,
): Family['samples'] {
  return ({ ports }) =>
    ports.flatMap(({ labels, counters: { fromGuest, toGuest } }) => [
      { labels: { ...labels, direction: 'from_guest' }, value: pick(fromGuest) },
      { labels: { ...labels, direction: 'to_guest' }, value: pick(toGuest) },
    ]);
}

/** Floods to ports that nothing was meant for are no flows. */
function ofFlows(pick: (flow: Flow) => number): Family['samples'] {
  return ({ flows }) =>
    flows.flatMap((flow) => {
      const { from, to } = flow;
      return to === undefined ? [] : [{ labels: { from, to }, value: pick(flow) }];
    });
}

function rings(
  ports: Scrape['ports'],
  pick: (ring: Frontend['rings'][number]) => number,
): Sample[] {
  return ports.flatMap(({ labels, frontend }) =>
    (frontend?.rings ?? []).map((ring) => ({
      labels: { ...labels, queue: String(ring.queue) },
      value: pick(ring),
    })),
  );
}

/** Each bucket with all below it. */
function cumulative(rounds: WorkerCounters['rounds']): {
  buckets: { upTo: number; count: number }[];
  count: number;
} {
  let count = 0;
  const buckets = rounds.flatMap(({ framesMax, count: own }) => {
    count += own;
    return framesMax === undefined ? [] : [{ upTo: framesMax, count }];
  });
  return { buckets, count };
}
