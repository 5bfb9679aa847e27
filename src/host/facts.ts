/**
 * What the host has for virtual machines: huge pages, the settings around them, devices and limits.
 *
 * Reading only, all of it below one root folder, so that other machines can be looked at from a
 * copy of their files. What a kernel or a container does not have is absent from the facts, never
 * an error. What follows from the facts is needs.ts's and report.ts's to say.
 *
 * Sources: Linux Documentation/admin-guide/mm/hugetlbpage.rst, proc(5), sysctl.d(5), fstab(5).
 */

import { access, constants, readdir, readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';

export const settingNames = [
  'vm.nr_hugepages',
  'vm.max_map_count',
  'vm.hugetlb_shm_group',
  'kernel.shmmax',
] as const;

export type SettingName = (typeof settingNames)[number];

/** Infinity stands for "unlimited". */
export type Settings = Readonly<Partial<Record<SettingName, number>>>;

export interface HugepagePool {
  readonly pageBytes: number;
  /** Whether vm.nr_hugepages and a hugetlbfs without `pagesize=` are about this pool. */
  readonly isDefault: boolean;
  /** Pages that are there for good; surplus ones, which go when they are freed, are not counted. */
  readonly total: number;
  /** Free and not promised to anyone. */
  readonly available: number;
  /** The pages of each NUMA node; free ones may be promised. */
  readonly nodes: readonly {
    readonly node: number;
    readonly total: number;
    readonly free: number;
  }[];
}

export interface HugetlbfsMount {
  readonly folder: string;
  readonly pageBytes: number;
  /** By the user who asks. */
  readonly isWritable: boolean;
  readonly gid: number;
  readonly mode: number;
}

export type DeviceAccess = 'absent' | 'forbidden' | 'usable';

export interface HostFacts {
  /** What all paths were read below; empty for this machine. */
  readonly root: string;
  readonly isRootUser: boolean;
  readonly memory: { readonly totalBytes: number; readonly availableBytes: number };
  /** The default size first, then by size; empty on a kernel without huge pages. */
  readonly pools: readonly HugepagePool[];
  readonly mounts: readonly HugetlbfsMount[];
  readonly settings: Settings;
  /** What the sysctl.d files set at boot, and the file whose word is the last. */
  readonly bootSettings: Readonly<
    Partial<Record<SettingName, { readonly value: number; readonly file: string }>>
  >;
  /** What our own file among them says, heard or not. */
  readonly ownBootSettings: Settings;
  /** Who mounts a hugetlbfs of the default pool at boot: a line of fstab, or systemd of itself. */
  readonly bootMount: 'fstab' | 'systemd' | 'none';
  readonly devices: { readonly kvm: DeviceAccess; readonly tun: DeviceAccess };
  /** Hard limits of this process, Infinity if there is none. */
  readonly limits: { readonly openFiles: number; readonly lockedBytes: number };
  /** Where sockets go unless told otherwise, and how long the name of one may be there. */
  readonly sockets: {
    readonly folder: string;
    readonly isWritable: boolean;
    readonly nameBytesMax: number;
  };
}

export const mountPoint = '/dev/hugepages';
export const sysctlFile = '/etc/sysctl.d/90-tsvswitch.conf';
export const fstabFile = '/etc/fstab';

const poolFolder = '/sys/kernel/mm/hugepages';
const nodeFolder = '/sys/devices/system/node';
/**
 * In the order of precedence: a file of the same name in an earlier folder replaces the later one.
 */
const sysctlFolders = [
  '/etc/sysctl.d',
  '/run/sysctl.d',
  '/usr/local/lib/sysctl.d',
  '/usr/lib/sysctl.d',
];
const systemdMountUnit = '/usr/lib/systemd/system/dev-hugepages.mount';
/** Linux unix(7): sun_path holds 108 bytes, the last one a zero. */
const socketPathBytesMax = 107;
/** What the kernel writes for "as much as there is" does not fit a number exactly, and need not. */
const unlimitedFrom = 2 ** 63;

/** The facts of this machine, or of the one whose files lie below `root`. */
export async function hostFacts(root = ''): Promise<HostFacts> {
  const meminfo = await textOf(join(root, '/proc/meminfo'));
  const defaultPageBytes = meminfoField(meminfo, 'Hugepagesize');
  const pools = await readPools(root, defaultPageBytes);
  const [settings, bootSettings, ownFile, mounts, bootMount, kvm, tun, limits] = await Promise.all([
    readSettings(root, pools),
    readBootSettings(root),
    textOf(join(root, sysctlFile)),
    readMounts(root, defaultPageBytes),
    readBootMount(root, defaultPageBytes),
    deviceAccess(join(root, '/dev/kvm')),
    deviceAccess(join(root, '/dev/net/tun')),
    textOf(join(root, '/proc/self/limits')),
  ]);
  const folder = process.env.XDG_RUNTIME_DIR ?? '/tmp';
  return {
    root,
    isRootUser: process.getuid?.() === 0,
    memory: {
      totalBytes: meminfoField(meminfo, 'MemTotal'),
      availableBytes: meminfoField(meminfo, 'MemAvailable'),
    },
    pools,
    mounts,
    settings,
    bootSettings,
    ownBootSettings: Object.fromEntries(parseSysctl(ownFile)),
    bootMount,
    devices: { kvm, tun },
    limits: {
      openFiles: hardLimit(limits, 'Max open files'),
      lockedBytes: hardLimit(limits, 'Max locked memory'),
    },
    sockets: {
      folder,
      isWritable: await may(folder, constants.W_OK | constants.X_OK),
      nameBytesMax: socketPathBytesMax - Buffer.byteLength(join(folder, '/')),
    },
  };
}

async function readPools(root: string, defaultPageBytes: number): Promise<HugepagePool[]> {
  const names = await namesIn(join(root, poolFolder));
  const pools = await Promise.all(
    names.flatMap((name) => {
      const pageBytes = Number(/^hugepages-(\d+)kB$/.exec(name)?.[1]) * 1024;
      return Number.isNaN(pageBytes) ? [] : [readPool(root, name, pageBytes, defaultPageBytes)];
    }),
  );
  return pools.sort(
    (a, b) => Number(b.isDefault) - Number(a.isDefault) || a.pageBytes - b.pageBytes,
  );
}

async function readPool(
  root: string,
  name: string,
  pageBytes: number,
  defaultPageBytes: number,
): Promise<HugepagePool> {
  const count = (file: string) => countIn(join(root, poolFolder, name, file));
  const [all, surplus, free, promised, nodeNames] = await Promise.all([
    count('nr_hugepages'),
    count('surplus_hugepages'),
    count('free_hugepages'),
    count('resv_hugepages'),
    namesIn(join(root, nodeFolder)),
  ]);
  const numbers = nodeNames.flatMap((node) => /^node(\d+)$/.exec(node)?.[1] ?? []).map(Number);
  const nodes = await Promise.all(
    numbers
      .sort((a, b) => a - b)
      .map(async (node) => {
        const folder = join(root, nodeFolder, `node${node}`, 'hugepages', name);
        const [total, free] = await Promise.all([
          countIn(join(folder, 'nr_hugepages')),
          countIn(join(folder, 'free_hugepages')),
        ]);
        return { node, total, free };
      }),
  );
  const isDefault = pageBytes === defaultPageBytes;
  return { pageBytes, isDefault, total: all - surplus, available: free - promised, nodes };
}

async function readSettings(root: string, pools: readonly HugepagePool[]): Promise<Settings> {
  const entries = await Promise.all(
    settingNames.map(async (name) => [name, await textOf(settingFile(root, name))] as const),
  );
  const known = entries.flatMap(([name, text]) =>
    text === '' ? [] : [[name, settingValue(text)] as const],
  );
  // The pool itself knows best: the kernel may have found fewer pages than it was told to.
  const pool = pools.find(({ isDefault }) => isDefault);
  return {
    ...(Object.fromEntries(known) as Settings),
    ...(pool === undefined ? {} : { 'vm.nr_hugepages': pool.total }),
  };
}

/** The file of /proc/sys in which a setting is read and written. */
export function settingFile(root: string, name: SettingName): string {
  return join(root, '/proc/sys', name.replaceAll('.', '/'));
}

async function readBootSettings(root: string): Promise<HostFacts['bootSettings']> {
  const files = new Map<string, string>();
  for (const folder of sysctlFolders) {
    for (const name of await namesIn(join(root, folder))) {
      if (name.endsWith('.conf') && !files.has(name)) files.set(name, join(folder, name));
    }
  }
  const inOrder = [...files.values()].sort((a, b) => (basename(a) < basename(b) ? -1 : 1));
  const set: Partial<Record<SettingName, { value: number; file: string }>> = {};
  for (const file of inOrder) {
    for (const [name, value] of parseSysctl(await textOf(join(root, file)))) {
      set[name] = { value, file };
    }
  }
  return set;
}

/** The settings of ours in the text of a sysctl.d file; `/` may stand for `.` in names. */
export function parseSysctl(text: string): Map<SettingName, number> {
  const found = new Map<SettingName, number>();
  for (const line of text.split('\n')) {
    const match = /^\s*-?([\w./]+)\s*=\s*(\d+)\s*$/.exec(line);
    const name = settingNames.find((known) => known === match?.[1]?.replaceAll('/', '.'));
    if (name !== undefined) found.set(name, settingValue(match![2]!));
  }
  return found;
}

async function readMounts(root: string, defaultPageBytes: number): Promise<HugetlbfsMount[]> {
  const mounts = parseMounts(await textOf(join(root, '/proc/self/mounts')), defaultPageBytes);
  const there = await Promise.all(
    mounts.map(async ({ folder, pageBytes }) => {
      const path = join(root, folder);
      const status = await stat(path).catch(() => undefined);
      if (status === undefined) return [];
      const isWritable = await may(path, constants.W_OK | constants.X_OK);
      return [{ folder, pageBytes, isWritable, gid: status.gid, mode: status.mode & 0o7777 }];
    }),
  );
  return there.flat();
}

/** The hugetlbfs mounts in the text of /proc/self/mounts or an fstab, which look alike. */
export function parseMounts(
  text: string,
  defaultPageBytes: number,
): Pick<HugetlbfsMount, 'folder' | 'pageBytes'>[] {
  return text.split('\n').flatMap((line) => {
    const [device = '', folder, type, options = ''] = line.trim().split(/\s+/);
    if (device.startsWith('#') || type !== 'hugetlbfs' || folder === undefined) return [];
    const [, count, unit] = /pagesize=(\d+)([KMG])/.exec(options) ?? [];
    const unitBytes = { K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 }[unit ?? ''];
    const pageBytes = unitBytes === undefined ? defaultPageBytes : Number(count) * unitBytes;
    // The kernel writes the blanks of a path in octal.
    const path = folder.replace(/\\(\d{3})/g, (_, octal: string) =>
      String.fromCharCode(Number.parseInt(octal, 8)),
    );
    return [{ folder: path, pageBytes }];
  });
}

async function readBootMount(
  root: string,
  defaultPageBytes: number,
): Promise<HostFacts['bootMount']> {
  const lines = parseMounts(await textOf(join(root, fstabFile)), defaultPageBytes);
  if (lines.some(({ pageBytes }) => pageBytes === defaultPageBytes)) return 'fstab';
  // The folder is there while systemd is the one who booted this machine: sd_booted(3).
  const isBooted = await may(join(root, '/run/systemd/system'), constants.F_OK);
  const hasUnit = await may(join(root, systemdMountUnit), constants.F_OK);
  return isBooted && hasUnit ? 'systemd' : 'none';
}

async function deviceAccess(path: string): Promise<DeviceAccess> {
  if (!(await may(path, constants.F_OK))) return 'absent';
  return (await may(path, constants.R_OK | constants.W_OK)) ? 'usable' : 'forbidden';
}

function may(path: string, mode: number): Promise<boolean> {
  return access(path, mode).then(
    () => true,
    () => false,
  );
}

function hardLimit(limits: string, name: string): number {
  return settingValue(new RegExp(`^${name}\\s+\\S+\\s+(\\S+)`, 'm').exec(limits)?.[1] ?? '');
}

/** Bytes of a field of /proc/meminfo, 0 if it is not there. */
function meminfoField(text: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0) * 1024;
}

function settingValue(text: string): number {
  const value = Number.parseInt(text, 10);
  return value < unlimitedFrom ? value : Number.POSITIVE_INFINITY;
}

async function countIn(file: string): Promise<number> {
  return Number.parseInt(await textOf(file), 10) || 0;
}

function textOf(file: string): Promise<string> {
  return readFile(file, 'utf8').catch(() => '');
}

async function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch(() => []);
}
