/**
 * `tsvswitch host` as its users run it, on this very host. What is changed is put back by the
 * commands the program itself prints for that; mounts are made in a mount namespace of their own.
 *
 * @module-tag huge-pages
 */

import { accessSync, constants, readFileSync, writeFileSync } from 'node:fs';
import { execa, execaSync } from 'execa';
import { describe, expect, test } from 'vitest';
import { type HostFacts, hostFacts } from '../../src/host/facts.ts';
import { Command, script } from '../support/command.ts';
import { needs } from '../support/needs.ts';

/** 65534 is nobody everywhere. */
const nobody = { uid: 65_534, gid: 65_534 };
const pool = (await hostFacts()).pools[0];
const poolFile = '/proc/sys/vm/nr_hugepages';
/** Root of a container may not, as a rule. */
const maySetPool = pool !== undefined && process.getuid?.() === 0 && isWritable(poolFile);
const poolMissing = maySetPool ? undefined : 'needs root, and a kernel that lets it set huge pages';
const mayMount = needs(
  execaSync('unshare', ['--mount', 'true'], { reject: false }).exitCode === 0
    ? undefined
    : 'needs a mount namespace of its own',
);
const poolNow = () => Number(readFileSync(poolFile, 'utf8'));

function isWritable(file: string): boolean {
  try {
    accessSync(file, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

describe('status', () => {
  test('names everything a machine depends on, and says of each how it is', async () => {
    const { status, stdout, stderr } = await Command.run(['host', 'status']);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const names = Array.from(
      stdout.matchAll(/^(\S.*?) {2,}(?:good|limited|missing) /gm),
      (m) => m[1],
    );
    expect(names).toEqual(
      expect.arrayContaining(['QEMU', 'KVM', 'huge pages', 'hugetlbfs', 'vm.nr_hugepages']),
    );
    expect(names).toEqual(
      expect.arrayContaining(['vm.max_map_count', 'kernel.shmmax', 'open files', 'tun', 'sockets']),
    );
  });

  test('as JSON has the facts behind it', async () => {
    const { stdout } = await Command.run(['host', 'status', '--json']);
    const report = JSON.parse(stdout) as { facts: HostFacts; findings: { name: string }[] };
    expect(report.facts.memory.totalBytes).toBe((await hostFacts()).memory.totalBytes);
    expect(report.findings.map(({ name }) => name)).toContain('QEMU');
  });
});

test.each([
  [[], /--memory <size>.*not specified/],
  [['--memory', '0G'], /Expected a size/],
  [['--memory', 'lots'], /Expected a size/],
  [['--memory', '1G', '--group', 'no-such-group'], /there is no such group/],
])('prepare %j is wrong usage', async (args, pattern) => {
  const { status, stderr } = await Command.run(['host', 'prepare', ...args]);
  expect(stderr).toMatch(pattern);
  expect(status).toBe(2);
});

describe('prepare', needs(poolMissing), () => {
  const pageMiB = (pool?.pageBytes ?? 0) / 2 ** 20;
  const oneMore = () => `${(poolNow() + 1) * pageMiB}M`;

  test('prints for others, and with --dry-run, what root would do, and changes nothing', async () => {
    const before = poolNow();
    const args = ['host', 'prepare', '--memory', oneMore()];
    const command = `echo ${before + 1} > ${poolFile}\n`;
    const refused = await Command.run(args, nobody);
    expect(refused).toMatchObject({ status: 1, stdout: expect.stringContaining(command) });
    expect(refused.stderr).toMatch(/^tsvswitch: nothing was changed: .* as root$/m);
    const dry = await Command.run([...args, '--dry-run']);
    expect(dry).toMatchObject({ status: 0, stderr: '', stdout: expect.stringContaining(command) });
    expect(poolNow()).toBe(before);
  });

  test('raises the pool, finds nothing to do the next time, and says how to undo it', async () => {
    const before = poolNow();
    const memory = oneMore();
    const { stdout, status } = await Command.run(['host', 'prepare', '--memory', memory]);
    const undo = /^ {2}undo: (echo \d+ > \/proc\/sys\/vm\/nr_hugepages)$/m.exec(stdout)?.[1];
    try {
      expect(status).toBe(0);
      expect(stdout).toContain(`vm.nr_hugepages: ${before} → ${before + 1}`);
      expect(poolNow()).toBe(before + 1);
      const again = await Command.run(['host', 'prepare', '--memory', memory]);
      expect(again.stdout).toMatch(/^nothing to change: /m);
      const less = await Command.run(['host', 'prepare', '--memory', '1M']);
      expect(less.stdout).toMatch(/^nothing to change: /m);
      expect(poolNow()).toBe(before + 1);
    } finally {
      // Unless somebody else has meanwhile asked for more.
      if (undo !== undefined && poolNow() === before + 1) await execa('sh', ['-c', undo]);
    }
    expect(undo).toBeDefined();
  });

  test(
    'keeps what the kernel found, says how much that is, and ends with 1',
    mayMount,
    async () => {
      const before = poolNow();
      // A pool that stays as it is whatever is written.
      const shell = [
        'file=$(mktemp)',
        `mount --bind "$file" ${poolFile}`,
        `"${process.execPath}" "${script}" host prepare --memory ${oneMore()}; status=$?`,
        'rm "$file"; exit $status',
      ].join('\n');
      const exit = await execa('unshare', ['--mount', 'sh', '-c', shell], { reject: false });
      expect(exit.exitCode).toBe(1);
      expect(exit.stdout).toContain(`→ ${before + 1}, of which there are now ${before} (`);
      expect(exit.stderr).toMatch(
        new RegExp(`^tsvswitch: the kernel found ${before} huge pages in place of ${before + 1}`),
      );
      expect(poolNow()).toBe(before);
    },
  );

  test('mounts a hugetlbfs where there is none', mayMount, async () => {
    const before = poolNow();
    const shell = [
      'set -e',
      // Whatever is mounted here, hide it from this namespace.
      'umount --all --types hugetlbfs',
      `"${process.execPath}" "${script}" host prepare --memory 1M --group 0`,
      'grep hugetlbfs /proc/self/mounts',
      `"${process.execPath}" "${script}" host prepare --memory 1M`,
    ].join('\n');
    const { stdout } = await execa('unshare', ['--mount', 'sh', '-c', shell]);
    expect(stdout).toMatch(
      /^\/dev\/hugepages: hugetlbfs mounted .*\n {2}undo: umount \/dev\/hugepages$/m,
    );
    expect(stdout).toMatch(/^hugetlbfs \/dev\/hugepages hugetlbfs /m);
    expect(stdout).toMatch(/^nothing to change: /m);
    // On a host without huge pages the first one came with the mount.
    if (before === 0 && poolNow() === 1) writeFileSync(poolFile, '0');
  });
});
