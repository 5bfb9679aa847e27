/**
 * What the kernel tells about processes and CPUs, read from /proc.
 *
 * Source: Linux Documentation/filesystems/proc.rst.
 */

import { readFileSync } from 'node:fs';

/** USER_HZ, which is 100 on every Linux that Node runs on. */
const ticksPerSecond = 100;

/** CPU time of all threads of a process so far, in seconds. */
export function cpuSeconds(pid: number): number {
  const [user = 0, system = 0] = cpuTicks(pid);
  return (user + system) / ticksPerSecond;
}

/** CPU time of this process and of all its children that have ended, in seconds. */
export function ownCpuSeconds(): number {
  const ticks = cpuTicks('self').reduce((sum, value) => sum + value, 0);
  return ticks / ticksPerSecond;
}

/** utime, stime, cutime and cstime of /proc/PID/stat. */
function cpuTicks(pid: number | 'self'): number[] {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The second field is the name in parentheses, which may itself hold blanks and parentheses.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields.slice(11, 15).map(Number);
}

/** Time that the given CPUs were busy so far, whoever used them, in seconds. */
export function busySeconds(cpus: readonly number[]): number {
  let ticks = 0;
  for (const line of readFileSync('/proc/stat', 'utf8').split('\n')) {
    const [name, ...times] = line.trim().split(/\s+/);
    if (!cpus.some((cpu) => name === `cpu${cpu}`)) continue;
    const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = times.map(Number);
    ticks += user + nice + system + irq + softirq;
  }
  return ticks / ticksPerSecond;
}

/**
 * Resident memory of a process in bytes, huge pages included, leaving out the mappings whose name
 * starts with `exceptName`.
 */
export function residentBytes(pid: number, exceptName: string): number {
  let kibibytes = 0;
  let counts = true;
  for (const line of readFileSync(`/proc/${pid}/smaps`, 'utf8').split('\n')) {
    // A mapping starts with its address range; six columns, the last of which is its name.
    const mapping = /^[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \S+\s*(.*)$/.exec(line);
    if (mapping !== null) counts = !mapping[1]?.startsWith(exceptName);
    const size = /^(?:Rss|Shared_Hugetlb|Private_Hugetlb):\s+(\d+) kB$/.exec(line);
    if (size !== null && counts) kibibytes += Number(size[1]);
  }
  return kibibytes * 1024;
}

/** Free 2 MiB huge pages that are not promised to anyone, in bytes. */
export function freeHugePageBytes(): number {
  const meminfo = readFileSync('/proc/meminfo', 'utf8');
  const field = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(meminfo)?.[1] ?? 0);
  const pageKibibytes = field('Hugepagesize');
  if (pageKibibytes !== 2048) return 0;
  return (field('HugePages_Free') - field('HugePages_Rsvd')) * pageKibibytes * 1024;
}
