/**
 * A host as a folder of files: what the kernel and the distribution say about huge pages, where
 * hostFacts looks for it. Its vm.nr_hugepages and the size of its pool are one file, as with a
 * kernel that finds every page it is asked for, unless `findsPages` is false.
 */

import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type HostFacts, hostFacts } from '../../src/host/facts.ts';

export interface HostTreeOptions {
  /** Of 2 MiB; 0 unless given. */
  readonly pages?: number;
  /** Of those; all unless given. */
  readonly freePages?: number;
  readonly memoryAvailableMiB?: number;
  /** Whether the kernel finds the pages it is asked for; it does unless given. */
  readonly findsPages?: boolean;
  readonly maxMapCount?: number;
  readonly shmMax?: string;
  /** Further files by their paths, in place of those there would be. */
  readonly files?: Readonly<Record<string, string>>;
}

export const pageBytes = 2 * 2 ** 20;

export class HostTree {
  readonly root = mkdtempSync(join(tmpdir(), 'host-'));

  constructor(options: HostTreeOptions = {}) {
    const { pages = 0, freePages = pages, findsPages = true } = options;
    const pool = '/sys/kernel/mm/hugepages/hugepages-2048kB';
    const files: Record<string, string> = {
      '/proc/meminfo': [
        'MemTotal:       16777216 kB',
        `MemAvailable:   ${(options.memoryAvailableMiB ?? 8192) * 1024} kB`,
        'Hugepagesize:       2048 kB',
      ].join('\n'),
      '/proc/self/mounts': 'hugetlbfs /dev/hugepages hugetlbfs rw,relatime,pagesize=2M 0 0\n',
      '/proc/sys/vm/nr_hugepages': `${pages}\n`,
      '/proc/sys/vm/max_map_count': `${options.maxMapCount ?? 65_530}\n`,
      '/proc/sys/vm/hugetlb_shm_group': '0\n',
      '/proc/sys/kernel/shmmax': `${options.shmMax ?? '18446744073692774399'}\n`,
      [`${pool}/nr_hugepages`]: `${pages}\n`,
      [`${pool}/free_hugepages`]: `${freePages}\n`,
      [`${pool}/resv_hugepages`]: '0\n',
      [`${pool}/surplus_hugepages`]: '0\n',
      '/dev/hugepages/.keep': '',
      '/etc/fstab': '/dev/vda1 / ext4 rw 0 1\n',
      ...options.files,
    };
    for (const [path, text] of Object.entries(files)) this.write(path, text);
    if (!findsPages) return;
    // New pages are free, as long as the tree does not say how many are.
    const counters = options.freePages === undefined ? ['nr', 'free'] : ['nr'];
    for (const counter of counters) {
      const file = join(this.root, pool, `${counter}_hugepages`);
      rmSync(file);
      symlinkSync(join(this.root, '/proc/sys/vm/nr_hugepages'), file);
    }
  }

  write(path: string, text: string): void {
    mkdirSync(join(this.root, dirname(path)), { recursive: true });
    writeFileSync(join(this.root, path), text);
  }

  facts(): Promise<HostFacts> {
    return hostFacts(this.root);
  }

  [Symbol.dispose](): void {
    rmSync(this.root, { recursive: true });
  }
}
