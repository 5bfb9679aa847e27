/**
 * Open vSwitch with its DPDK datapath: one netdev bridge in its default mode (learning, the NORMAL
 * action), ports of type dpdkvhostuser, one poll mode thread. Runs without systemd, with a database
 * of its own.
 */

import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { run } from '../process.ts';
import {
  type Driver,
  findProgram,
  launch,
  listening,
  missingHugePages,
  peerHugePageBytes,
  type StartOptions,
  startLimitMs,
} from './driver.ts';

const daemonName = 'ovs-vswitchd-dpdk';
const daemonFolder = '/usr/lib/openvswitch-switch-dpdk';
const schema = '/usr/share/openvswitch/vswitch.ovsschema';
const commandLimitMs = 20_000;

/** Sockets appear in OVS_RUNDIR under the name of the interface. */
function environment(folder: string): Record<string, string> {
  return { OVS_RUNDIR: folder, OVS_DBDIR: folder, OVS_LOGDIR: folder };
}

/** Packet pools of one port each, 16384 packets, of which this many fit the huge pages. */
const ownPoolPortsMax = 8;

function dpdkSettings({ mainCpu, workerCpu, sockets }: StartOptions): string[] {
  const mask = (cpu: number): string => `0x${(1 << cpu).toString(16)}`;
  return [
    'other_config:dpdk-init=true',
    `other_config:dpdk-lcore-mask=${mask(mainCpu)}`,
    `other_config:pmd-cpu-mask=${mask(workerCpu)}`,
    'other_config:dpdk-socket-mem=256',
    // For a few ports, packet pools as large as they need. The shared pool begins with 262144
    // packets and halves that until it fits, which leaves little for the queues of the guests.
    `other_config:per-port-memory=${sockets.length <= ownPoolPortsMax}`,
    `other_config:dpdk-socket-limit=${peerHugePageBytes / 2 ** 20}`,
    'other_config:dpdk-extra="--no-pci --in-memory"',
  ];
}

export const ovs: Driver = {
  name: 'OVS-DPDK',
  lacks: {
    // Even with userspace-tso-enable: for ports of this type it is switched off again.
    segmentation: 'dpdkvhostuser ports offer none',
    'second worker': 'measured with one worker only',
    'no checks': 'not built here',
  },

  unavailable: () => {
    if (findProgram(daemonName, [daemonFolder]) === undefined) return `${daemonName} not found`;
    if (!existsSync(schema)) return `${schema} not found`;
    return missingHugePages();
  },

  version: async () => {
    const output = await run('ovs-vsctl', ['--version'], { limitMs: commandLimitMs });
    return output.split('\n')[0]!.replace('ovs-vsctl (Open vSwitch)', 'Open vSwitch');
  },

  start: (options) => {
    const { folder, sockets, needs } = options;
    const mtu = needs.includes('jumbo') ? ['mtu_request=9000'] : [];
    const env = environment(folder);
    const database = join(folder, 'conf.db');
    const databaseSocket = join(folder, 'db.sock');
    const vsctl = (...args: string[]): Promise<string> =>
      run('ovs-vsctl', [`--db=unix:${databaseSocket}`, '--timeout=15', ...args], {
        limitMs: commandLimitMs,
        env,
      });
    return launch(async (children) => {
      await run('ovsdb-tool', ['create', database, schema], { limitMs: commandLimitMs, env });
      const server = children.start(
        'ovsdb-server',
        [...[database, `--remote=punix:${databaseSocket}`], `--unixctl=${join(folder, 'db.ctl')}`],
        { logFile: join(folder, 'ovsdb.log'), env },
      );
      await server.until('database', () => existsSync(databaseSocket), startLimitMs);
      await vsctl('--no-wait', 'init');
      await vsctl('--no-wait', 'set', 'Open_vSwitch', '.', ...dpdkSettings(options));
      const daemon = children.start(
        findProgram(daemonName, [daemonFolder])!,
        [`unix:${databaseSocket}`, `--unixctl=${join(folder, 'sw.ctl')}`],
        { logFile: join(folder, 'vswitchd.log'), env },
      );
      const ports = sockets
        .map((socket) => basename(socket))
        .flatMap((name) => [
          ...['--', 'add-port', 'br0', name],
          ...['--', 'set', 'Interface', name, 'type=dpdkvhostuser', ...mtu],
        ]);
      await vsctl('add-br', 'br0', '--', 'set', 'bridge', 'br0', 'datapath_type=netdev', ...ports);
      return listening(daemon, sockets);
    });
  },
};
