/**
 * Open vSwitch with DPDK as a backend that connects: two dpdkvhostuserclient ports of one bridge
 * that learns, an independent implementation to hold a frontend and driver against.
 *
 * It runs without huge pages, its bridge in a network namespace of its own, and polls a core from
 * start to stop: every run has a time limit.
 */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const daemon = '/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk';
const schema = '/usr/share/openvswitch/vswitch.ovsschema';
const limitMs = 600_000;
const startLimitMs = 120_000;
const bridge = 'ovs-test';

/** Why it cannot run here, or undefined if it can. */
export function ovsMissing(): string | undefined {
  if (!existsSync(daemon)) return 'is not installed (Debian: openvswitch-switch-dpdk)';
  try {
    execFileSync('unshare', ['--net', 'true'], { stdio: 'ignore' });
    return undefined;
  } catch {
    return 'needs a network namespace of its own, which only root can make';
  }
}

export interface Ovs {
  /** Where it connects to, every second while nobody listens. */
  readonly paths: readonly [string, string];
  stop(): Promise<void>;
}

export async function startOvs(queues: number): Promise<Ovs> {
  const folder = mkdtempSync(join(tmpdir(), 'ovs-'));
  const paths = [join(folder, 'a.sock'), join(folder, 'b.sock')] as const;
  const database = `unix:${join(folder, 'db.sock')}`;
  const processes: ChildProcess[] = [];
  let output = '';
  const run = (command: string, args: readonly string[]) => {
    const env = { ...process.env, OVS_RUNDIR: folder, OVS_DBDIR: folder, OVS_LOGDIR: folder };
    const child = spawn(command, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        output += chunk;
      });
    }
    processes.unshift(child);
    return child;
  };
  const limit = setTimeout(() => {
    for (const child of processes) child.kill('SIGKILL');
  }, limitMs);
  const stop = async () => {
    // The switch first: it removes its bridge from the database.
    for (const child of processes) {
      const exited = new Promise((resolve) => child.once('exit', resolve));
      if (child.exitCode === null && child.signalCode === null && child.kill()) await exited;
    }
    clearTimeout(limit);
    rmSync(folder, { recursive: true });
  };
  const vsctl = (...args: string[]) =>
    execFileSync('ovs-vsctl', [`--db=${database}`, ...args], {
      encoding: 'utf8',
      timeout: startLimitMs,
    });
  try {
    const file = join(folder, 'conf.db');
    execFileSync('ovsdb-tool', ['create', file, schema]);
    const control = join(folder, 'db.ctl');
    run('ovsdb-server', [file, `--remote=p${database}`, `--unixctl=${control}`]);
    await until(
      () => existsSync(join(folder, 'db.sock')),
      () => output,
    );
    vsctl('--no-wait', 'init');
    vsctl(
      ...['--no-wait', 'set', 'Open_vSwitch', '.', 'other_config:dpdk-init=true'],
      ...['other_config:dpdk-lcore-mask=0x1', 'other_config:pmd-cpu-mask=0x2'],
      'other_config:dpdk-extra=--no-pci --legacy-mem --no-huge -m 512 --no-shconf --no-telemetry',
    );
    run('unshare', ['--net', daemon, database, `--unixctl=${join(folder, 'sw.ctl')}`]);
    const port = (name: string, path: string) => [
      ...['--', 'add-port', bridge, name, '--', 'set', 'Interface', name],
      ...[
        'type=dpdkvhostuserclient',
        `options:vhost-server-path=${path}`,
        `options:n_rxq=${queues}`,
      ],
    ];
    // Returns when the switch has done it.
    vsctl(
      ...['add-br', bridge, '--', 'set', 'bridge', bridge, 'datapath_type=netdev'],
      ...port('a', paths[0]),
      ...port('b', paths[1]),
    );
    return { paths, stop };
  } catch (cause) {
    await stop();
    throw new Error(`OVS did not start:\n${output}`, { cause });
  }
}

async function until(isThere: () => boolean, output: () => string): Promise<void> {
  const endMs = performance.now() + startLimitMs;
  while (!isThere()) {
    if (performance.now() > endMs) throw new Error(output());
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
