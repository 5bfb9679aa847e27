/**
 * `npm run build:prebuilds`: the addon for every platform that the package brings it for, into
 * prebuilds/, with what else is compiled, and checksums. The one for this machine is the one that
 * is built and tested here, without its symbols; the others are cross compiled.
 *
 * Refuses a binary that would not load on a system with the oldest C library that is promised: what
 * it needs is read from the file itself.
 */

import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { openLog, outputOf, runOrExplain, SetupError, say } from './processes.mjs';

const platforms = {
  x64: {
    triplet: 'x86_64-linux-gnu',
    compilerPackage: 'g++-x86-64-linux-gnu',
    // What User-mode Linux, a program for x86-64 here, is lent (native/uml/whole_xstate.cc).
    files: ['tsvswitch.node', 'tsvswitch-uml.so'],
  },
  arm64: {
    triplet: 'aarch64-linux-gnu',
    compilerPackage: 'g++-aarch64-linux-gnu',
    files: ['tsvswitch.node'],
  },
};
/** Debian 12, Ubuntu 22.04, RHEL 9. */
const oldestGlibc = [2, 34];
/** Of the C library, the loader included. */
const libraries = /^(libc|libm|libpthread|libdl|ld-linux-\S+)\.so\.\d+$/;

/** Returns lines for SHA256SUMS. */
async function makePrebuild(arch) {
  const { triplet, compilerPackage, files } = platforms[arch];
  const folder = `linux-${arch}-glibc`;
  say(`prebuilds: ${folder} ...`);
  const built = arch === process.arch ? await buildHere() : await buildCross(arch, compilerPackage);
  mkdirSync(join('prebuilds', folder), { recursive: true });
  const sums = [];
  for (const name of files) {
    const file = join('prebuilds', folder, name);
    copyFileSync(join(built, name), file);
    await runOrExplain(arch === process.arch ? 'strip' : `${triplet}-strip`, ['--strip-all', file]);
    checkNeeds(file);
    sums.push(
      `${createHash('sha256').update(readFileSync(file)).digest('hex')}  ${folder}/${name}\n`,
    );
  }
  return sums;
}

async function buildHere() {
  await runOrExplain('npm', ['run', 'build:native']);
  return 'build/release/Release';
}

async function buildCross(arch, compilerPackage) {
  const { triplet } = platforms[arch];
  if (outputOf(`${triplet}-g++`, ['--version']) === undefined) {
    throw new SetupError(
      `${triplet}-g++ is not installed; run \`apt-get install --no-install-recommends ` +
        `${compilerPackage}\` as root`,
    );
  }
  const build = join('build', `prebuilt-${arch}`);
  await runOrExplain('cmake', [
    ...['-S', 'native', '-B', build, '-DTSVSWITCH_ADDON=ON'],
    `-DCMAKE_TOOLCHAIN_FILE=${join(process.cwd(), 'native', 'toolchains', `linux-${arch}.cmake`)}`,
  ]);
  const parallel = ['--parallel', String(availableParallelism())];
  await runOrExplain('cmake', ['--build', build, '--target', 'tsvswitch', ...parallel]);
  return join(build, 'Release');
}

function checkNeeds(file) {
  const needs = outputOf('readelf', ['-W', '--dynamic', '--version-info', '--dyn-syms', file]);
  if (needs === undefined) throw new SetupError('readelf is missing or fails; install binutils');
  const versions = [...needs.matchAll(/\bGLIBC_(\d+)\.(\d+)\b/g)];
  const tooNew = versions.filter(
    ([, major, minor]) => major > oldestGlibc[0] || Number(minor) > oldestGlibc[1],
  );
  if (versions.length === 0) throw new SetupError(`${file}: readelf tells no version of glibc`);
  if (tooNew.length > 0) {
    const lines = needs
      .split('\n')
      .filter((line) => tooNew.some(([name]) => line.includes(`@${name} `)));
    throw new SetupError(
      `${file} needs a glibc later than ${oldestGlibc.join('.')}:\n${lines.join('\n')}`,
    );
  }
  const needed = Array.from(needs.matchAll(/\(NEEDED\).*\[(\S+)\]/g), ([, library]) => library);
  const strange = needed.filter((library) => !libraries.test(library));
  if (strange.length > 0) throw new SetupError(`${file} needs ${strange.join(', ')}`);
}

process.chdir(new URL('..', import.meta.url).pathname);
openLog('setup-prebuilds', `node ${process.version}`);
try {
  rmSync('prebuilds', { recursive: true, force: true });
  const lines = [];
  for (const arch of Object.keys(platforms)) lines.push(...(await makePrebuild(arch)));
  writeFileSync(join('prebuilds', 'SHA256SUMS'), lines.join(''));
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
