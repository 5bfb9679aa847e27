/**
 * builtin:debian, built for real and kept in the cache of the user who runs the tests, where others
 * that need it find it. The boot here stops before cloud-init, which takes its time: a command of
 * ours is run in its place.
 *
 * @module-tag long
 */

import { createHash } from 'node:crypto';
import { createReadStream, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { execa } from 'execa';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { makeSeed } from '../../../src/lab/cloud-init/seed.ts';
import { type MachinePlan, planOf } from '../../../src/lab/file/plan.ts';
import { baseImage } from '../../../src/lab/image/image.ts';
import { makeOverlay } from '../../../src/lab/image/overlay.ts';
import { cacheFolder } from '../../../src/machine/cache.ts';
import { probeKvm } from '../../../src/machine/kvm.ts';

const buildLimitMs = 600_000;
const bootLimitMs = 180_000;
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'debian-'));
});

afterEach(() => {
  vi.unstubAllEnvs();
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

async function debian() {
  const image = await baseImage({ type: 'debian' });
  if (image.type !== 'disk' || image.boot === undefined) throw new Error('it has no kernel');
  return { ...image, boot: image.boot };
}

async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

function machineWithUserData(): MachinePlan {
  const userData = { packages: ['tcpdump'], runcmd: [['touch', '/x']] };
  const machines = { vm1: { image: 'builtin:debian', userData } };
  return planOf({ machines }, { file: '/lab/lab.yaml' }).machines[0]!;
}

test('it boots with what a lab needs, finds its seed valid, and its base stays as it was', {
  timeout: buildLimitMs + bootLimitMs,
}, async () => {
  const { boot, ...base } = await debian();
  expect(readdirSync(dirname(base.path)).sort()).toEqual(['disk.qcow2', 'initrd', 'vmlinuz']);
  const before = await sha256(base.path);
  const disk = join(folder, 'disk');
  await makeOverlay(base, disk, 2 * base.virtualBytes);
  const seed = join(folder, 'seed.iso');
  await makeSeed(machineWithUserData(), ['ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE own'], seed);
  const { accelerator } = await probeKvm(boot.kernel);
  const command = [
    'modprobe isofs && modprobe vxlan && echo modules-load',
    'for program in cloud-init iperf3 sshd ip ping resize2fs; do command -v $program; done',
    'echo root-is $(findmnt -no FSTYPE,OPTIONS /)',
    'echo disk-has $(cat /sys/block/vda/size)',
    'ls /etc/ssh/ssh_host_* || echo no-host-keys',
    'touch /var/written && echo written',
    'mount -o ro /dev/vdb /mnt && cloud-init schema --config-file /mnt/user-data',
  ].join('; ');
  const { stdout, exitCode } = await execa(
    'qemu-system-x86_64',
    [
      ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot', '-serial', 'stdio'],
      ...['-machine', 'q35', '-accel', accelerator, '-cpu', accelerator === 'kvm' ? 'host' : 'max'],
      ...['-m', '512M', '-kernel', boot.kernel, '-initrd', boot.initrd],
      '-append',
      `${boot.commandLine} "systemd.run=/bin/sh -c '${command}'"`,
      ...['-drive', `if=none,id=disk,format=qcow2,file=${disk}`],
      ...['-device', 'virtio-blk-pci,drive=disk'],
      ...['-drive', `if=none,id=seed,format=raw,readonly=on,file=${seed}`],
      ...['-device', 'virtio-blk-pci,drive=seed'],
    ],
    { timeout: bootLimitMs, stdin: 'ignore' },
  );
  expect(exitCode).toBe(0);
  expect(stdout).toContain('modules-load');
  for (const program of ['cloud-init', 'iperf3', 'sshd', 'ip', 'ping', 'resize2fs']) {
    expect(stdout).toMatch(new RegExp(`: /\\S*bin/${program}\\b`));
  }
  expect(stdout).toMatch(/root-is ext4 rw,noatime/);
  expect(stdout).toContain(`disk-has ${(2 * base.virtualBytes) / 512}`);
  expect(stdout).toContain('no-host-keys');
  expect(stdout).toMatch(/: written/);
  expect(stdout).toMatch(/: Valid cloud-config/);
  expect(await sha256(base.path)).toBe(before);
});

test('it is built once', async () => {
  const phases: string[] = [];
  const { path } = await debian();
  await baseImage({ type: 'debian' }, { progress: ({ phase }) => phases.push(phase) });
  expect(phases).toEqual([]);
  expect(basename(dirname(path))).toMatch(/^debian-[a-z]+-[0-9a-f]{16}$/);
  expect(dirname(dirname(path))).toBe(cacheFolder());
});

test('packages that cannot be had are an error with what apt says', {
  timeout: 60_000,
}, async () => {
  vi.stubEnv('XDG_CACHE_HOME', join(folder, 'cache'));
  // Nobody listens there.
  for (const name of ['http_proxy', 'https_proxy']) vi.stubEnv(name, 'http://127.0.0.1:1');
  await expect(baseImage({ type: 'debian' })).rejects.toMatchObject({
    code: 'IMAGE_UNAVAILABLE',
    message: expect.stringMatching(/127\.0\.0\.1:1(.|\n)*apt-get update/),
  });
});

test('building that is broken off leaves nothing behind', { timeout: 60_000 }, async () => {
  vi.stubEnv('XDG_CACHE_HOME', join(folder, 'cache'));
  // As an ordinary user's, this folder would be out of reach for the users in mmdebstrap's name
  // space.
  if (process.getuid?.() === 0) vi.stubEnv('TMPDIR', folder);
  const stop = new AbortController();
  const broken = baseImage(
    { type: 'debian' },
    {
      signal: stop.signal,
      progress: ({ phase }) => {
        if (phase.startsWith('unpacking')) stop.abort(new Error('enough'));
      },
    },
  );
  await expect(broken).rejects.toThrow('enough');
  const kept = readdirSync(join(folder, 'cache', 'tsvswitch'));
  expect(kept).toEqual([expect.stringMatching(/^\.debian-.*\.lock$/)]);
  expect(readdirSync(folder).filter((name) => name.startsWith('mmdebstrap'))).toEqual([]);
  expect(readFileSync('/proc/self/mounts', 'utf8')).not.toContain(folder);
});
