/**
 * Which file the addon is in, whether it can be of use here, and what to do if not.
 *
 * TSVSWITCH_ADDON names one; else it is what a clone has built; else what the package brings for
 * this platform. It is looked at before it is loaded: the loader of the C library follows a damaged
 * file into memory that is not there, and takes the process along. What the package brings has a
 * checksum, what was built here is at least whole and of this machine.
 *
 * Sources: elf(5).
 */

import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { failure, type TsvswitchError } from '../model/errors.ts';

// Two levels up from src/native as from dist/native.
const root = fileURLToPath(new URL('../..', import.meta.url));
const built = join(root, 'build', 'release', 'Release', 'tsvswitch.node');
const prebuilds = join(root, 'prebuilds');
const platform = `${process.platform}-${process.arch}`;
/** Of the C library that the binaries are made for. */
const prebuilt = join(prebuilds, `${platform}-glibc`, 'tsvswitch.node');
const checksums = join(prebuilds, 'SHA256SUMS');

/** e_machine of the processors that Node runs on, by the name that Node gives them. */
const machines: Readonly<Record<string, number>> = {
  ...{ ia32: 3, ppc64: 21, s390x: 22, arm: 40, x64: 62, arm64: 183, riscv64: 243, loong64: 258 },
};
const elfHeaderBytes = 64;
const howToBuild =
  'build one in a clone of its source with `npm ci && npm run build`, and name it in ' +
  'TSVSWITCH_ADDON';

/** What the addon exports. Throws NATIVE_UNAVAILABLE. */
export function loadAddon(): unknown {
  const file = addonFile();
  const bytes = read(file);
  const damage = file === prebuilt ? mismatch(bytes) : undefined;
  const fault = foreign(bytes) ?? damage;
  if (fault !== undefined)
    throw failure('addon-unusable', { file, what: fault, remedy: remedy(file) });
  try {
    return createRequire(import.meta.url)(file);
  } catch (cause) {
    throw unloadable(file, cause);
  }
}

function addonFile(): string {
  const named = process.env.TSVSWITCH_ADDON;
  if (named !== undefined && named !== '') return resolve(named);
  if (existsSync(built)) return built;
  if (existsSync(prebuilt)) return prebuilt;
  if (existsSync(join(root, 'native'))) throw failure('addon-not-built');
  throw failure('addon-not-for-platform', { platform, others: others(), remedy: howToBuild });
}

/** A file that `addon` needs, which is itself unless said. */
function read(addon: string, file = addon): Buffer {
  try {
    return readFileSync(file);
  } catch (cause) {
    const { message } = cause as Error;
    throw failure('addon-unreadable', { cause: message, remedy: remedy(addon) }, { cause });
  }
}

/**
 * Why the loader must not see these bytes, which are then no library for this processor, or not all
 * of one.
 */
function foreign(bytes: Buffer): string | undefined {
  const isElf = bytes.length >= elfHeaderBytes && bytes.readUInt32BE(0) === 0x7f454c46;
  // 64 bits, little endian: no Node of another kind is left but that of IBM's mainframes.
  if (!isElf || bytes[4] !== 2 || bytes[5] !== 1) return `is no addon for ${platform}, or damaged`;
  const machine = bytes.readUInt16LE(18);
  if (machine !== machines[process.arch]) {
    const name = Object.keys(machines).find((arch) => machines[arch] === machine);
    return `is for ${name ?? `processor ${machine}`} and this is ${platform}`;
  }
  // The table of sections comes last, so that a file which has it is whole.
  const endBytes =
    bytes.readBigUInt64LE(40) + BigInt(bytes.readUInt16LE(58) * bytes.readUInt16LE(60));
  return BigInt(bytes.length) < endBytes ? 'is damaged: its end is missing' : undefined;
}

/** What of the package differs from what was packed. */
function mismatch(bytes: Buffer): string | undefined {
  const line =
    `${createHash('sha256').update(bytes).digest('hex')}  ` + `${platform}-glibc/tsvswitch.node`;
  return read(prebuilt, checksums).toString().split('\n').includes(line)
    ? undefined
    : 'is damaged: its checksum is another';
}

/** The loader's own words are kept: it alone knows what it missed. */
function unloadable(file: string, cause: unknown): TsvswitchError {
  const words = (cause as Error).message;
  const wanted = /version `(GLIBC_[\d.]+)' not found/.exec(words)?.[1];
  if (wanted !== undefined) {
    const present = glibcVersion() ?? 'another C library';
    const needs = { file, wanted: wanted.replace('_', ' '), platform, present };
    return failure('addon-needs-glibc', { ...needs, remedy: howToBuild }, { cause });
  }
  if (file === prebuilt && glibcVersion() === undefined) {
    return failure('addon-without-glibc', { platform, remedy: howToBuild }, { cause });
  }
  return failure('addon-unloadable', { cause: words, remedy: remedy(file) }, { cause });
}

function remedy(file: string): string {
  if (file === built) return 'run `npm run build:native`';
  if (file === prebuilt) return `install the package again, or ${howToBuild}`;
  return `set TSVSWITCH_ADDON to one for ${platform}, or unset it`;
}

function others(): string {
  const names = existsSync(prebuilds)
    ? readdirSync(prebuilds).filter((name) => name.endsWith('-glibc'))
    : [];
  return names.length === 0 ? '' : ` (only for ${names.join(' and ')})`;
}

/** Undefined where the C library is another one. Slow: for errors only. */
function glibcVersion(): string | undefined {
  const { header } = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
  return header?.glibcVersionRuntime;
}
