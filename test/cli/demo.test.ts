/**
 * The demo as people run it: two machines on the built switch, QEMU's or User-mode Linux.
 *
 * @module-tag huge-pages
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { execa } from 'execa';
import { afterEach, beforeEach, expect, test } from 'vitest';

const script = resolve('dist/cli/main.js');
const demoLimitMs = 600_000;
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'demo-'));
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** Processes whose command line names a file in the demo's folder. */
async function processesLeft(): Promise<string> {
  const { stdout } = await execa('ps', ['-ww', '-eo', 'pid,args']);
  return stdout
    .split('\n')
    .filter((line) => line.includes(folder))
    .join('\n');
}

test.each(['qemu', 'uml'])(
  'two machines of %s ping each other and move TCP data both ways',
  {
    timeout: demoLimitMs,
  },
  async (engine) => {
    const { exitCode, all } = await execa(process.execPath, [script, 'demo', '--engine', engine], {
      env: { TMPDIR: folder },
      all: true,
      reject: false,
      timeout: demoLimitMs - 10_000,
    });
    expect(exitCode, all).toBe(0);
    for (const direction of ['vm1 to vm2', 'vm2 to vm1']) {
      expect(all).toMatch(new RegExp(`Ping: ${direction}, 5 of 5 answered`));
      expect(all).toMatch(new RegExp(`TCP: ${direction}, \\d+ Mbit/s arrived`));
    }
    expect(all).toMatch(/learned 52:54:00:00:00:01/);
    expect(all).toMatch(/learned 52:54:00:00:00:02/);
    expect(all.split('\nCounters\n')[1]?.match(/from guest [1-9]\d* frames/g)).toHaveLength(2);
    expect(await processesLeft()).toBe('');
    expect(readdirSync(folder)).toEqual([]);
  },
);

test('ended in the middle of booting it leaves nothing behind', {
  timeout: demoLimitMs,
}, async () => {
  const child = spawn(process.execPath, [script, 'demo'], {
    env: { ...process.env, TMPDIR: folder },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  for await (const line of createInterface({ input: child.stdout })) {
    if (line.includes('vm1: boot')) break;
  }
  expect(readdirSync(folder)).not.toEqual([]);
  child.kill('SIGTERM');
  expect(await exited).toEqual([128 + 15, null]);
  expect(await processesLeft()).toBe('');
  expect(readdirSync(folder)).toEqual([]);
});

test('an unknown option is refused before anything starts', async () => {
  const { exitCode, stderr } = await execa(process.execPath, [script, 'demo', '--kep'], {
    env: { TMPDIR: folder },
    reject: false,
  });
  expect(exitCode).toBe(2);
  expect(stderr).toContain('--kep');
  expect(readdirSync(folder)).toEqual([]);
});

test('what is not installed is named in one line, with the command that installs it', async () => {
  const { exitCode, stdout, stderr } = await execa(process.execPath, [script, 'demo'], {
    env: { TMPDIR: folder, PATH: folder },
    reject: false,
  });
  expect(exitCode).toBe(1);
  expect(stdout).toBe('');
  expect(stderr).toMatch(
    /^tsvswitch: not installed: busybox, iperf3, qemu-system-x86_64\b.*; run as root, .*: apt-get update && apt-get install --no-install-recommends busybox-static iperf3 qemu-system-x86\b.*$/,
  );
});
