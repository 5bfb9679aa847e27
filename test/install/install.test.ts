/**
 * The packed package as a stranger installs it: with every Node and npm that is promised, from a
 * warm cache and without a network, with and without install scripts, where there is no compiler,
 * cmake or python.
 *
 * The last lines are the figures; none of them but size and number of packages is a limit here.
 *
 * @module-tag long
 */

import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canTakeNetwork, Newcomer, pack } from './npm.ts';

const packagesMax = 60;
const bytesMax = 16 * 2 ** 20;
/** npm 12 runs on Node 22.22 and later, npm 11 on all of them. */
const combinations = [
  { node: '20.19', npm: '11' },
  { node: '22', npm: '11' },
  { node: '22', npm: '12' },
  { node: '24', npm: '12' },
];
const limitMs = 300_000;

let folder: string;
let tarball: string;
const figures: string[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'install-'));
  tarball = await pack(folder);
}, limitMs);

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
  if (!canTakeNetwork)
    figures.push('install: npm had a network and was told not to use it (unshare)');
  for (const line of figures) console.log(line);
});

/** Bytes of all files below a folder, as they lie on a disk that wastes none. */
function bytesOf(path: string): number {
  const output = execFileSync('du', ['-s', '--bytes', path], { encoding: 'utf8' });
  return Number(output.split('\t')[0]);
}

/** A project of its own, with a test as the README has it. */
function makeProject(path: string): void {
  mkdirSync(path);
  const manifest = {
    name: 'somebody',
    private: true,
    type: 'module',
    dependencies: { tsvswitch: `file:${tarball}` },
    devDependencies: { vitest: '^4.1' },
  };
  writeFileSync(join(path, 'package.json'), JSON.stringify(manifest));
  writeFileSync(
    join(path, 'guests.test.js'),
    `import { expect } from 'vitest';
    import { arp } from 'tsvswitch/testing';
    import { test } from 'tsvswitch/testing/vitest';
    test('a guest hears the other', async ({ guest }) => {
      const frame = arp({ senderMac: '52:54:00:00:00:01', senderIp: '10.0.0.1', targetIp: '10.0.0.2' });
      const [a, b] = [await guest(), await guest()];
      await a.send(frame);
      await b.expect(frame);
      expect(b.memory.bytes.length).toBeGreaterThan(0);
    });`,
  );
}

test('the package has binaries, no script and nothing that npm would build', () => {
  const files = execFileSync('tar', ['-tzf', tarball], { encoding: 'utf8' }).trim().split('\n');
  for (const file of ['linux-x64-glibc/tsvswitch.node', 'linux-arm64-glibc/tsvswitch.node']) {
    expect(files).toContain(`package/prebuilds/${file}`);
  }
  expect(files.filter((file) => /^package\/(binding\.gyp|native\/)|\.tgz$/.test(file))).toEqual([]);
  const text = execFileSync('tar', ['-xzOf', tarball, 'package/package.json'], {
    encoding: 'utf8',
  });
  const manifest = JSON.parse(text) as { scripts: object; gypfile: boolean };
  expect(manifest.gypfile).toBe(false);
  expect(Object.keys(manifest.scripts)).not.toEqual(
    expect.arrayContaining([expect.stringMatching(/^(pre|post)?install$/)]),
  );
});

