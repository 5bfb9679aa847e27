/**
 * What the host's facts mean for running machines: a list of findings for `tsvswitch host status`.
 *
 * Pure. `good` is as good as it gets, `limited` works and says what is lost and how to get it,
 * `missing` stops machines from running at all.
 */

import { type HostFacts, type HugepagePool, mountPoint, type SettingName } from './facts.ts';

export interface Finding {
  readonly name: string;
  readonly state: 'good' | 'limited' | 'missing';
  /** What is. */
  readonly is: string;
  /** What it is needed for, and how to get it where it is not good. */
  readonly need: string;
}

/** What machines run on, found out by running it. */
export interface Emulator {
  readonly qemu:
    | { readonly type: 'usable'; readonly version: string }
    | { readonly type: 'unusable'; readonly reason: string };
  /** Whether a guest runs under KVM; undefined where that was not tried. */
  readonly kvmWorks: boolean | undefined;
}

/** Two sockets; kick, call and err of two rings; some to spare. */
const filesOfPort = 10;
const portsMin = 100;
const prepare = '`tsvswitch host prepare --memory SIZE` as root';

export function findings(facts: HostFacts, emulator: Emulator): Finding[] {
  return [
    qemu(emulator),
    kvm(facts, emulator),
    ...hugepages(facts),
    mount(facts),
    ...settings(facts),
    openFiles(facts),
    {
      name: 'locked memory',
      state: 'good',
      is: `up to ${size(facts.limits.lockedBytes)}`,
      need: 'none: neither the switch nor its machines lock memory',
    },
    {
      name: 'tun',
      state: 'good',
      is: facts.devices.tun,
      need: 'only for a tap device you give a machine yourself',
    },
    sockets(facts),
  ];
}

function qemu({ qemu }: Emulator): Finding {
  const name = 'QEMU';
  return qemu.type === 'usable'
    ? { name, state: 'good', is: qemu.version, need: 'runs the machines' }
    : { name, state: 'missing', is: 'no machine runs without it', need: qemu.reason };
}

function kvm({ devices }: HostFacts, { kvmWorks }: Emulator): Finding {
  const without = 'without it machines are emulated, many times slower';
  const finding = (state: Finding['state'], is: string, need: string): Finding => ({
    name: 'KVM',
    state,
    is,
    need,
  });
  if (devices.kvm === 'absent') {
    const mend = 'turn virtualization on in the firmware or in the outer hypervisor';
    return finding('limited', 'no /dev/kvm', `${without}: ${mend}`);
  }
  if (devices.kvm === 'forbidden') {
    const mend = '`usermod -aG kvm USER` as root, then log in again';
    return finding('limited', 'this user may not open /dev/kvm', `${without}: ${mend}`);
  }
  if (kvmWorks === undefined) {
    return finding(
      'good',
      '/dev/kvm opens',
      'the first machine shows whether a guest runs under it',
    );
  }
  return kvmWorks
    ? finding('good', 'a guest runs under it', 'machines at full speed')
    : finding('limited', '/dev/kvm opens, but no guest runs under it', without);
}

function hugepages({ pools }: HostFacts): Finding[] {
  const name = 'huge pages';
  const without = 'without them machines use ordinary shared memory, which is slower';
  if (pools.length === 0) {
    return [{ name, state: 'limited', is: 'not in this kernel', need: without }];
  }
  return pools
    .filter(({ isDefault, total }) => isDefault || total > 0)
    .map((pool) => ({
      name,
      state: pool.available > 0 ? 'good' : 'limited',
      is: poolText(pool),
      need: pool.available > 0 ? 'memory of the machines' : `${without}: ${prepare}`,
    }));
}

function poolText({ pageBytes, total, available, nodes }: HugepagePool): string {
  const perNode = nodes.map(({ node, total, free }) => `${free} of ${total} on node ${node}`);
  return [
    `${available} of ${total} free, ${size(pageBytes)} each`,
    ...(nodes.length > 1 ? [perNode.join(', ')] : []),
  ].join('; ');
}

function mount({ mounts }: HostFacts): Finding {
  const name = 'hugetlbfs';
  const writable = mounts.filter(({ isWritable }) => isWritable);
  if (writable.length > 0) {
    const is = writable.map(({ folder, pageBytes }) => `${folder} (${size(pageBytes)})`).join(', ');
    return { name, state: 'good', is, need: 'how machines take huge pages' };
  }
  const folder = mounts[0]?.folder;
  return {
    name,
    state: 'limited',
    is: folder === undefined ? 'not mounted' : `${folder} is not writable for this user`,
    need:
      folder === undefined
        ? `how machines take huge pages: ${prepare} mounts ${mountPoint}`
        : 'how machines take huge pages: `tsvswitch host prepare --memory SIZE --group GROUP` as ' +
          'root',
  };
}

function settings({ settings, pools }: HostFacts): Finding[] {
  const pool = pools.find(({ isDefault }) => isDefault);
  const pages = pool?.total ?? 0;
  const atLeast = (name: SettingName, wanted: number, need: string): Finding => {
    const is = settings[name] ?? 0;
    const state = is >= wanted ? 'good' : 'limited';
    return {
      name,
      state,
      is: Number.isFinite(is) ? String(is) : 'unlimited',
      need: state === 'good' ? need : `${need}: ${prepare}`,
    };
  };
  return [
    {
      name: 'vm.nr_hugepages',
      state: 'good',
      is: String(settings['vm.nr_hugepages'] ?? 'not in this kernel'),
      need: 'the size of the pool of huge pages',
    },
    atLeast('vm.max_map_count', 2 * pages, `at least ${2 * pages} for DPDK programs`),
    atLeast(
      'kernel.shmmax',
      pages * (pool?.pageBytes ?? 0),
      'at least the pool, for programs that take it as one shared segment',
    ),
    {
      name: 'vm.hugetlb_shm_group',
      state: 'good',
      is: String(settings['vm.hugetlb_shm_group'] ?? 'not in this kernel'),
      need: 'a group that may make shared segments of huge pages; machines use a hugetlbfs',
    },
  ];
}

function openFiles({ limits }: HostFacts): Finding {
  const ports = Math.floor(limits.openFiles / filesOfPort);
  const enough = ports >= portsMin;
  return {
    name: 'open files',
    state: enough ? 'good' : 'limited',
    is: `up to ${limits.openFiles}`,
    need:
      `about ${filesOfPort} a port with one pair of ` +
      `queues${enough ? '' : `, so about ${ports} ports: raise \`ulimit -Hn\``}`,
  };
}

function sockets({ sockets }: HostFacts): Finding {
  const { folder, isWritable, nameBytesMax } = sockets;
  const name = 'sockets';
  const mend = 'set XDG_RUNTIME_DIR to a folder of your own with a short path';
  if (!isWritable) {
    return { name, state: 'limited', is: `${folder} is not writable for this user`, need: mend };
  }
  return nameBytesMax > 0
    ? {
        name,
        state: 'good',
        is: folder,
        need: `a unix socket's path holds 107 bytes: names of up to ${nameBytesMax} here`,
      }
    : { name, state: 'limited', is: `${folder} is too long for a unix socket`, need: mend };
}

/** `Infinity` is what an unlimited limit is. */
export function size(bytes: number): string {
  if (!Number.isFinite(bytes)) return 'any amount';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  return `${Number((bytes / 2 ** (10 * power)).toFixed(1))} ${units[power]}`;
}
