/**
 * npm packages and compiled code, each made only when it is missing or older than its sources.
 *
 * A stamp file in build/ is touched after each successful build; a source newer than the stamp
 * makes it stale.
 */

import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { runOrExplain, say } from './processes.mjs';

/** What is built: sources whose change asks for it, a file that must be there, and how. */
const builds = {
  native: {
    sources: ['native/core', 'native/addon', 'native/CMakeLists.txt', 'package-lock.json'],
    product: 'build/release/Release/tsvswitch.node',
    commands: [['npm', ['run', 'build:native']]],
  },
  typescript: {
    sources: ['src', 'tsconfig.json', 'package-lock.json'],
    product: 'dist/cli/demo.js',
    commands: [['npm', ['run', 'build:ts']]],
  },
  benchmark: {
    sources: ['native', 'bench', 'src'],
    product: 'build/bench/main.js',
    commands: [
      [
        'cmake',
        [
          ...['-S', 'native', '-B', 'build/bench-native', '-DCMAKE_BUILD_TYPE=Release'],
          // The addon is a second one, to show what its checks cost.
          ...['-DTSVSWITCH_BENCH=ON', '-DTSVSWITCH_ADDON=ON', '-DTSVSWITCH_UNCHECKED=ON'],
        ],
      ],
      ['cmake', ['--build', 'build/bench-native', '--target', 'flood', 'tsvswitch']],
      ['npx', ['tsc', '-p', 'bench/tsconfig.json']],
    ],
  },
  survivors: {
    sources: ['test/hostile', 'test/support', 'bench', 'src'],
    product: 'build/survivors/test/hostile/survivors.js',
    commands: [['npx', ['tsc', '-p', 'test/hostile/tsconfig.json']]],
  },
  chaos: {
    sources: ['chaos', 'src'],
    product: 'build/chaos/main.js',
    commands: [['npx', ['tsc', '-p', 'chaos/tsconfig.json']]],
  },
};

export async function installNpmPackages() {
  if (npmPackagesAreInstalled()) return;
  say('installing npm packages ...');
  await runOrExplain('npm', ['ci', '--no-audit', '--no-fund'], buildEnvironment());
}

/** Whether what npm wrote down when it installed has every version the lock file asks for. */
function npmPackagesAreInstalled() {
  const record = 'node_modules/.package-lock.json';
  if (!existsSync(record)) return false;
  const packagesIn = (file) => Object.entries(JSON.parse(readFileSync(file, 'utf8')).packages);
  const installed = new Map(packagesIn(record));
  // Optional ones may be of other platforms; the entry without a name is this project itself.
  return packagesIn('package-lock.json').every(
    ([path, { version, optional }]) =>
      path === '' || optional || installed.get(path)?.version === version,
  );
}

export async function buildProject() {
  await build('native');
  await build('typescript');
}

export async function buildBench() {
  await build('benchmark');
}

export async function buildSurvivors() {
  await build('survivors');
}

export async function buildChaos() {
  await build('chaos');
}

async function build(name) {
  const { sources, product, commands } = builds[name];
  const stamp = `build/${name}.stamp`;
  if (existsSync(product) && modifiedMs(stamp) > Math.max(...sources.map(newestMs))) return;
  say(`building: ${name} ...`);
  // Taken before, so that a source that changes during the build counts as newer.
  const beganAt = new Date();
  for (const [program, args] of commands) await runOrExplain(program, args, buildEnvironment());
  mkdirSync(dirname(stamp), { recursive: true });
  writeFileSync(stamp, '');
  utimesSync(stamp, beganAt, beganAt);
}

/**
 * All CPUs for compilers; for node-gyp the headers that came with this Node, instead of a download.
 */
function buildEnvironment() {
  const cpus = String(availableParallelism());
  const prefix = dirname(dirname(process.execPath));
  const hasHeaders = existsSync(join(prefix, 'include', 'node', 'node_api.h'));
  return {
    CMAKE_BUILD_PARALLEL_LEVEL: cpus,
    JOBS: cpus,
    ...(hasHeaders ? { npm_config_nodedir: prefix } : {}),
  };
}

function newestMs(path) {
  if (!existsSync(path) || !statSync(path).isDirectory()) return modifiedMs(path);
  const names = readdirSync(path, { recursive: true });
  return Math.max(0, ...names.map((name) => modifiedMs(join(path, name))));
}

/** 0 if there is no such file. */
function modifiedMs(path) {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}