describe.each(combinations)('Node $node with npm $npm', ({ node, npm }) => {
  let newcomer: Newcomer;
  let project: string;

  beforeAll(async () => {
    newcomer = await Newcomer.with(node, npm);
    project = join(newcomer.home, 'project');
    makeProject(project);
  }, limitMs);

  afterAll(() => newcomer.remove());

  test('finds no compiler, no cmake and no python', async () => {
    for (const program of ['cc', 'g++', 'make', 'cmake', 'python3', 'npm']) {
      const { exitCode } = await newcomer.run('/bin/sh', ['-c', `command -v ${program}`], {
        reject: false,
      });
      expect(exitCode, program).not.toBe(0);
    }
  });

  test('npm i -g makes a command that runs', { timeout: limitMs }, async () => {
    const args = ['install', '--global', tarball];
    const seconds = await newcomer.npm(args, newcomer.home);
    const command = join(newcomer.prefix, 'bin', 'tsvswitch');
    const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
    expect((await newcomer.run(command, ['--version'])).stdout).toBe(version);
    const list = await newcomer.ask(['ls', '--global', '--all', '--parseable'], newcomer.home);
    // The first line is the folder they are in.
    const packages = list.trim().split('\n').length - 1;
    expect(packages).toBeGreaterThan(1);
    expect(packages).toBeLessThanOrEqual(packagesMax);
    const megabytes = (bytesOf(newcomer.prefix) / 2 ** 20).toFixed(1);
    expect(bytesOf(newcomer.prefix)).toBeLessThanOrEqual(bytesMax);
    figures.push(
      `install: Node ${node}, npm ${npm}: npm i -g in ${seconds.toFixed(1)} s, ${packages} packages, ${megabytes} MiB`,
    );
  });

  test('npm i in a project, where a test of two guests passes', { timeout: limitMs }, async () => {
    // npm 12 runs no scripts by itself; npm 11 does, unless it is told not to.
    const seconds = await newcomer.npm(['install', '--ignore-scripts'], project);
    const vitest = join(project, 'node_modules', 'vitest', 'vitest.mjs');
    const { all } = await newcomer.node([vitest, 'run', '--pool=threads'], { cwd: project });
    expect(all).toMatch(/1 passed/);
    expect(all).not.toMatch(/warning/i);
    figures.push(
      `install: Node ${node}, npm ${npm}: npm i beside vitest in ${seconds.toFixed(1)} s`,
    );
  });
});

describe('in a project', () => {
  let newcomer: Newcomer;

  beforeAll(async () => {
    newcomer = await Newcomer.with('24', '12');
  });

  afterAll(() => newcomer.remove());

  test('npx tsvswitch demo shows two machines', { timeout: 600_000 }, async () => {
    writeFileSync(join(newcomer.home, 'package.json'), '{"private":true}');
    await newcomer.npm(['install', tarball], newcomer.home);
    const { stdout } = await newcomer.npx(['tsvswitch', 'demo'], {
      timeout: 590_000,
      path: process.env.PATH!,
      // The kernel of the guests is downloaded once for all tests.
      env: { HOME: process.env.HOME, XDG_CACHE_HOME: process.env.XDG_CACHE_HOME },
    });
    expect(stdout).toMatch(/TCP: vm2 to vm1, \d+ Mbit\/s arrived/);
  });

  test('npx tsvswitch demo without QEMU says in one line what to install', async () => {
    const { exitCode, stdout, stderr } = await newcomer.npx(['tsvswitch', 'demo'], {
      reject: false,
    });
    expect([exitCode, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(
      /^tsvswitch: not installed: .*qemu-system-x86_64.*apt-get install .*iperf3.*$/m,
    );
  });
});

describe.each(['11', '12'])('npm %s in a clone', (npm) => {
  // What npm does with a package that has a binding.gyp; what it depends on is no part of it.
  test('builds nothing by itself and leaves build/ alone', async () => {
    const newcomer = await Newcomer.with('22', npm);
    const clone = join(newcomer.home, 'clone');
    mkdirSync(join(clone, 'build'), { recursive: true });
    const manifest = JSON.parse(readFileSync('package.json', 'utf8'));
    for (const kind of ['dependencies', 'devDependencies', 'peerDependencies'])
      delete manifest[kind];
    writeFileSync(join(clone, 'package.json'), JSON.stringify(manifest));
    writeFileSync(join(clone, 'binding.gyp'), readFileSync('binding.gyp'));
    writeFileSync(join(clone, 'build', 'kept'), 'kept');
    // node-gyp would not get far here, as there is no python.
    await newcomer.npm(['install'], clone);
    await newcomer.npm(['install', '--global', clone], clone);
    expect(readFileSync(join(clone, 'build', 'kept'), 'utf8')).toBe('kept');
    newcomer.remove();
  });
});
