/**
 * libFuzzer over every parser that an outsider reaches: those of the data plane (native/fuzz) under
 * AddressSanitizer and UndefinedBehaviorSanitizer, those of the control plane (test/fuzz/targets)
 * in Node.
 *
 *   npm run fuzz -- [--seconds 60] [--target NAME]
 *   npm run fuzz -- --target NAME --replay BASE64
 *
 * What a target learned stays in build/fuzz/corpus and is where its next run begins, after the
 * seeds. A target that fails says what it found, and the command that runs the same input again.
 */

import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { runInForeground, runOrExplain, runQuietly, SetupError, say } from './processes.mjs';

const build = resolve('build', 'fuzz');
/** Room for a hundred operations. */
const inputBytesMax = 1024;
const secondsDefault = 60;
const secondsOfALittle = 2;
/** An input that takes longer is a finding. */
const inputSecondsMax = 20;
const shownLinesMax = 40;

/** The arguments of `npm run fuzz`; returns the exit status. */
export async function fuzz(args) {
  const { seconds, target, replay } = optionsOf(args);
  await buildFuzzers();
  if (replay !== undefined) return runAgain(target, replay);
  const results = await runFuzzers(seconds, target === undefined ? targets() : [target]);
  return results.every(({ succeeded }) => succeeded) ? 0 : 1;
}

function optionsOf(args) {
  let values;
  try {
    const strings = ['seconds', 'target', 'replay'].map((name) => [name, { type: 'string' }]);
    ({ values } = parseArgs({ args, options: Object.fromEntries(strings) }));
  } catch (error) {
    throw new SetupError(error.message);
  }
  const { target, replay } = values;
  const seconds = Number(values.seconds ?? secondsDefault);
  if (!Number.isInteger(seconds) || seconds < 1) {
    throw new SetupError(`--seconds: ${values.seconds} is not a whole number of seconds`);
  }
  const names = targets();
  if (target !== undefined && !names.includes(target)) {
    throw new SetupError(`--target: there is no ${target}; there are ${names.join(', ')}`);
  }
  if (replay !== undefined && target === undefined) {
    throw new SetupError('--replay: --target has to say whose input this is');
  }
  return { seconds, target, replay };
}

/** Names of all targets: files with a suffix each. */
function targets() {
  const named = (folder, suffix) =>
    readdirSync(folder)
      .filter((file) => file.endsWith(suffix))
      .map((file) => basename(file, suffix));
  return [...named('native/fuzz', '_fuzz.cc'), ...named('test/fuzz/targets', '.ts')];
}

async function buildFuzzers() {
  say('fuzzers: building ...');
  await runOrExplain('cmake', ['-S', 'native', '--preset', 'fuzz']);
  await runOrExplain('cmake', ['--build', build, '--parallel', String(availableParallelism())]);
}

/** Runs each target for so long, as many at once as there are CPUs. */
async function runFuzzers(seconds, names = targets()) {
  say(`fuzzers: running each for ${seconds} s ...`);
  const waiting = [...names];
  const results = [];
  const runSome = async () => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
      results.push(await runFuzzer(name, seconds));
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, runSome));
  return results;
}

/** Every target for a moment; each counts as one test. */
export async function fuzzALittle() {
  await buildFuzzers();
  const results = await runFuzzers(secondsOfALittle);
  const failed = results.filter(({ succeeded }) => !succeeded).map(({ name }) => `fuzzer ${name}`);
  return { passed: results.length - failed.length, failed };
}

async function runFuzzer(name, seconds) {
  const corpus = join(build, 'corpus', name);
  writeSeeds(name, corpus);
  const [program, args] = command(name);
  const { succeeded, output } = await runQuietly(program, [
    ...args,
    ...[`-max_total_time=${seconds}`, `-max_len=${inputBytesMax}`, `-timeout=${inputSecondsMax}`],
    // From the same corpus a run goes the same way, for as long as its time lasts.
    ...['-seed=1', '-print_final_stats=1', `-artifact_prefix=${join(build, `${name}-`)}`, corpus],
  ]);
  const runs = /number_of_executed_units: (\d+)/.exec(output)?.[1];
  if (!succeeded || runs === undefined) {
    console.log(whatWasFound(name, output));
    return { name, succeeded: false };
  }
  const reached = output.match(/cov: \d+/g)?.at(-1);
  console.log(`fuzzers: ${name}: ${runs} inputs, ${reached}, nothing found`);
  return { name, succeeded };
}

/**
 * The end of what the target said, without the lines about its progress, and the way to see it
 * again.
 */
function whatWasFound(name, output) {
  const lines = output.split('\n').filter((line) => !/^(#\d|INFO:|\s*0x|stat::)/.test(line));
  const input = /^Base64: (\S*)$/m.exec(output)?.[1];
  const again = `npm run fuzz -- --target ${name} --replay '${input}'`;
  return [
    ...lines.slice(-shownLinesMax),
    `fuzzers: ${name}: found something; ` +
      `${input === undefined ? 'it kept no input' : `again: ${again}`}`,
  ].join('\n');
}

/** Runs one input alone, in the foreground. */
async function runAgain(name, base64) {
  const file = join(build, `${name}-again`);
  writeFileSync(file, Buffer.from(base64, 'base64'));
  const [program, args] = command(name);
  return runInForeground(program, [...args, `-timeout=${inputSecondsMax}`, file]);
}

/**
 * Puts the seeds of a target into its corpus. Files of hexadecimal digits hold one in each line.
 */
function writeSeeds(name, corpus) {
  mkdirSync(corpus, { recursive: true });
  const folder = join('test/fuzz/seeds', name);
  for (const file of existsSync(folder) ? readdirSync(folder) : []) {
    const content = readFileSync(join(folder, file));
    const seeds = file.endsWith('.hex') ? hexLines(content.toString()) : [content];
    for (const seed of seeds) {
      writeFileSync(join(corpus, createHash('sha1').update(seed).digest('hex')), seed);
    }
  }
}

/** A `#` begins a comment; blanks are for the eye. */
function hexLines(text) {
  return text
    .split('\n')
    .map((line) => Buffer.from(line.replace(/#.*/, '').replaceAll(' ', ''), 'hex'))
    .filter((seed) => seed.length > 0);
}

/** The program and its first arguments. */
function command(name) {
  const native = join(build, `${name}_fuzz`);
  return existsSync(native)
    ? [native, []]
    : [process.execPath, ['test/fuzz/libfuzzer.mjs', join(build, 'libfuzzer.node'), name]];
}
