/**
 * What has to change on a host so that machines find the huge pages that are wished for.
 *
 * Pure: facts and a wish in, changes out, in the order in which they are to be made. A change is a
 * shell command, its reason and the command that undoes it; apply.ts runs the very commands that
 * are shown, so what a user who is not root is told is what root does. Nothing is ever lowered, and
 * a host that has what is wished for needs no change: the wish is about the size of the pool, not
 * about what is free in it, or preparing a host whose machines run would double it.
 *
 * At boot sysctl.d sets the values, and fstab the mount. fstab, since it serves every init system:
 * where that is systemd its line takes the place of dev-hugepages.mount, which is why there is no
 * unit of ours.
 *
 * Sources: hugetlbpage.rst; VPP's 80-vpp.conf for vm.max_map_count, kernel.shmmax and what they are
 * for.
 */

import { basename, dirname } from 'node:path';
import { failure } from '../model/errors.ts';
import {
  fstabFile,
  type HostFacts,
  type HugepagePool,
  type HugetlbfsMount,
  mountPoint,
  type SettingName,
  type Settings,
  settingFile,
  sysctlFile,
} from './facts.ts';

export interface Group {
  readonly name: string;
  readonly gid: number;
}

export interface Wish {
  /** Of all machines together. */
  readonly memoryBytes: number;
  /** Who may use the huge pages besides root. */
  readonly group?: Group;
  /** Also after the next boot. */
  readonly persist: boolean;
}

export interface Change {
  /** Such as `vm.nr_hugepages: 0 → 1024`. */
  readonly what: string;
  readonly reason: string;
  /** For a shell, as root. */
  readonly command: string;
  readonly undo: string;
  /** What can come out smaller than it was asked for. */
  readonly pages?: { readonly from: number; readonly to: number };
}

interface SettingNeed {
  readonly value: number;
  readonly reason: string;
}

/** What a boot makes of a setting if no sysctl.d file has a say. */
const kernelDefaults: Readonly<Record<SettingName, number>> = {
  'vm.nr_hugepages': 0,
  'vm.max_map_count': 65_530,
  'vm.hugetlb_shm_group': 0,
  'kernel.shmmax': Number.POSITIVE_INFINITY,
};

/** Memory in huge pages is lost to everything else; with less than this a host begins to kill. */
const leftBytesMin = 512 * 2 ** 20;

const mountMode = '0775';
const groupAccess = 0o070;

export function neededChanges(facts: HostFacts, wish: Wish): Change[] {
  const pool = defaultPool(facts);
  const pages = Math.ceil(wish.memoryBytes / pool.pageBytes);
  checkMemory(facts, pool, pages);
  const needs = settingNeeds(pool, pages, wish);
  return [
    ...needs.flatMap(([name, need]) => settingChange(facts, name, need)),
    ...mountChange(facts, pool, wish.group),
    ...(wish.persist ? [...sysctlFileChange(facts, needs), ...fstabChange(facts, wish.group)] : []),
  ];
}

/** What stands in the way of a wish that no change of ours mends, one sentence each. */
export function obstacles(facts: HostFacts, wish: Wish): string[] {
  const pool = defaultPool(facts);
  const pages = Math.ceil(wish.memoryBytes / pool.pageBytes);
  const inUse = pool.total - pool.available;
  const found: string[] = [];
  if (inUse > 0 && pool.available < pages) {
    const total = Math.ceil(((pages + inUse) * pool.pageBytes) / 2 ** 20);
    found.push(
      `${inUse} of the huge pages are in use; to have ${pages} beside them, ask for --memory ` +
        `${total}M`,
    );
  }
  const shmGroup = facts.settings['vm.hugetlb_shm_group'] ?? 0;
  if (wish.group !== undefined && shmGroup !== 0 && shmGroup !== wish.group.gid) {
    found.push(`vm.hugetlb_shm_group stays ${shmGroup}: another group has the right already`);
  }
  if (!wish.persist) return found;
  for (const [name, { value }] of settingNeeds(pool, pages, wish)) {
    const boot = facts.bootSettings[name];
    if (boot && boot.value < value && basename(boot.file) > basename(sysctlFile)) {
      found.push(`${boot.file} sets ${name} = ${boot.value} after ours at boot: change it there`);
    }
  }
  if (wish.group !== undefined && facts.bootMount === 'fstab') {
    found.push(
      `${fstabFile} mounts a hugetlbfs already, and its line is left as it is: make sure that ` +
        `\`${fstabOptions(wish.group)}\` is in its options`,
    );
  }
  return found;
}

function defaultPool({ pools }: HostFacts): HugepagePool {
  const pool = pools.find(({ isDefault }) => isDefault);
  if (pool !== undefined) return pool;
  throw failure('hugepages-unknown-to-kernel');
}

function checkMemory({ memory }: HostFacts, pool: HugepagePool, pages: number): void {
  const moreBytes = (pages - pool.total) * pool.pageBytes;
  const mostBytes = Math.max(0, memory.availableBytes - leftBytesMin);
  if (moreBytes <= 0 || moreBytes <= mostBytes) return;
  const most = pool.total + Math.floor(mostBytes / pool.pageBytes);
  const inMiB = (bytes: number) => `${Math.floor(bytes / 2 ** 20)}M`;
  throw failure('hugepages-too-many', {
    wanted: inMiB(pages * pool.pageBytes),
    left: inMiB(leftBytesMin),
    most: inMiB(most * pool.pageBytes),
  });
}

function settingNeeds(
  { pageBytes }: HugepagePool,
  pages: number,
  { group }: Wish,
): [SettingName, SettingNeed][] {
  const needs: [SettingName, number, string][] = [
    ['vm.nr_hugepages', pages, `huge pages of ${pageBytes / 1024} kB for the machines`],
    ['vm.max_map_count', 2 * pages, 'a DPDK program maps every huge page, some of them twice'],
    ['kernel.shmmax', pages * pageBytes, 'a program may take the pool as one shared segment'],
  ];
  if (group !== undefined) {
    const reason = `lets group ${group.name} make shared segments of huge pages`;
    needs.push(['vm.hugetlb_shm_group', group.gid, reason]);
  }
  return needs.map(([name, value, reason]) => [name, { value, reason }]);
}

/** The group is a number too, but not one to compare: it is set only where nobody has set it. */
function isMet(name: SettingName, is: number, need: SettingNeed): boolean {
  return name === 'vm.hugetlb_shm_group' ? is !== 0 || need.value === 0 : is >= need.value;
}

function settingChange(facts: HostFacts, name: SettingName, need: SettingNeed): Change[] {
  const is = facts.settings[name];
  if (is === undefined || isMet(name, is, need)) return [];
  const file = quoted(settingFile(facts.root, name));
  return [
    {
      what: `${name}: ${is} → ${need.value}`,
      reason: need.reason,
      command: `echo ${need.value} > ${file}`,
      undo: `echo ${is} > ${file}`,
      ...(name === 'vm.nr_hugepages' ? { pages: { from: is, to: need.value } } : {}),
    },
  ];
}

function mountChange(facts: HostFacts, pool: HugepagePool, group: Group | undefined): Change[] {
  const mounts = facts.mounts.filter(({ pageBytes }) => pageBytes === pool.pageBytes);
  const mount = mounts.find((candidate) => isOpenTo(candidate, group)) ?? mounts[0];
  if (mount === undefined) {
    const folder = quoted(`${facts.root}${mountPoint}`);
    return [
      {
        what: `${mountPoint}: hugetlbfs mounted`,
        reason: 'machines take huge pages as files of a hugetlbfs',
        command:
          `mkdir -p ${folder} && mount -t hugetlbfs -o ${fstabOptions(group)} ` +
          `hugetlbfs ${folder}`,
        undo: `umount ${folder}`,
      },
    ];
  }
  if (group === undefined || isOpenTo(mount, group)) return [];
  const folder = quoted(`${facts.root}${mount.folder}`);
  const mode = (mount.mode | groupAccess).toString(8);
  return [
    {
      what:
        `${mount.folder}: group ${mount.gid} → ${group.gid}, mode ${mount.mode.toString(8)} → ` +
        `${mode}`,
      reason: `lets group ${group.name} use the huge pages`,
      command: `chown :${group.gid} ${folder} && chmod ${mode} ${folder}`,
      undo: `chown :${mount.gid} ${folder} && chmod ${mount.mode.toString(8)} ${folder}`,
    },
  ];
}

function isOpenTo(mount: HugetlbfsMount, group: Group | undefined): boolean {
  if (group === undefined) return true;
  return mount.gid === group.gid && (mount.mode & groupAccess) === groupAccess;
}

function sysctlFileChange(
  { root, settings, bootSettings, ownBootSettings: own }: HostFacts,
  needs: readonly (readonly [SettingName, SettingNeed])[],
): Change[] {
  const atBoot = (name: SettingName) => bootSettings[name]?.value ?? kernelDefaults[name];
  const unmet = needs.filter(
    ([name, need]) => !isMet(name, atBoot(name), need) && !isMet(name, own[name] ?? 0, need),
  );
  if (unmet.length === 0) return [];
  const wanted = unmet.map(([name, need]) => {
    // More than the wish may come from elsewhere, such as the kernel's command line.
    const is = settings[name] ?? 0;
    return [name, isMet(name, is, need) && Number.isFinite(is) ? is : need.value] as const;
  });
  const linesOf = (values: Settings) =>
    Object.entries(values).map(([name, value]) => `${name} = ${value}`);
  const earlier = linesOf(own);
  const lines = linesOf({ ...own, ...Object.fromEntries(wanted) });
  const file = quoted(`${root}${sysctlFile}`);
  return [
    {
      what: `${sysctlFile}: ${lines.join(', ')}`,
      reason: 'sets this at every boot',
      command: `mkdir -p ${quoted(`${root}${dirname(sysctlFile)}`)} && ${writeLines(lines, file)}`,
      undo: earlier.length === 0 ? `rm ${file}` : writeLines(earlier, file),
    },
  ];
}

function fstabChange(facts: HostFacts, group: Group | undefined): Change[] {
  const isMountedAnyway = facts.bootMount === 'systemd' && group === undefined;
  if (facts.bootMount === 'fstab' || isMountedAnyway) return [];
  const line = `hugetlbfs ${mountPoint} hugetlbfs ${fstabOptions(group)} 0 0`;
  const file = quoted(`${facts.root}${fstabFile}`);
  return [
    {
      what: `${fstabFile}: ${line}`,
      reason: 'mounts it at every boot',
      // The last line of a file may lack its end.
      command: `[ -z "$(tail -c 1 ${file})" ] || echo >> ${file}; echo '${line}' >> ${file}`,
      undo: `sed -i '\\|^${line}$|d' ${file}`,
    },
  ];
}

function fstabOptions(group: Group | undefined): string {
  return group === undefined ? 'defaults' : `gid=${group.gid},mode=${mountMode}`;
}

function writeLines(lines: readonly string[], file: string): string {
  return `printf '%s\\n' ${lines.map((line) => `'${line}'`).join(' ')} > ${file}`;
}

/** A path as one word of a shell. */
function quoted(path: string): string {
  return /^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}
